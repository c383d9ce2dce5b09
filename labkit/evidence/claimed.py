"""A claimed band of milliseconds, and how a measured level stands to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from labkit.evidence.statistics import Estimate


class Claimed(Protocol):
    """Anything that names a claimed band: :class:`Claim`, or an entry of ``lab.claims``."""

    @property
    def text(self) -> str: ...
    @property
    def low_s(self) -> float: ...
    @property
    def high_s(self) -> float: ...
    @property
    def quantile(self) -> float: ...


@dataclass(frozen=True)
class Claim:
    """A published band.

    Attributes:
        text: Whose claim it is, as the subject of a sentence: "The 12-techniques guide".
        low_s: Lower end, seconds.
        high_s: Upper end, seconds.
        quantile: Which quantile it speaks of, 0 to 1.

    Raises:
        ValueError: the band is empty.
    """

    text: str
    low_s: float
    high_s: float
    quantile: float = 0.95

    def __post_init__(self) -> None:
        if self.low_s > self.high_s:
            raise ValueError(f"a claimed band from {self.low_s} s to {self.high_s} s is empty")


def level_against_claim(found: Estimate, claim: Claimed) -> str:
    """Whether a measured level lies in a claimed band.

    Returns:
        ``reproduced`` when the estimate lies in the band, ``smaller`` or ``larger`` when its whole
        interval lies beside it, ``not enough evidence`` when the estimate lies outside and its
        interval reaches in, or there is no estimate.
    """
    if math.isnan(found.value):
        return "not enough evidence"
    if claim.low_s <= found.value <= claim.high_s:
        return "reproduced"
    if found.low > claim.high_s:
        return "larger"
    if found.high < claim.low_s:
        return "smaller"
    return "not enough evidence"
