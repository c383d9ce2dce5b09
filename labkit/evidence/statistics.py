"""Estimates with confidence intervals (CI), by a bootstrap over calls.

Turns of one call are not independent, so every function takes the turns table (or a part of it) and
resamples whole calls. A
comparison draws the same calls on both sides, because all arms hear the same callers and see the
same random draws (common random numbers): most of the noise cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
import pandas as pd

N_BOOT, LEVEL = 2000, 0.95
"""Resamples of the bootstrap, and coverage of its intervals."""
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """An estimate and its confidence interval (CI); NaN where nothing could be estimated."""

    value: float
    low: float
    high: float
    n: int  # turns it rests on
    n_calls: int  # calls they come from

    def columns(self, name: str, suffix: str = "") -> dict[str, float]:
        """For a table with several estimates: ``NAME``, ``NAME_low``, ``NAME_high`` + suffix."""
        ends = {"": self.value, "_low": self.low, "_high": self.high}
        return {f"{name}{end}{suffix}": value for end, value in ends.items()}

    def row(self, name: str, suffix: str = "") -> dict[str, float]:
        """For a table with one estimate: ``NAME``, and ``low`` and ``high`` + suffix."""
        return {name: self.value, f"low{suffix}": self.low, f"high{suffix}": self.high}


NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0)


def _resamples(n_calls: int) -> np.ndarray:
    """How often each call is drawn in each resample: int array (N_BOOT, n_calls)."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(n_calls, np.full(n_calls, 1 / n_calls), size=N_BOOT)


def _interval(draws: np.ndarray) -> tuple[float, float]:
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return math.nan, math.nan
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _weighted_quantile(
    values: np.ndarray, owner: np.ndarray, counts: np.ndarray, q: float
) -> np.ndarray:
    """The q quantile of each resample (inverse of the empirical distribution)."""
    order = np.argsort(values, kind="stable")
    weights = counts[:, owner[order]].cumsum(axis=1)
    total = weights[:, -1:]
    at = (weights >= np.maximum(np.ceil(q * total), 1)).argmax(axis=1)
    found = values[order][at]
    return np.where(total[:, 0] > 0, found, math.nan)


def _columns(turns: pd.DataFrame, column: str, calls: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    known = turns[turns[column].notna()]
    return known[column].to_numpy(dtype=float), calls.get_indexer(pd.Index(known["call"]))


def quantile(turns: pd.DataFrame, q: float, column: str = "response_latency_s") -> Estimate:
    """A quantile (0 to 1) of a numeric column over turns, NaN left out."""
    return _bootstrap(turns, column, partial(_weighted_quantile, q=q))


def mean(turns: pd.DataFrame, column: str) -> Estimate:
    """The mean of a numeric or boolean column over turns, NaN left out."""
    return _bootstrap(turns, column, _weighted_mean)


def _bootstrap(turns: pd.DataFrame, column: str, statistic: Callable[..., np.ndarray]) -> Estimate:
    """A statistic of a column, of the turns as they are and with calls resampled."""
    # sorted: which of them a resample draws must not depend on the order of rows
    calls = pd.Index(sorted(set(turns["call"])) if len(turns) else ())
    values, owner = _columns(turns, column, calls) if len(calls) else ((), ())
    if not len(values):
        return NOTHING
    counts = np.vstack([np.ones((1, len(calls)), int), _resamples(len(calls))])
    found = statistic(values, owner, counts)
    return Estimate(float(found[0]), *_interval(found[1:]), len(values), len(calls))


def _weighted_mean(values: np.ndarray, owner: np.ndarray, counts: np.ndarray) -> np.ndarray:
    n_calls = counts.shape[1]
    sums = np.bincount(owner, weights=values, minlength=n_calls)
    sizes = np.bincount(owner, minlength=n_calls)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: np.ndarray = (counts @ sums) / (counts @ sizes)
    return means


def rate(turns: pd.DataFrame, happened: pd.Series) -> Estimate:
    """The proportion of turns in which something happened.

    A bootstrap of a rate that is 0 or 1 in the sample has no width, which would claim certainty.
    The interval is therefore never narrower than Wilson's for as many independent *turns*.
    """
    table = pd.DataFrame({"call": turns["call"], "x": happened.astype(float)})
    boot = mean(table, "x")
    if not boot.n:
        return boot
    low, high = wilson(boot.value, boot.n)
    return Estimate(boot.value, min(boot.low, low), max(boot.high, high), boot.n, boot.n_calls)


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


def wilson(proportion: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion among ``n`` independent trials."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def difference(
    baseline: pd.DataFrame,
    variant: pd.DataFrame,
    column: str = "response_latency_s",
    *,
    q: float | None = 0.5,
) -> Estimate:
    """Variant minus baseline, paired by call: the same calls are drawn on both sides.

    NaN if one side has no turns or no values.

    Args:
        q: Quantile that is compared; None compares means.

    Raises:
        ValueError: the arms have no call in common.
    """
    if not len(baseline) or not len(variant):
        return NOTHING
    shared = pd.Index(sorted(set(baseline["call"]) & set(variant["call"])))
    if not len(shared):
        raise ValueError("the arms have no call in common; run both with the same seed and calls")
    sides = []
    counts = np.vstack([np.ones((1, len(shared)), int), _resamples(len(shared))])
    n = 0
    for turns in (baseline, variant):
        values, owner = _columns(turns[turns["call"].isin(shared)], column, shared)
        if not len(values):
            return NOTHING
        n = len(values)
        sides.append(
            _weighted_mean(values, owner, counts)
            if q is None
            else _weighted_quantile(values, owner, counts, q)
        )
    change = sides[1] - sides[0]
    return Estimate(float(change[0]), *_interval(change[1:]), n, len(shared))


def rate_difference(baseline: pd.DataFrame, variant: pd.DataFrame, column: str) -> Estimate:
    """Variant minus baseline of the proportion of turns in which something happened.

    A bootstrap of something that never differed in the sample has no width. The interval is
    therefore never narrower than what Wilson's interval allows for the turns in which it happened
    on one side only. The column holds 0 or 1; NaN is left out.
    """
    boot = difference(baseline, variant, column, q=None)
    key = ["call", "turn"]
    both = baseline.set_index(key)[[column]].join(
        variant.set_index(key)[column].rename("other"), how="inner"
    ).dropna()  # fmt: skip
    n = len(both)
    if not n or math.isnan(boot.value):
        return boot
    more = float((both["other"] > both[column]).sum()) / n
    fewer = float((both["other"] < both[column]).sum()) / n
    high = wilson(more, n)[1] - fewer
    low = more - wilson(fewer, n)[1]
    return Estimate(boot.value, min(boot.low, low), max(boot.high, high), boot.n, boot.n_calls)
