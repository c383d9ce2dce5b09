"""The published claims that the studies test, from ``data/claims.toml``, and how they fared.

The words for that are here and nowhere else. Each reads the right way round by itself: a saving is
"more" or "less" than claimed, a latency "faster" or "slower".
"""

from __future__ import annotations

import functools
import math
import tomllib
from dataclasses import dataclass

from labkit.errors import UsageError, unknown
from labkit.evidence.statistics import Estimate
from labkit.evidence.verdict import UNDECIDED
from labkit.paths import data_dir


class ClaimError(UsageError):
    """A claim that is not in the ledger."""


REPRODUCED = "reproduced"
SAVES_LESS, SAVES_MORE = "saves less than claimed", "saves more than claimed"
NO_EFFECT, DIFFERS = "no effect", "mechanism differs"
AS_CLAIMED, FASTER, SLOWER = "as claimed", "faster than claimed", "slower than claimed"
_EFFECT_S = 0.02


@dataclass(frozen=True)
class Claim:
    """One claim: a band of milliseconds, and what the ledger knows about it.

    Raises:
        ValueError: the band is empty.
    """

    text: str  # who claims it, as the subject of a sentence: "The 12-techniques guide"
    low_s: float  # lower end of the claimed band; NaN without a band
    high_s: float
    quantile: float = 0.95  # of the latency, 0 to 1
    quantity: str = "saving"  # or "level", of the response latency, or "none"
    study: str = ""  # the notebook that tests it, and "/ARM" where that is not the headline
    technique: str = ""  # what it is about, in a few words
    claim: str = ""  # what is claimed, in a sentence
    conditions: str = ""
    source: str = ""  # title and publisher

    def __post_init__(self) -> None:
        if self.low_s > self.high_s:
            raise ValueError(f"a claimed band from {self.low_s} s to {self.high_s} s is empty")


def saving_outcome(saving: Estimate, claim: Claim) -> str:
    """Whether a claimed saving was found, by the whole CI.

    Returns:
        ``reproduced`` when it lies in the claimed band, ``saves less than claimed`` or ``saves more
        than claimed`` when it lies beside it, ``no effect`` when it lies within 20 ms of zero, else
        ``undecided``.
    """
    if saving.low > -_EFFECT_S and saving.high < _EFFECT_S:
        return NO_EFFECT
    return _beside(saving, claim, SAVES_LESS, REPRODUCED, SAVES_MORE)


def level_outcome(level: Estimate, claim: Claim) -> str:
    """Whether a measured latency lies in a claimed band, by the whole CI.

    Returns:
        ``as claimed`` when it lies in the band, ``faster than claimed`` or ``slower than claimed``
        when it lies beside it, else ``undecided``.
    """
    return _beside(level, claim, FASTER, AS_CLAIMED, SLOWER)


def _beside(measured: Estimate, claim: Claim, below: str, inside: str, above: str) -> str:
    if measured.high < claim.low_s:
        return below
    if measured.low > claim.high_s:
        return above
    return inside if claim.low_s <= measured.low <= measured.high <= claim.high_s else UNDECIDED


@functools.cache
def load() -> dict[str, Claim]:
    """Every claim by the name of its study."""
    table = tomllib.loads((data_dir() / "claims.toml").read_text(encoding="utf-8"))
    sources = table.pop("sources")
    found = {}
    for study, c in table.items():
        s = sources[c["source"]]
        known = {
            "study": study,
            "text": s["short"],
            "source": f"{s['title']} ({s['publisher']}, {s['date']})",
        }
        found[study] = Claim(**{"low_s": math.nan, "high_s": math.nan, **c, **known})
    return found


def of(study: str) -> Claim:
    """The claim that a study tests.

    Raises:
        ClaimError: the ledger has none under this name.
    """
    known = load()
    if study not in known:
        raise ClaimError(f"data/claims.toml: {unknown('study', study, known)}")
    return known[study]
