"""Study 04: which model served each turn, which should have, and the errors of routing rules.

A rule decides from words alone, so its errors can be counted on texts as well as in calls. Two arms
that heard the same callers, one with each model throughout, hold the latency of every turn under
either model: any rule's latency follows by taking each turn from the arm that the rule chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from labkit.engine.experiment import Arm
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.sequential import Judge
from labkit.evidence.turn_rules import Rule, classifier_errors, needs_heavy
from labkit.evidence.units import percent_ci
from labkit.evidence.verdict import Rules
from labkit.providers.profile import load_profiles
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.report.harms import What

LARGE, SMALL, IN_NODE = "large only", "small only", "in llm_node"
_HOOK = "hook, update_options"
_HARMS: dict[str, What] = {
    "hard turn, small model": "misrouted",
    "no reply": "dropped",
    "cost": "usd",
}
_CACHE_HARMS: dict[str, What] = {
    "turn without cached prompt": "cache_missed",
    "prompt tokens not cached": "uncached_tokens",
    "cost": "usd",
}
_DIFFERS = {"as published": "Agent.llm cannot be assigned, so the hook fails and drops the turn"}


def arms() -> dict[str, Arm]:
    """Both models throughout, and three places to decide between them."""
    return {
        LARGE: Arm("model_routing", {"agent.rule": "never"}),
        SMALL: Arm("model_routing", {"agent.rule": "always"}),
        "as published": Arm("model_routing", {"agent.where": "as_published"}),
        _HOOK: Arm("model_routing", {"agent.where": "update_options"}),
        IN_NODE: Arm("model_routing", {"agent.where": "llm_node"}),
    }


def places() -> dict[str, Arm]:
    """The two places to decide that work."""
    return {name: arms()[name] for name in (_HOOK, IN_NODE)}


def pair() -> dict[str, Arm]:
    """The baseline, and routing where it works."""
    return {name: arms()[name] for name in (LARGE, IN_NODE)}


def models(provider: str, large: str, small: str, threshold: float) -> dict[str, object]:
    """Settings of a pair of models; from this probability of being hard the large one is asked."""
    return {
        "llm.provider": provider,
        "llm.model": large,
        "agent.light_model": small,
        "agent.threshold": threshold,
    }


def judge(small: str) -> Judge:
    """Compares arms as :func:`compared` does; the easy turns are the small model's."""
    return lambda results, rules: compared(judged(results.turns, small), rules)


def compared(turns: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Each arm against the large model throughout, on easy turns."""
    arms = by_arm(easy(turns))
    return compare(arms.pop(LARGE), arms, harm="harmed", rules=rules)


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """Verdicts on what :func:`compared` returned."""
    return verdicts.rows(comparison, claim=claim, harm="misrouted or dropped", differs=_DIFFERS)


def harms(turns: pd.DataFrame, limit: float) -> Chart:
    """What routing costs; ``limit`` is the largest proportion accepted."""
    arms = by_arm(turns)
    return figures.harms(arms.pop(LARGE), arms, _HARMS, limit=limit)


def cache_harms(turns: pd.DataFrame) -> Chart:
    """What two models cost where a prompt is cached per model."""
    arms = by_arm(turns)
    return figures.harms(arms.pop(LARGE), arms, _CACHE_HARMS)


def rules_chart(
    turns: pd.DataFrame, settings: Mapping[str, Sequence[float]], limit: float
) -> Chart:
    """Latency against misrouted turns, for every rule and setting, beside the arms that ran."""
    own = by_arm(turns)
    tried, groups, labels = frontier_arms(own[LARGE], own[SMALL], settings)
    tried |= {name: own[name] for name in (LARGE, SMALL, IN_NODE)}
    return figures.trade_off(
        tried, harm="misrouted", groups=groups, labels=labels, baseline=LARGE, limit=limit,
        harm_name="hard turns served by the small model",
    )  # fmt: skip


def classifier_chart(thresholds: Sequence[float]) -> Chart:
    """How the classifier errs at each threshold, on the same and on another business."""
    errors = classifier_errors(thresholds)
    return figures.lines(
        errors, "threshold", "error_share", "error", "tested_on",
        x_name="probability from which the large model is asked", y_name="sentences",
    )  # fmt: skip


def judged(turns: pd.DataFrame, light: str) -> pd.DataFrame:
    """The turns with what became of their routing, ``light`` being the small model.

    Returns:
        The same rows plus ``misrouted`` (the turn needed the large model, the small one served),
        ``by_light`` (the small one served), ``late`` (another model served than the agent wanted
        for this turn; NaN where either is unknown), ``uncached_tokens`` (of the
        prompts), ``cache_missed`` (asked, and no prompt token came from the cache),
        ``dropped`` (no reply) and ``harmed`` (misrouted or dropped).
    """
    served = turns["served_model"].fillna("")
    wanted = turns.get("agent_wanted_model", pd.Series(None, turns.index, dtype=object))
    known = wanted.notna() & (served != "")
    misrouted = turns["heavy"].astype(bool) & (served == light)
    dropped = turns["outcome"].isin(("missed", "failed"))
    return turns.assign(
        by_light=served == light,
        misrouted=misrouted,
        late=np.where(known, (served != wanted).astype(float), np.nan),
        uncached_tokens=turns["llm_prompt_tokens"] - turns["llm_cached_tokens"],
        cache_missed=(turns["llm_calls"] > 0) & (turns["llm_cached_tokens"] == 0),
        dropped=dropped,
        harmed=misrouted | dropped,
    )


def easy(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with the latency of hard ones blanked: savings are then those on easy turns, harms
    still those on all."""
    hard = turns["heavy"].astype(bool)
    return turns.assign(response_latency_s=turns["response_latency_s"].mask(hard))


def first_tokens(models: Sequence[str]) -> pd.DataFrame:
    """Published time to first token (TTFT) of models, from the provider profiles.

    Raises:
        KeyError: a model that no profile has.
    """
    known = {
        name: table["first_token"]
        for profile in load_profiles().values()
        for name, table in profile.table.get("models", {}).items()
        if "first_token" in table
    }
    rows = []
    for model in models:
        found = known[model]
        rows.append({"model": model, "TTFT p50 (ms)": round(1000 * found["median_s"]),
                     "p95 (ms)": round(1000 * found["p95_s"]), "source": found["source"],
                     "date": found["date"]})  # fmt: skip
    return pd.DataFrame(rows).set_index("model").rename_axis("model", axis="columns")


def composed(heavy: pd.DataFrame, light: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """The turns that a rule would have produced, each from the arm (one model) that it chooses.

    Returns:
        One row per turn of both arms, with the columns that :func:`judged` adds.
    """
    keys = ["call", "turn"]
    columns = [*keys, "heavy", "said", "outcome", "response_latency_s"]
    both = heavy[columns].merge(light[columns], on=keys, suffixes=("", "_light"))
    wanted = rule(both["said"].tolist())
    for name in ("outcome", "response_latency_s"):
        both[name] = both[name].where(wanted, both[f"{name}_light"])
    both["by_light"] = ~wanted
    both["misrouted"] = both["heavy"].astype(bool) & ~wanted
    return both


def frontier_arms(
    heavy: pd.DataFrame, light: pd.DataFrame, settings: Mapping[str, Sequence[float]]
) -> tuple[dict[str, pd.DataFrame], dict[str, str], dict[str, str]]:
    """:func:`composed` turns of every rule and setting, with their groups and short labels, as
    ``figures.frontier_points`` takes them."""
    arms, groups, labels = {}, {}, {}
    for rule, values in settings.items():
        for value in values:
            name = rule if rule == "phrases" else f"{rule} {value:g}"
            arms[name] = composed(heavy, light, needs_heavy(rule, value))
            groups[name], labels[name] = rule, "" if rule == "phrases" else f"{value:g}"
    return arms, groups, labels


def tally(turns: pd.DataFrame) -> pd.DataFrame:
    """Who served, arm by arm, in % of turns with 95% CI."""
    wanted = {
        "served by the small model": "by_light",
        "hard turns served by it": "misrouted",
        "not the model wanted": "late",
        "no reply": "dropped",
    }
    rows: dict[str, dict[str, object]] = {}
    for arm, part in by_arm(turns).items():
        rows[arm] = {"turns": len(part)}
        for name, column in wanted.items():
            known = part[part[column].notna()]
            rows[arm][f"{name} (%)"] = percent_ci(statistics.rate(known, known[column]))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm", axis="columns")
