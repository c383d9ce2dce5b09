"""Compares arms that heard the same callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.verdict import Rules, Verdict, decide

Turns = Results | pd.DataFrame
HARMED = ("premature", "missed", "failed")


def harmed(turns: pd.DataFrame) -> pd.Series:
    """Whether the reply was premature, or missing."""
    return turns["outcome"].isin(HARMED)


def compare(
    baseline: Turns,
    arms: Mapping[str, Turns],
    *,
    harm: str | None = None,
    q: float | None = 0.5,
    rules: Rules | None = None,
) -> pd.DataFrame:
    """Each arm against the baseline, paired by call.

    Args:
        baseline: What is compared with; it is left out if it is among the arms.
        arms: The others, by name.
        harm: A numeric or boolean column of the turns whose mean is the harm; premature and missing
            replies if none is named. NaN is left out.
        q: The quantile on whose saving the verdict rests; None for the mean.

    Returns:
        One row per arm: latencies, savings and harm with 95% CI (seconds and proportions), and the
        verdict; an arm whose calls all failed before the first turn is rejected with its error.
        ``harm`` and its CI are the increase over the baseline; ``harm_rate`` and
        ``baseline_harm_rate`` the levels.
    """
    base = turns_of(baseline)
    rows = []
    for name, arm in arms.items():
        if arm is baseline:
            continue
        turns = turns_of(arm) if len(turns_of(arm)) else base.iloc[:0]
        quantiles = sorted({0.5, 0.95} | ({q} if q is not None else set()))
        saved = {p: statistics.difference(turns, base, q=p) for p in {*quantiles, q}}
        before, after = _with_harm(base, harm), _with_harm(turns, harm)
        worse = _increase(before, after)
        rates = [statistics.mean(side, "harm") for side in (before, after)]
        verdict = decide(saved[q], worse, rules or Rules())
        if isinstance(arm, Results) and not len(turns):
            verdict = Verdict("reject", f"it does not run: {arm.calls['error'].iloc[0]}")
        row: dict[str, Any] = {"arm": name, "n_turns": len(turns)}
        for level in quantiles:
            p, latency = f"p{level * 100:g}", statistics.quantile(turns, level)
            row |= latency.columns(p, "_s") | saved[level].columns(f"saving_{p}", "_s")
        row |= worse.columns("harm")
        row |= {"harm_rate": rates[1].value, "baseline_harm_rate": rates[0].value}
        rows.append({**row, "verdict": verdict.decision, "reason": verdict.reason,
                     "more_calls": verdict.more_calls})  # fmt: skip
    return pd.DataFrame(rows)


def _increase(before: pd.DataFrame, after: pd.DataFrame) -> statistics.Estimate:
    seen = pd.concat([before["harm"], after["harm"]]).dropna()
    if seen.isin((0.0, 1.0)).all():
        return statistics.rate_difference(before, after, "harm")
    return statistics.difference(before, after, "harm", q=None)


def _with_harm(turns: pd.DataFrame, column: str | None) -> pd.DataFrame:
    if column is not None and column not in turns:
        raise KeyError(f"the turns have no column {column!r} to use as harm")
    happened = harmed(turns) if column is None else turns[column]
    return turns.assign(harm=happened.astype(float))


def by_arm(turns: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The turns of each arm, in the order of their first turns."""
    return {str(name): part for name, part in turns.groupby("arm", sort=False)}


def turns_of(given: Turns) -> pd.DataFrame:
    """The turns table of a run, or the table itself."""
    return given.turns if isinstance(given, Results) else given
