"""Compares arms that heard the same callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.study import statistics
from labkit.study.tables import Results
from labkit.study.verdict import Rules, decide

HARMED = ("cut_in", "missed", "failed")


def harmed(turns: pd.DataFrame) -> pd.Series:
    """Whether the caller was cut in on, or got no reply at all."""
    return turns["outcome"].isin(HARMED)


def compare(
    baseline: Results | pd.DataFrame,
    arms: Mapping[str, Results | pd.DataFrame],
    *,
    rules: Rules | None = None,
) -> pd.DataFrame:
    """Each arm against the baseline, paired by call.

    Args:
        baseline: What is compared with.
        arms: The others, by name.
        rules: What is worth having; see :class:`labkit.study.verdict.Rules`.

    Returns:
        One row per arm: latencies, savings and harm with intervals (seconds and shares), and the
        verdict on the median saving.
    """
    base = _turns(baseline)
    rows = []
    for name, arm in arms.items():
        turns = _turns(arm)
        saved = {f"p{round(q * 100)}": statistics.difference(turns, base, q=q) for q in (0.5, 0.95)}
        with_harm = turns.assign(harmed=harmed(turns))
        harm = statistics.difference(base.assign(harmed=harmed(base)), with_harm, "harmed", q=None)
        verdict = decide(saved["p50"], harm, rules or Rules())
        row: dict[str, Any] = {"arm": name, "n_turns": len(turns)}
        for p, q in (("p50", 0.5), ("p95", 0.95)):
            latency = statistics.quantile(turns, q)
            row |= {f"{p}_s": latency.value, f"{p}_low_s": latency.low, f"{p}_high_s": latency.high}
            row |= {
                f"saving_{p}_s": saved[p].value,
                f"saving_{p}_low_s": saved[p].low,
                f"saving_{p}_high_s": saved[p].high,
            }
        row |= {"harm": harm.value, "harm_low": harm.low, "harm_high": harm.high}
        row |= {"verdict": verdict.decision, "reason": verdict.reason}
        rows.append(row)
    return pd.DataFrame(rows)


def _turns(given: Results | pd.DataFrame) -> pd.DataFrame:
    return given.turns if isinstance(given, Results) else given
