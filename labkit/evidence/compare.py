"""Compares arms that heard the same callers and saw the same random draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import intervals, statistics
from labkit.evidence.statistics import SPEAKER
from labkit.evidence.units import SHARE
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
    rules: Rules | None = None,
) -> pd.DataFrame:
    """Each arm against the baseline, turn by turn.

    A saving is the mean over the turns that both answered, of the baseline's response latency less
    the arm's. A premature, missed or failed reply has no latency: it is a harm. Of several arms the
    intervals of savings and harm are simultaneous: all of them cover at once.

    Args:
        baseline: What is compared with; it is left out if it is among the arms.
        arms: The others, by name; one place of a grid each.
        harm: A numeric or boolean column of the turns whose mean is the harm; premature and missing
            replies if none is named. NaN is left out.

    Returns:
        One row per arm, in seconds and proportions, each estimate with its CI (``…_low``,
        ``…_high``): ``n_turns``, ``n_pairs`` (answered in both) and ``n_calls`` they come from;
        ``saving_s``, and ``saving_speaker_low_s`` and ``…_high_s``, its CI over ``n_speakers``
        speakers instead of calls; ``saving_p50_s`` and ``saving_p95_s``, what the quantiles differ
        by; ``harm``, the increase; ``harm_rate`` and ``baseline_harm_rate``, the levels; ``p50_s``
        and ``p95_s`` of the arm; ``level`` of the intervals of changes; and the verdict: ``gain``,
        ``harm_verdict``, ``advice``, ``reason``, ``more_calls``.

    Raises:
        ValueError: as of :func:`labkit.evidence.statistics.pairs`.
        KeyError: the turns have no column of the harm's name.
    """
    rules, base = rules or Rules(), turns_of(baseline)
    others = {name: arm for name, arm in arms.items() if arm is not baseline}
    before = _with_harm(base, harm)
    sides = {name: _Side(before, _with_harm(turns_of(a), harm, base)) for name, a in others.items()}
    rules = rules.at(_level(list(sides.values()), rules.level))
    rows = []
    for name, arm in others.items():
        row, verdict = _row(before, sides[name], harm, rules)
        if isinstance(arm, Results) and not len(arm.turns):
            error = arm.calls["error"].iloc[0]
            verdict = Verdict(*verdict[:3], f"it does not run: {error}")
        rows.append({"arm": name, **row, "gain": verdict.gain, "harm_verdict": verdict.harm,
                     "advice": verdict.advice, "reason": verdict.reason,
                     "more_calls": verdict.more_calls})  # fmt: skip
    return pd.DataFrame(rows)


class _Side:
    """An arm's turns, and the pairs that they make with the baseline's."""

    def __init__(self, before: pd.DataFrame, after: pd.DataFrame) -> None:
        self.turns = after
        self.latency = statistics.pairs(before, after)
        self.harm = statistics.pairs(before, after, "harm")
        seen = pd.concat([before["harm"], after["harm"]]).dropna()
        self.is_share = bool(seen.isin((0.0, 1.0)).all())


def _row(
    before: pd.DataFrame, side: _Side, harm: str | None, rules: Rules
) -> tuple[dict[str, Any], Verdict]:
    level = rules.level
    saving, p50, p95 = (
        -statistics.changed(side.latency, q=q, level=level) for q in (None, 0.5, 0.95)
    )
    speakers = statistics.NOTHING
    if SPEAKER in side.latency:
        speakers = -statistics.changed(side.latency, by=SPEAKER, level=level)
    change = statistics.rate_changed if side.is_share else statistics.changed
    worse = change(side.harm, level=level)
    row: dict[str, Any] = {
        "n_turns": len(side.turns), "n_pairs": saving.n, "n_calls": saving.n_calls,
        **saving.columns("saving", "_s"), "saving_speaker_low_s": speakers.low,
        "saving_speaker_high_s": speakers.high, "n_speakers": speakers.n_calls,
        **p50.columns("saving_p50", "_s"), **p95.columns("saving_p95", "_s"),
        **worse.columns("harm"), "harm_rate": float(side.turns["harm"].mean()),
        "baseline_harm_rate": float(before["harm"].mean()),
    }  # fmt: skip
    for name, q in (("p50", 0.5), ("p95", 0.95)):
        row |= statistics.quantile(side.turns, q).columns(name, "_s")
    kind = SHARE if side.is_share or harm is None else harm
    return row | {"level": level}, decide(saving, p95, worse, rules, kind)


def _level(sides: list[_Side], level: float) -> float:
    """The level of each interval for which all arms' savings, and all harms, cover at once."""
    if len(sides) < 2:
        return level
    found = []
    for tables in ([s.latency for s in sides], [s.harm for s in sides]):
        calls = pd.Index(sorted({call for both in tables for call in both["call"]}))
        offs = [
            intervals.sums(both["change"].to_numpy(), calls.get_indexer(pd.Index(both["call"])),
                           len(calls))[1]
            for both in tables if len(both)
        ]  # fmt: skip
        found.append(intervals.simultaneous(np.array(offs), level) if offs else level)
    return max(found)


def _with_harm(
    turns: pd.DataFrame, column: str | None, like: pd.DataFrame | None = None
) -> pd.DataFrame:
    if not len(turns) and like is not None:
        turns = like.iloc[:0]  # an arm that never spoke has no columns
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
