"""Random draws that do not depend on the order in which they are made.

Every draw comes from a stream named by ``(seed, purpose, call, turn, …)``. Two arms of an
experiment therefore see the same random draws (common random numbers), whatever else they do, and
their differences can be compared in pairs. Delay distributions draw by inverting their cumulative
distribution with **one** uniform number, so the same draw means the same quantile even where two
arms use different distributions.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

_NORMAL = NormalDist()
_Z75, _Z95, _Z99 = (_NORMAL.inv_cdf(q) for q in (0.75, 0.95, 0.99))
_ORIGIN = ("source", "date", "note")


def stream(seed: int, purpose: str, *key: int | str) -> np.random.Generator:
    """A generator that depends on nothing but its name.

    Args:
        seed: The study's base seed.
        purpose: What is drawn, such as ``"openai.first_token"``.
        key: Usually the call and the turn; anything that names the occasion.
    """
    name = repr((int(seed), purpose, *key)).encode()
    return np.random.Generator(
        np.random.PCG64(int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big"))
    )


def uniform(seed: int, purpose: str, *key: int | str) -> float:
    """One uniform number in (0, 1) from the stream of that name, without building a generator."""
    name = repr((int(seed), purpose, *key)).encode()
    bits = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 11
    return (bits + 0.5) / (1 << 53)


@dataclass(frozen=True, kw_only=True)
class SlowSpell:
    """Stretches in which a provider is slow: whole calls, or some turns on end.

    It adds dependence and nothing else: over all calls a delay keeps its distribution (see
    :meth:`Delay.drawn`).

    Attributes:
        share: Proportion of the time that is slow, above 0 and below 0.5.
        factor: How many times longer the median draw is in a spell than outside, above 1.
        turns: Length of a stretch, caller turns; without it a call is slow as a whole or not.
    """

    share: float
    factor: float
    turns: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 0.5:
            raise ValueError(f"slow.share={self.share} must be above 0 and below 0.5")
        if not self.factor > 1:
            raise ValueError(f"slow.factor={self.factor} must be above 1")
        if self.turns is not None and (self.turns < 1 or self.turns != int(self.turns)):
            raise ValueError(f"slow.turns={self.turns} must be a whole number from 1")

    def holds(self, seed: int, provider: str, call: int, turn: int) -> bool:
        """Whether a turn is slow at a provider: the same in every arm and for every request."""
        stretch = 0
        if self.turns is not None:
            begun = int(uniform(seed, f"{provider}.slow.phase", call) * self.turns)
            stretch = int((turn + begun) // self.turns)
        return uniform(seed, f"{provider}.slow", call, stretch) < self.share


@dataclass(frozen=True, kw_only=True)
class Delay:
    """A delay in seconds: a body, perhaps a tail, perhaps slow spells.

    The distribution goes through every quantile it is given. Between them, and beyond the last, the
    logarithm of what exceeds ``min_s`` is linear in the normal score; with the median and one more
    quantile that is a log-normal above a floor.

    Attributes:
        median_s: Median, floor included.
        p95_s: 95th percentile; equal to ``median_s`` means constant.
        iqr_s: Interquartile range. It or ``p95_s`` must be given.
        min_s: Floor that no draw goes below.
        max_s: Draws are cut off here; infinite by default.
        p99_s: 99th percentile.
        longest_s: Median of the longest of ``longest_of`` draws.
        longest_of: How many draws those are, above 20: one in 20 is the 95th percentile.
        slow: Slow spells.
    """

    median_s: float
    p95_s: float | None = None
    iqr_s: float | None = None
    min_s: float = 0.0
    max_s: float = math.inf
    p99_s: float | None = None
    longest_s: float | None = None
    longest_of: int | None = None
    slow: SlowSpell | None = None

    def __post_init__(self) -> None:
        if self.p95_s is None and self.iqr_s is None:
            raise ValueError("a delay needs p95_s or iqr_s beside median_s")
        if (self.longest_s is None) != (self.longest_of is None):
            raise ValueError("longest_s and longest_of go together")
        if self.longest_of is not None and self.longest_of <= 20:
            raise ValueError(f"longest_of={self.longest_of} must be above 20")
        if self.iqr_s is not None and not self.iqr_s > 0:
            raise ValueError(f"iqr_s={self.iqr_s} must be above 0")
        self._check_order()
        if self.slow is not None:
            _ = self._spell_shift  # refuses a factor that is out of reach

    def _check_order(self) -> None:
        floors = {"min_s": self.min_s, "median_s": self.median_s}
        tail = sorted((z, name, value) for name, (z, value) in self._named.items())
        ordered = {**floors, **{name: value for _, name, value in tail}, "max_s": self.max_s}
        values = [0.0, *ordered.values()]
        if not all(a <= b for a, b in pairwise(values)):
            told = ", ".join(f"{name}={value}" for name, value in ordered.items())
            raise ValueError(f"a delay needs 0 <= {' <= '.join(ordered)}, got {told}")
        if self.min_s == self.median_s and values[-2] > self.median_s:
            last = list(ordered)[-2]
            raise ValueError(
                f"min_s={self.min_s} must be below median_s when {last}={values[-2]} is above it"
            )

    @property
    def _named(self) -> dict[str, tuple[float, float]]:
        """Normal score and value (s) of the quantiles above the median that were given."""
        out = {}
        if self.iqr_s is not None:
            above_s = self.median_s - self.min_s
            spread = math.asinh(self.iqr_s / 2 / above_s) if above_s > 0 else math.inf
            out["75th percentile"] = (_Z75, self.min_s + above_s * math.exp(min(spread, 99.0)))
        if self.p95_s is not None:
            out["p95_s"] = (_Z95, self.p95_s)
        if self.p99_s is not None:
            out["p99_s"] = (_Z99, self.p99_s)
        if self.longest_s is not None and self.longest_of is not None:
            out["longest_s"] = (_NORMAL.inv_cdf(0.5 ** (1 / self.longest_of)), self.longest_s)
        return out

    @cached_property
    def _knots(self) -> tuple[list[float], list[float]]:
        """Normal scores, and the logarithm of what exceeds the floor there."""
        at = dict(self._named.values())
        if self.iqr_s is not None:  # as far below the median as above it, in the logarithm
            at[-_Z75] = self.min_s + (self.median_s - self.min_s) ** 2 / (at[_Z75] - self.min_s)
        at[0.0] = self.median_s
        scores = sorted(at)
        return scores, [math.log(at[z] - self.min_s) for z in scores]

    @property
    def _constant(self) -> bool:
        return all(value == self.median_s for _, value in self._named.values())

    def quantile(self, q: float) -> float:
        """The ``q`` quantile (0 to 1, both excluded) over all calls, spells included, seconds."""
        return self._at(_NORMAL.inv_cdf(q))

    def _at(self, z: float) -> float:
        if self._constant:
            return self.median_s
        scores, logs = self._knots
        i = min(max(bisect_right(scores, z), 1), len(scores) - 1)
        slope = (logs[i] - logs[i - 1]) / (scores[i] - scores[i - 1])
        value = self.min_s + math.exp(min(logs[i - 1] + slope * (z - scores[i - 1]), 99.0))
        return min(value, self.max_s)

    @cached_property
    def _spell_shift(self) -> float:
        """How far a spell moves the normal score of a draw; the factor of the medians sets it.

        Raises:
            ValueError: the distribution is too narrow for the factor.
        """
        assert self.slow is not None
        factor, share = self.slow.factor, self.slow.share

        def ratio(shift: float) -> float:
            return self._at(self._score(shift, shift)) / self._at(self._score(0.0, shift))

        low, high = 0.0, 8.0
        if ratio(high) <= factor:
            raise ValueError(
                f"slow.factor={factor} is out of reach: with slow.share={share} the slowest draws "
                f"are {ratio(high):.2f} times the others"
            )
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if ratio(middle) < factor else (low, middle)
        return high

    def _score(self, x: float, shift: float) -> float:
        """The normal score of ``x`` among all draws, those in spells having been moved by a shift.

        ``x`` is a standard normal number, plus the shift in a spell.
        """
        assert self.slow is not None
        share = self.slow.share
        # by the upper tail, which does not round to nothing where it matters
        above = share * _NORMAL.cdf(shift - x) + (1 - share) * _NORMAL.cdf(-x)
        return -_NORMAL.inv_cdf(min(max(above, 1e-300), 1 - 1e-16))

    def drawn(self, u: float, *, slow: bool = False) -> float:
        """The delay for a uniform number ``u``, in a spell or not, seconds.

        Without spells this is :meth:`quantile`. With them, draws in a spell are longer and the
        others shorter, in such a way that together they have the same quantiles.
        """
        z = _NORMAL.inv_cdf(u)
        if self.slow is None:
            return self._at(z)
        return self._at(self._score(z + slow * self._spell_shift, self._spell_shift))

    def draw(self, seed: int, purpose: str, *key: int | str) -> float:
        """The delay of one occasion outside any spell, in seconds; equal names, equal delays."""
        return self.drawn(uniform(seed, purpose, *key))

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Delay:
        """Builds a delay from a profile's table.

        Its tables ``tail`` (``p99_s``, ``longest_s``, ``longest_of``) and ``slow`` (see
        :class:`SlowSpell`) name their own origin.

        Raises:
            ValueError: the figures contradict each other.
            TypeError: a figure does not exist.
        """
        plain = {k: v for k, v in table.items() if k not in (*_ORIGIN, "tail", "slow")}
        tail = {k: v for k, v in table.get("tail", {}).items() if k not in _ORIGIN}
        misplaced = (set(plain) & set(_TAIL)) | (set(tail) - set(_TAIL))
        if misplaced:
            raise ValueError(f"{min(misplaced)}: the table 'tail' holds {', '.join(_TAIL)}")
        spell = {k: v for k, v in table.get("slow", {}).items() if k not in _ORIGIN}
        return cls(**plain, **tail, slow=SlowSpell(**spell) if spell else None)


_TAIL = ("p99_s", "longest_s", "longest_of")
