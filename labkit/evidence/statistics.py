"""Estimates with confidence intervals (CI), from tables of turns.

Turns of one call are not independent, so every interval counts whole calls (or whole speakers), by
the methods of :mod:`labkit.evidence.intervals`. Arms are compared turn by turn: all arms hear the
same callers and see the same random draws (common random numbers), so most of what makes turns
differ is on both sides and falls out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.evidence import intervals
from labkit.evidence.intervals import LEVEL, Array

CALL, SPEAKER = "call", "voice"
"""What intervals may count: columns of the turns."""
LATENCY = "response_latency_s"
HEARD = ("answered", "interrupted")
"""Outcomes with a response latency; the others are outcomes and nothing else."""
_TURN = ["call", "turn"]


@dataclass(frozen=True)
class Estimate:
    """An estimate and its confidence interval (CI).

    NaN where nothing could be estimated; only the ends are NaN with fewer than two calls, which say
    nothing of how calls differ.
    """

    value: float
    low: float
    high: float
    n: int  # turns it rests on
    n_calls: int  # calls (or speakers) they come from

    def columns(self, name: str, suffix: str = "") -> dict[str, float]:
        """For a table with several estimates: ``NAME``, ``NAME_low``, ``NAME_high`` + suffix."""
        ends = {"": self.value, "_low": self.low, "_high": self.high}
        return {f"{name}{end}{suffix}": value for end, value in ends.items()}

    def row(self, name: str, suffix: str = "") -> dict[str, float]:
        """For a table with one estimate: ``NAME``, and ``low`` and ``high`` + suffix."""
        return {name: self.value, f"low{suffix}": self.low, f"high{suffix}": self.high}

    def __neg__(self) -> Estimate:
        return Estimate(-self.value, -self.high, -self.low, self.n, self.n_calls)


NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0)


def heard(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns that have a response latency: those that were answered, even if interrupted."""
    return turns[turns["outcome"].isin(HEARD)] if "outcome" in turns else turns


def _known(turns: pd.DataFrame, column: str) -> pd.DataFrame:
    own = heard(turns) if column == LATENCY else turns
    return own[own[column].notna()] if len(own) else own


def _owners(turns: pd.DataFrame, by: str) -> tuple[Array, int]:
    """Each turn's cluster, from 0, and how many there are."""
    codes, names = pd.factorize(turns[by])
    return np.asarray(codes), len(names)


def quantile(
    turns: pd.DataFrame, q: float, column: str = LATENCY, *, level: float = LEVEL
) -> Estimate:
    """A quantile (above 0 and below 1) of a numeric column over turns, NaN left out."""
    own = _known(turns, column)
    if not len(own):
        return NOTHING
    values, (owner, n) = own[column].to_numpy(dtype=float), _owners(own, CALL)
    ends = intervals.of_quantile(values, owner, n, q, level)
    return Estimate(intervals.quantile(np.sort(values), q), *ends, len(values), n)


def mean(turns: pd.DataFrame, column: str, *, by: str = CALL, level: float = LEVEL) -> Estimate:
    """The mean of a numeric or boolean column over turns, NaN left out.

    Args:
        by: What the interval counts, :data:`CALL` or :data:`SPEAKER`.
    """
    own = _known(turns, column)
    if not len(own):
        return NOTHING
    values, (owner, n) = own[column].to_numpy(dtype=float), _owners(own, by)
    ends = intervals.of_mean(values, owner, n, level)
    return Estimate(float(values.mean()), *ends, len(values), n)


def rate(turns: pd.DataFrame, happened: pd.Series, *, level: float = LEVEL) -> Estimate:
    """The proportion of turns in which something happened; NaN is left out."""
    known = happened.notna()
    own = turns[known]
    if not len(own):
        return NOTHING
    values, (owner, n) = happened[known].to_numpy(dtype=float), _owners(own, CALL)
    ends = intervals.of_rate(values, owner, n, level)
    return Estimate(float(values.mean()), *ends, len(values), n)


def by_group(
    turns: pd.DataFrame,
    by: Sequence[str],
    estimate: Callable[[pd.DataFrame], Estimate],
    name: str,
    sort: bool = True,
) -> pd.DataFrame:
    """An estimate of each group: a row with its columns, ``NAME``, ``low``, ``high``, ``n_turns``.

    Groups are sorted, or keep their order.
    """
    rows = [
        {**dict(zip(by, key, strict=True)), **estimate(part).row(name), "n_turns": len(part)}
        for key, part in turns.groupby(list(by), sort=sort, dropna=False)
    ]
    return pd.DataFrame(rows, columns=[*by, name, "low", "high", "n_turns"])


def pairs(baseline: pd.DataFrame, variant: pd.DataFrame, column: str = LATENCY) -> pd.DataFrame:
    """The turns that have a value on both sides, in the order of the baseline.

    A response latency counts only where both sides answered.

    Returns:
        ``call``, ``turn``, ``voice`` (where known), ``before``, ``after`` and ``change``, after
        less before. Tables of several places of a grid are paired place by place.

    Raises:
        ValueError: no call is on both sides, or a turn is there twice at one place.
    """
    if not len(baseline) or not len(variant):
        return pd.DataFrame(columns=[*_TURN, SPEAKER, "before", "after", "change"], dtype=float)
    if not set(baseline["call"]) & set(variant["call"]):
        raise ValueError("the arms have no call in common; run both with the same seed and calls")
    key = _key(baseline, variant)
    more = [SPEAKER] if SPEAKER in baseline else []
    before = _known(baseline, column)[[*key, *more, column]].rename(columns={column: "before"})
    after = _known(variant, column)[[*key, column]].rename(columns={column: "after"})
    both = before.merge(after, on=key)
    both[["before", "after"]] = both[["before", "after"]].astype(float)
    return both.assign(change=both["after"] - both["before"])


def _key(baseline: pd.DataFrame, variant: pd.DataFrame) -> list[str]:
    """The columns that tell turns apart: the turn of the call, and where needed the place."""
    swept = [str(c) for c in baseline if "." in str(c) and c in variant]
    for key in (_TURN, [*_TURN, *swept]):
        if not any(side.duplicated(key).any() for side in (baseline, variant)):
            return key
    raise ValueError("a call's turn is there twice; compare one arm with one other")


def difference(
    baseline: pd.DataFrame,
    variant: pd.DataFrame,
    column: str = LATENCY,
    *,
    q: float | None = None,
    by: str = CALL,
    level: float = LEVEL,
) -> Estimate:
    """Variant minus baseline over :func:`pairs` of turns: the mean, or the change of a quantile.

    NaN if no turn has a value on both sides.

    Args:
        q: Quantile of either side that is compared; None for the mean per turn.
        by: What the interval of a mean counts, :data:`CALL` or :data:`SPEAKER`.

    Raises:
        ValueError: as of :func:`pairs`.
    """
    return changed(pairs(baseline, variant, column), q=q, by=by, level=level)


def changed(
    both: pd.DataFrame, *, q: float | None = None, by: str = CALL, level: float = LEVEL
) -> Estimate:
    """What :func:`difference` estimates, of :func:`pairs`."""
    if not len(both):
        return NOTHING
    if q is None:
        return mean(both, "change", by=by, level=level)
    before, after = (both[side].to_numpy() for side in ("before", "after"))
    owner, n = _owners(both, CALL)
    value = intervals.quantile(np.sort(after), q) - intervals.quantile(np.sort(before), q)
    ends = intervals.of_quantile_change(before, after, owner, n, q, level)
    return Estimate(value, *ends, len(both), n)


def rate_difference(
    baseline: pd.DataFrame, variant: pd.DataFrame, column: str, *, level: float = LEVEL
) -> Estimate:
    """Variant minus baseline of the proportion of turns in which something happened.

    Args:
        column: Holds 0 or 1; NaN is left out.

    Raises:
        ValueError: as of :func:`pairs`.
    """
    return rate_changed(pairs(baseline, variant, column), level=level)


def rate_changed(both: pd.DataFrame, *, level: float = LEVEL) -> Estimate:
    """What :func:`rate_difference` estimates, of :func:`pairs`."""
    if not len(both):
        return NOTHING
    change, (owner, n) = both["change"].to_numpy(), _owners(both, CALL)
    ends = intervals.of_rate_change(change, owner, n, level)
    return Estimate(float(change.mean()), *ends, len(both), n)
