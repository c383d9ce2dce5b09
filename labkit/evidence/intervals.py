"""Confidence intervals in closed form, for turns that come in clusters (calls, or speakers).

Turns of one call are not independent, so every interval rests on sums per cluster: by the cluster's
own spread (means), or by the *design effect*, how much larger the variance is than that of as many
independent turns (quantiles and rates). No resampling: the same table gives the same interval.

* Means: Student's t with Johnson's correction for skewness (J. Am. Stat. Assoc. 73, 1978).
* Rates: Wilson's score interval (1927). Differences of paired rates: Tango's (Stat. Med. 17, 1998).
* Quantiles: fractional order statistics (Hutson, J. Nonparametr. Stat. 10, 1999).
* Differences of paired quantiles: those, combined by MOVER (Zou and Donner, Stat. Med. 27, 2008),
  and no farther than single turns changed.

``tests/evidence/test_coverage.py`` shows by simulation how often they cover the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.special import betainc, ndtri, stdtrit

LEVEL = 0.95
"""Coverage of an interval unless another is asked for."""
_FEW = 10
"""Clusters below which their skewness cannot be told from chance."""
_DRAWS = 20_000
"""Of the multiplier bootstrap."""

Array: TypeAlias = np.ndarray
Ends: TypeAlias = tuple[float, float]

UNKNOWN: Ends = (math.nan, math.nan)


def z_of(level: float) -> float:
    """Standard errors of a normal distribution on either side of an interval of this level."""
    return float(ndtri((1 + level) / 2))


def _t_of(level: float, n_clusters: int) -> float:
    return float(stdtrit(n_clusters - 1, (1 + level) / 2))


def sums(values: Array, owner: Array, n_clusters: int) -> tuple[float, Array]:
    """The mean of values, and each cluster's sum of what its values differ from it.

    Args:
        values: Float array (n,).
        owner: Cluster of each value, int array (n,), from 0.
        n_clusters: How many there are.
    """
    mean = float(values.mean())
    return mean, np.bincount(owner, weights=values - mean, minlength=n_clusters)


def of_mean(values: Array, owner: Array, n_clusters: int, level: float = LEVEL) -> Ends:
    """Interval of a mean; unknown with fewer than two clusters."""
    if n_clusters < 2:
        return UNKNOWN
    mean, off = sums(values, owner, n_clusters)
    spread = float(np.mean(off**2))
    if spread <= 1e-18 * max(mean * mean, 1e-12):
        return mean, mean
    t = _t_of(level, n_clusters)
    error = math.sqrt(n_clusters**2 / (n_clusters - 1) * spread) / len(values)
    skew = float(np.mean(off**3)) / spread**1.5 if n_clusters >= _FEW else 0.0
    shift = error * skew * (1 + 2 * t * t) / (6 * math.sqrt(n_clusters))
    # the skewness of few clusters is uncertain itself: the end that comes closer moves half as far
    below, above = (shift, shift / 2) if shift < 0 else (shift / 2, shift)
    return min(mean, mean - t * error + below), max(mean, mean + t * error + above)


def design_effect(values: Array, owner: Array, n_clusters: int) -> float:
    """Variance of a mean over that of as many independent values, at least 1."""
    mean, off = sums(values, owner, n_clusters)
    alone = float(((values - mean) ** 2).sum())
    if n_clusters < 2 or alone <= 0:
        return 1.0
    return max(n_clusters / (n_clusters - 1) * float((off**2).sum()) / alone, 1.0)


def _worth(values: Array, owner: Array, n_clusters: int, level: float) -> float:
    """How many independent values these are worth; few clusters also make the spread uncertain."""
    spread = (_t_of(level, n_clusters) / z_of(level)) ** 2
    return len(values) / (design_effect(values, owner, n_clusters) * spread)


def of_rate(happened: Array, owner: Array, n_clusters: int, level: float = LEVEL) -> Ends:
    """Interval of a proportion; ``happened`` holds 0 and 1."""
    if n_clusters < 2:
        return wilson(float(happened.mean()), len(happened), level)
    return wilson(float(happened.mean()), _worth(happened, owner, n_clusters, level), level)


def wilson(proportion: float, n: float, level: float = LEVEL) -> Ends:
    """Wilson's score interval of a proportion among ``n`` independent trials; NaN of none."""
    if not n:
        return UNKNOWN
    z = z_of(level)
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def of_rate_change(change: Array, owner: Array, n_clusters: int, level: float = LEVEL) -> Ends:
    """Interval of the difference of two paired proportions.

    Args:
        change: Of each pair: 1 if it happened only after, -1 if only before, else 0.
    """
    n = len(change) if n_clusters < 2 else _worth(change, owner, n_clusters, level)
    return tango(float(np.mean(change > 0)), float(np.mean(change < 0)), n, level)


def tango(more: float, fewer: float, n: float, level: float = LEVEL) -> Ends:
    """Tango's score interval of ``more - fewer``, among ``n`` independent pairs.

    Args:
        more: Proportion of the pairs in which it happened only after.
        fewer: Proportion in which it happened only before.
    """
    z, b, c = z_of(level), more * n, fewer * n

    def score(d: float) -> float:
        """Standard errors that what was seen lies above a true difference ``d``."""
        linear = -b - c + (2 * n - b + c) * d
        root = math.sqrt(max(linear * linear + 8 * n * c * d * (1 - d), 0.0))
        variance = n * (2 * (root - linear) / (4 * n) + d * (1 - d))
        off = b - c - n * d
        return off / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, off)

    seen = more - fewer
    return _crossing(score, z, -1.0, seen), _crossing(score, -z, seen, 1.0)


def _crossing(score: Callable[[float], float], at: float, low: float, high: float) -> float:
    """Where a falling function passes a value, by bisection; an end if it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > at else (low, middle)
    return (low + high) / 2


def quantile(ordered: Array, q: float) -> float:
    """The smallest value that a proportion ``q`` does not exceed."""
    return float(ordered[max(math.ceil(q * len(ordered) - 1e-9), 1) - 1])


def of_quantile(values: Array, owner: Array, n_clusters: int, q: float, level: float) -> Ends:
    """Interval of a quantile (0 < q < 1); unknown with fewer than two clusters.

    Where it reaches past the largest or smallest value, an exponential tail is assumed.
    """
    if n_clusters < 2:
        return UNKNOWN
    ordered = np.sort(values)
    found = quantile(ordered, q)
    n = _worth((values <= found).astype(float), owner, n_clusters, level)
    low, high = (_fractional(ordered, u) for u in _ranks(round(n, 1), q, level))
    return min(low, found), max(high, found)


@functools.lru_cache(maxsize=4096)
def _ranks(n: float, q: float, level: float) -> Ends:
    """Which quantiles of ``n`` independent values lie below and above the true one."""
    tail = (1 - level) / 2

    def below(u: float) -> float:  # how likely the u quantile of a sample is below the true one
        return float(betainc((n + 1) * u, (n + 1) * (1 - u), q))

    return _crossing(below, 1 - tail, 1e-9, q), _crossing(below, tail, q, 1 - 1e-9)


def _fractional(ordered: Array, u: float) -> float:
    """The u quantile of a sample, between its order statistics, or past the last of them."""
    n = len(ordered)
    rank = (n + 1) * u
    if rank > n:
        return float(ordered[-1]) + _tail(ordered) * -math.log((n + 1) * (1 - u))
    if rank < 1:
        return float(ordered[0]) - _tail(-ordered[::-1]) * -math.log(rank)
    return float(np.interp(rank - 1, np.arange(n), ordered))


def _tail(ordered: Array) -> float:
    """Scale of an exponential upper tail: how far its values lie above where it begins."""
    n = min(max(round(math.sqrt(len(ordered))), 1), len(ordered) - 1)
    return float((ordered[-n:] - ordered[-n - 1]).mean()) if n else 0.0


def of_quantile_change(
    before: Array, after: Array, owner: Array, n_clusters: int, q: float, level: float
) -> Ends:
    """Interval of a difference of quantiles of paired values, after less before.

    It ends where the largest and the smallest change do: no quantile can move farther.
    """
    if n_clusters < 2:
        return UNKNOWN
    sides = []
    for values in (before, after):
        found = quantile(np.sort(values), q)
        off = sums((values <= found).astype(float), owner, n_clusters)[1]
        sides.append((found, *of_quantile(values, owner, n_clusters, q, level), off))
    (a, a_low, a_high, x), (b, b_low, b_high, y) = sides
    scale = math.sqrt(float((x**2).sum() * (y**2).sum()))
    together = float((x * y).sum()) / scale if scale > 0 else 0.0

    def reach(of_b: float, of_a: float) -> float:
        return math.sqrt(max(of_b**2 + of_a**2 - 2 * together * of_b * of_a, 0.0))

    change = after - before
    low = max(b - a - reach(b - b_low, a_high - a), float(change.min()))
    return low, min(b - a + reach(b_high - b, a - a_low), float(change.max()))


def simultaneous(offs: Array, level: float = LEVEL) -> float:
    """The level at which each of several intervals must be taken, so that all cover at once.

    The largest of several correlated statistics, by a multiplier bootstrap over clusters: arms that
    saw the same calls are alike, so less is lost than by dividing by their number.

    Args:
        offs: Each arm's sums per cluster (:func:`sums`), shape (n_arms, n_clusters).
        level: Of all intervals together.
    """
    scale = np.sqrt((offs**2).sum(axis=1, keepdims=True))
    known = offs[scale[:, 0] > 0] / scale[scale[:, 0] > 0]
    if len(known) < 2:
        return level
    signs = np.random.default_rng(0).standard_normal((_DRAWS, known.shape[1]))
    largest = np.abs(signs @ known.T).max(axis=1)
    reach = float(np.quantile(largest, level))
    return max(level, math.erf(reach / math.sqrt(2)))
