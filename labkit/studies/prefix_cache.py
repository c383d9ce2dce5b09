"""Study 03: prompt caches turn by turn: hits, TTFT, cost, and what expires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import overlap, statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.evidence.prompt_cache import with_cache
from labkit.evidence.sequential import Judge
from labkit.evidence.units import percent, percent_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.report.harms import What, harm_changes

TOKENS = "agent.prompt_tokens"
LIFETIME = "providers.openai.cache.prefix.idle_min_s"

_HAIKU = {"llm.provider": "anthropic", "llm.model": "claude-haiku-4-5"}
_MARKED = {**_HAIKU, "agent.caching": "ephemeral"}
_OPENAI = {"llm.provider": "openai", "llm.model": "gpt-4o-mini"}
_LATE = {"preemptive.enabled": False}
_SLOW, _FAST = "off, long, no preemption", "no preemption"
_MEASURES = {"first_token_s": "TTFT", "response_latency_s": "response latency"}
_PAIRS = {
    "OpenAI": ("OpenAI, time at the head", "OpenAI, stable"),
    "Haiku": ("Haiku, off", "Haiku, on"),
}
_SHOWS_S = 0.005


def published() -> dict[str, Arm]:
    """The arm whose code was taken from the publication as it stands."""
    return {"as published": Arm("prefix_cache", {**_HAIKU, "agent.caching": "as_published"})}


def on(tokens: int) -> str:
    """Name of the arm with caching on and instructions of this length."""
    return f"on, {tokens:,} tokens"


def arms(short: int, long: int) -> dict[str, Arm]:
    """Caching off and on, with short and with long instructions (tokens)."""
    return {
        "off, short": Arm("prefix_cache", {**_HAIKU, TOKENS: short}),
        on(short): Arm("prefix_cache", {**_MARKED, TOKENS: short}),
        "off, long": Arm("prefix_cache", {**_HAIKU, TOKENS: long}),
        on(long): Arm("prefix_cache", {**_MARKED, TOKENS: long}),
    }


def probes(long: int) -> dict[str, Arm]:
    """A cache that is warm from the start, and agents without preemption."""
    tokens = {TOKENS: long}
    return {
        f"{on(long)}, warmed up": Arm("prefix_cache", {**_MARKED, **tokens, "agent.warm_up": True}),
        _SLOW: Arm("prefix_cache", {**_HAIKU, **tokens, **_LATE}),
        f"{on(long)}, {_FAST}": Arm("prefix_cache", {**_MARKED, **tokens, **_LATE}),
    }


def swept() -> dict[str, Arm]:
    """The arms that are run at each length of the instructions."""
    return {
        "OpenAI, stable": Arm("prefix_cache", _OPENAI),
        "OpenAI, time at the head": Arm("prefix_cache", {**_OPENAI, "agent.clock": "head"}),
        "OpenAI, time at the end": Arm("prefix_cache", {**_OPENAI, "agent.clock": "end"}),
        "Haiku, off": Arm("prefix_cache", _HAIKU),
        "Haiku, on": Arm("prefix_cache", _MARKED),
        "Haiku, on, time at the head": Arm("prefix_cache", {**_MARKED, "agent.clock": "head"}),
    }


def stable() -> dict[str, Arm]:
    """The arm whose cache entries expire."""
    return {"OpenAI, stable": swept()["OpenAI, stable"]}


def lifetimes(values_s: Sequence[float]) -> list[dict[str, object]]:
    """Places of a sweep at which a cache entry lives exactly so long, seconds."""
    maximum = LIFETIME.replace("_min_", "_max_")
    return [{LIFETIME: value_s, maximum: value_s} for value_s in values_s]


def judge(short: int, long: int) -> Judge:
    """Compares arms as :func:`compared` does."""
    return lambda results, rules: compared(results.arms, short, long, rules)


def compared(runs: Mapping[str, Results], short: int, long: int, rules: Rules) -> pd.DataFrame:
    """Each arm that was run against the one without a cache."""
    pairs = {
        "off, short": (on(short), "as published"),
        "off, long": (on(long), f"{on(long)}, warmed up"),
        _SLOW: (f"{on(long)}, {_FAST}",),
    }
    parts = [
        compare(runs[baseline], {n: runs[n] for n in names if n in runs}, rules=rules)
        for baseline, names in pairs.items()
        if baseline in runs
    ]
    return pd.concat(parts, ignore_index=True)


def verdict_rows(comparison: pd.DataFrame, claim: Claim, short: int) -> pd.DataFrame:
    """Verdicts on what :func:`compared` returned; only the short instructions are claimed."""
    return verdicts.rows(
        comparison,
        claim={on(short): claim, "as published": claim},
        differs={"as published": "the plugin has no such argument"},
    )


def harms(runs: Mapping[str, Results], long: int) -> pd.DataFrame:
    """What caching long instructions costs."""
    names = (on(long), f"{on(long)}, warmed up")
    kinds: dict[str, What] = {"cost": "usd", "LLM tokens never spoken": "llm_wasted_tokens"}
    return harm_changes(runs["off, long"], {name: runs[name] for name in names}, kinds)


def hits_by_turn(main: Results, probes: Results, long: int) -> Chart:
    """Cached prompt tokens, turn by turn of a call."""
    warmed = probes.arms[f"{on(long)}, warmed up"].turns
    return figures.swept(
        with_cache(pd.concat([main.turns, warmed])), "turn_number", "hit_share", "arm", q=None,
        x_name="turn of the call", y_name="prompt tokens that were cached",
    )  # fmt: skip


def savings_by_length(turns: pd.DataFrame) -> Chart:
    """What the cache saves against the length of the instructions."""
    saved = savings(with_cache(turns), _PAIRS)
    return figures.lines(
        saved, TOKENS, "saved_s", "line", x_name="length of the instructions",
        y_name="saved by the cache, mean",
    )  # fmt: skip


def hits_by_length(turns: pd.DataFrame) -> Chart:
    """Cached prompt tokens against the length of the instructions."""
    return figures.swept(
        with_cache(turns), TOKENS, "hit_share", "arm", q=None,
        x_name="length of the instructions", y_name="prompt tokens that were cached",
    )  # fmt: skip


def cost_by_length(turns: pd.DataFrame) -> Chart:
    """Cost of a turn against the length of the instructions."""
    return figures.swept(turns, TOKENS, "usd", "arm", q=None, x_name="length of the instructions")


def savings(turns: pd.DataFrame, pairs: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """What a cache saves at each length of the prompt: means, paired by call.

    Args:
        pairs: By name, the arm without the cache and the arm with it.

    Returns:
        One row per pair, length and measure: ``line`` (pair and measure), :data:`TOKENS`,
        ``saved_s``, ``low``, ``high``, ``n_turns``.
    """
    rows = []
    for name, (without, cached) in pairs.items():
        for column, measure in _MEASURES.items():
            for tokens, here in turns.groupby(TOKENS):
                fast, slow = (here[here["arm"] == arm] for arm in (cached, without))
                found = statistics.difference(fast, slow, column)
                rows.append({"line": f"{name}: {measure}", TOKENS: tokens, **found.row("saved_s"),
                             "n_turns": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def expiry(
    turns: pd.DataFrame,
    lifetime: str,
    edges: Sequence[float] = (0.0, 0.5, 0.9, 1.1, 2.0, float("inf")),
) -> pd.DataFrame:
    """How often a request finds the cache, by its distance from the request before.

    Turns with one request are taken, since the first of several warms the cache for the others.

    Args:
        lifetime: Column of the lifetime, seconds.
        edges: Bounds of the classes of gap over lifetime.

    Returns:
        One row per class: % of turns that hit, with 95% CI, and ``turns``.
    """
    keys = [lifetime, "call"]
    table = turns.sort_values([*keys, "turn"])
    gap = table["at_llm_request_s"] - table.groupby(keys)["at_llm_request_s"].shift()
    table = table.assign(ratio=gap / table[lifetime], hit=table["llm_cached_tokens"] > 0)
    table = table[table["ratio"].notna() & (table["llm_calls"] == 1)]
    rows = {}
    for low, high in pairwise(edges):
        part = table[(table["ratio"] > low) & (table["ratio"] <= high)]
        if len(part):
            found = statistics.rate(part, part["hit"])
            rows[f"{low:g} to {high:g}"] = {"turns that hit": percent_ci(found, 0),
                                            "turns": len(part)}  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("gap / lifetime", axis="columns")


def where_it_shows(probes: Results, long: int) -> pd.DataFrame:
    """:func:`expected` of the two arms of :func:`probes` that have preemption off."""
    return expected(probes.arms[_SLOW].turns, probes.arms[f"{on(long)}, {_FAST}"].turns)


def expected(without: pd.DataFrame, cached: pd.DataFrame) -> pd.DataFrame:
    """What the overlap of a turn's parts leaves of a saving, predicted from its parts.

    Both arms, without the cache and with it, have preemption off.

    Returns:
        One row per mode of preemption: the predicted mean saving in ms, and the % of turns in which
        it shows at all. The mode ``tts`` is left out.
    """
    slow, fast = overlap.parts(without), overlap.parts(cached)
    both = slow.index.intersection(fast.index)
    rows = {}
    for mode, name in (("off", "no preemption"), ("llm", "preemption, the default")):
        saved = overlap.predict(slow.loc[both], mode) - overlap.predict(fast.loc[both], mode)
        rows[name] = {
            "predicted saving, mean (ms)": round(1000 * float(saved.mean())),
            "turns in which it shows": percent(float((saved > _SHOWS_S).mean()), 0),
        }
    return pd.DataFrame(rows).T.rename_axis("predicted", axis="columns")
