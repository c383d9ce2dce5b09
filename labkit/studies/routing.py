"""Reads a routing experiment: who served each turn, which deserved another model, which rule errs.

A rule decides from words alone, so its errors can be counted on texts as well as in calls. Two arms
that heard the same callers, one with each model throughout, hold the latency of every turn under
either model: any rule's latency follows by taking each turn from the arm that the rule chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from labkit.evidence import statistics
from labkit.evidence.agent_parts import vectors
from labkit.evidence.phrasings import fit, phrasings
from labkit.evidence.turn_rules import NEEDS, Rule, needs_heavy, probabilities
from labkit.providers.profile import load_profiles


def judged(turns: pd.DataFrame, light: str) -> pd.DataFrame:
    """The turns with what became of their routing.

    Args:
        turns: Turns of arms that served with two models.
        light: Name of the small model.

    Returns:
        The same rows plus ``misrouted`` (the turn needed the large model, the small one served),
        ``by_light`` (the small one served), ``late`` (another model served than the agent wanted
        for this turn; NaN where it told nothing or nobody served), ``uncached_tokens`` (of the
        prompts), ``cache_missed`` (asked, and no prompt token came from the cache),
        ``dropped`` (no reply) and ``harmed`` (misrouted or dropped).
    """
    served = turns["served_model"].fillna("")
    told = turns["agent_wanted_model"] if "agent_wanted_model" in turns else pd.Series(
        None, turns.index, dtype=object
    )  # fmt: skip
    known = told.notna() & (served != "")
    misrouted = turns["heavy"].astype(bool) & (served == light)
    dropped = turns["outcome"].isin(("missed", "failed"))
    return turns.assign(
        by_light=served == light,
        misrouted=misrouted,
        late=np.where(known, (served != told).astype(float), np.nan),
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
    """Published time to the first token of models, from the provider profiles, for printing.

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
        rows.append({"model": model, "first token p50 (ms)": round(1000 * found["median_s"]),
                     "p95 (ms)": round(1000 * found["p95_s"]), "source": found["source"],
                     "date": found["date"]})  # fmt: skip
    return pd.DataFrame(rows).set_index("model").rename_axis("model", axis="columns")


def composed(heavy: pd.DataFrame, light: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """The turns that a rule would have led to, each taken from the arm it chooses.

    Args:
        heavy: Turns of the arm with the large model throughout.
        light: Turns of the arm with the small one, of the same calls.
        rule: Tells which texts need the large model.

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
    """Composed turns of every rule and setting, with their groups and short labels.

    Args:
        heavy: Turns of the arm with the large model throughout.
        light: Turns of the arm with the small one.
        settings: Settings to try, by rule; see :func:`needs_heavy`.

    Returns:
        Arms, groups and labels as ``figures.frontier_points`` takes them.
    """
    arms, groups, labels = {}, {}, {}
    for rule, values in settings.items():
        for value in values:
            name = rule if rule == "phrases" else f"{rule} {value:g}"
            arms[name] = composed(heavy, light, needs_heavy(rule, value))
            groups[name], labels[name] = rule, "" if rule == "phrases" else f"{value:g}"
    return arms, groups, labels


def classifier_errors(thresholds: Sequence[float]) -> pd.DataFrame:
    """How the routing classifier errs on sentences it was not trained on.

    Twice: on held-out wordings with the weights that the agent has, and on each business with
    weights that were trained without any of its sentences.

    Returns:
        One row per threshold, material and error: ``threshold``, ``error``, ``tested_on``,
        ``error_share``, ``low``, ``high``, ``n`` (sentences). Intervals resample businesses.
    """
    table = phrasings()
    test = table[(table["split"] == "test") & ~table["seen"]].reset_index(drop=True)
    held_out = probabilities(test["text"].tolist())["heavy"].to_numpy()
    everyone = table[table["dialogue"] != ""].reset_index(drop=True)
    strangers = _without_own_business(table, everyone)
    rows: list[dict[str, Any]] = []
    for name, material, score in (
        ("the same businesses, other words", test, held_out),
        ("another business", everyone, strangers),
    ):
        for threshold in thresholds:
            for error, wrong, of in (
                ("hard turn, small model", score < threshold, material["needs"] == "heavy"),
                ("easy turn, large model", score >= threshold, material["needs"] != "heavy"),
            ):
                part = material[of].assign(call=material["dialogue"])
                found = statistics.rate(part, pd.Series(wrong, material.index)[of])
                rows.append({"threshold": threshold, "error": error, "tested_on": name,
                             "error_share": found.value, "low": found.low, "high": found.high,
                             "n": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def _without_own_business(table: pd.DataFrame, material: pd.DataFrame) -> np.ndarray:
    known = vectors(table["text"].tolist())
    labels = np.array([NEEDS.index(n) for n in table["needs"]])
    asked = vectors(material["text"].tolist())
    score = np.empty(len(material))
    for business in material["dialogue"].unique():
        others = (table["dialogue"] != business).to_numpy()
        own = (material["dialogue"] == business).to_numpy()
        weights = fit(known[others], labels[others])
        raw = asked[own] @ weights[:, :-1].T + weights[:, -1]
        odds = np.exp(raw - raw.max(axis=1, keepdims=True))
        score[own] = odds[:, NEEDS.index("heavy")] / odds.sum(axis=1)
    return score


def tally(turns: pd.DataFrame) -> pd.DataFrame:
    """Who served, arm by arm: shares of turns for printing, in per cent with 95% intervals."""
    wanted = {
        "served by the small model": "by_light",
        "hard turns served by it": "misrouted",
        "not the model wanted": "late",
        "no reply": "dropped",
    }
    rows = {}
    for arm, part in turns.groupby("arm", sort=False):
        cells = {}
        for name, column in wanted.items():
            known = part[part[column].notna()]
            if not len(known):
                cells[f"{name} (%)"] = "–"
                continue
            share = statistics.rate(known, known[column])
            cells[f"{name} (%)"] = f"{share.value:.1%} [{share.low:.1%}–{share.high:.1%}]"
        rows[str(arm)] = {"turns": len(part), **cells}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm", axis="columns")
