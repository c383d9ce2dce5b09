"""Prompt caches turn by turn: hits, first tokens, and what expires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from labkit.evidence import overlap, statistics

MEASURES = {"first_token_s": "first token", "response_latency_s": "response latency"}
_SHOWS_S = 0.005


def with_cache(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what their requests found in the cache.

    Returns:
        The turns with ``first_token_s``, from the start of the request to the model's first token
        as the SDK has it; ``hit_share``, the share of prompt tokens that were cached;
        ``fresh_tokens``, those that were not, per request; ``turn_number``, from 1.
    """
    fresh = turns["llm_prompt_tokens"] - turns["llm_cached_tokens"]
    return turns.assign(
        first_token_s=turns["sdk_llm_node_ttft_s"],
        hit_share=turns["llm_cached_tokens"] / turns["llm_prompt_tokens"],
        fresh_tokens=fresh / turns["llm_calls"],
        turn_number=turns["turn"] + 1,
    )


def savings(
    turns: pd.DataFrame, pairs: Mapping[str, tuple[str, str]], x: str = "agent.prompt_tokens"
) -> pd.DataFrame:
    """What a cache saves at each length of the prompt: means, paired by call.

    Args:
        turns: Turns of all arms and lengths, from :func:`with_cache`.
        pairs: By name, the arm without the cache and the arm with it.
        x: The swept column.

    Returns:
        One row per pair, length and measure: ``line`` (pair and measure), ``x`` under its own name,
        ``saved_s``, ``low``, ``high``, ``n_turns``.
    """
    rows = []
    for name, (without, cached) in pairs.items():
        for column, measure in MEASURES.items():
            for value in sorted(turns[x].unique()):
                here = turns[turns[x] == value]
                fast, slow = (here[here["arm"] == arm] for arm in (cached, without))
                found = statistics.difference(fast, slow, column, q=None)
                rows.append({"line": f"{name}: {measure}", x: value, "saved_s": found.value,
                             "low": found.low, "high": found.high, "n_turns": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def expiry(
    turns: pd.DataFrame,
    lifetime: str,
    edges: Sequence[float] = (0.0, 0.5, 0.9, 1.1, 2.0, float("inf")),
) -> pd.DataFrame:
    """How often a request finds the cache, by its distance from the request before.

    Turns with one request are taken, since the first of several warms the cache for the others.

    Args:
        turns: Turns at several lifetimes of an entry, from :func:`with_cache`.
        lifetime: Column of the lifetime, seconds.
        edges: Bounds of the classes of gap over lifetime.

    Returns:
        One row per class: share of turns that hit, with its 95% interval, and ``turns``.
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
            share = f"{found.value:.0%} [{found.low:.0%} to {found.high:.0%}]"
            rows[f"{low:g} to {high:g}"] = {"turns that hit": share, "turns": len(part)}
    return pd.DataFrame(rows).T.rename_axis("gap / lifetime", axis="columns")


def expected(without: pd.DataFrame, cached: pd.DataFrame) -> pd.DataFrame:
    """What the overlap of a turn's parts leaves of a saving, predicted from its parts.

    Args:
        without: Turns of the arm without the cache, preemption off.
        cached: Turns of the arm with it, preemption off.

    Returns:
        One row per mode of preemption: the predicted mean saving in ms, and the share of turns in
        which it shows at all. The mode ``tts`` is left out.
    """
    slow, fast = overlap.parts(without), overlap.parts(cached)
    both = slow.index.intersection(fast.index)
    rows = {}
    for mode, name in (("off", "no preemption"), ("llm", "preemption, the default")):
        saved = overlap.predict(slow.loc[both], mode) - overlap.predict(fast.loc[both], mode)
        rows[name] = {
            "predicted saving, mean (ms)": round(1000 * float(saved.mean())),
            "turns in which it shows": f"{float((saved > _SHOWS_S).mean()):.0%}",
        }
    return pd.DataFrame(rows).T.rename_axis("predicted", axis="columns")
