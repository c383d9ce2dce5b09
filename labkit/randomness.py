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
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.95)


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
class Delay:
    """A delay in seconds: a floor plus a log-normal part, with an optional rare stall.

    Attributes:
        median_s: Median of the ordinary part, floor included.
        p95_s: 95th percentile of the ordinary part; equal to ``median_s`` means constant.
        min_s: Floor that no draw goes below.
        stall_prob: Share of draws (0 to 1) that also suffer a stall.
        stall_s: Mean length of a stall; its length is exponential.
        max_s: Draws are cut off here; infinite by default.
    """

    median_s: float
    p95_s: float
    min_s: float = 0.0
    stall_prob: float = 0.0
    stall_s: float = 0.0
    max_s: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.min_s <= self.median_s <= self.p95_s <= self.max_s:
            raise ValueError(
                "a delay needs 0 <= min_s <= median_s <= p95_s <= max_s, got "
                f"min_s={self.min_s}, median_s={self.median_s}, p95_s={self.p95_s}, "
                f"max_s={self.max_s}"
            )
        if self.min_s == self.median_s < self.p95_s:
            raise ValueError(
                f"min_s={self.min_s} must be below median_s when p95_s={self.p95_s} is above it"
            )
        if not 0 <= self.stall_prob < 0.05:
            raise ValueError(f"stall_prob={self.stall_prob} must be at least 0 and below 0.05")
        if self.stall_s < 0 or (self.stall_prob > 0) != (self.stall_s > 0):
            raise ValueError(f"stall_prob={self.stall_prob} and stall_s={self.stall_s} go together")

    @property
    def _mu(self) -> float:
        return math.log(self.median_s - self.min_s)

    @property
    def _sigma(self) -> float:
        return (math.log(self.p95_s - self.min_s) - self._mu) / _Z95

    def quantile(self, q: float) -> float:
        """The ``q`` quantile of the ordinary part (stalls left out), seconds."""
        if self.p95_s == self.median_s:
            return self.median_s
        value = self.min_s + math.exp(self._mu + self._sigma * _NORMAL.inv_cdf(q))
        return min(value, self.max_s)

    @property
    def mean_s(self) -> float:
        """Mean with stalls, before the cut-off at ``max_s``, seconds."""
        ordinary = self.median_s
        if self.p95_s > self.median_s:
            ordinary = self.min_s + math.exp(self._mu + self._sigma**2 / 2)
        return ordinary + self.stall_prob * self.stall_s

    def draw(self, seed: int, purpose: str, *key: int | str) -> float:
        """The delay of one occasion, in seconds: the same name always gives the same delay."""
        value = self.quantile(uniform(seed, purpose, *key))
        if self.stall_prob:
            drawn = uniform(seed, purpose + ".stall", *key)
            if drawn < self.stall_prob:
                value -= self.stall_s * math.log(drawn / self.stall_prob)
        return min(value, self.max_s)

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Delay:
        """Builds a delay from a profile table, leaving out where its figures come from."""
        return cls(**{k: v for k, v in table.items() if k not in ("source", "date", "note")})
