"""The published claims that the studies test, from ``data/claims.toml``."""

from __future__ import annotations

import difflib
import functools
import math
import tomllib
from dataclasses import dataclass

from labkit.errors import UsageError
from labkit.paths import data_dir


class ClaimError(UsageError):
    """A claim that is not in the ledger."""


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        study: Name of the notebook that tests it, and "/ARM" where that is not the headline.
        technique: What it is about, in a few words.
        claim: What is claimed, in a sentence.
        quantity: ``saving`` or ``level`` of the response latency, or ``none``.
        low_s: Lower end of the claimed band, seconds; NaN without a band.
        high_s: Upper end.
        conditions: Under which conditions it is claimed.
        text: Who claims it, as the subject of a sentence.
        source: Title and publisher.
        quantile: Of which quantile of the latency it is said.
    """

    study: str
    technique: str
    claim: str
    quantity: str
    low_s: float
    high_s: float
    conditions: str
    text: str
    source: str
    quantile: float = 0.95


@functools.cache
def load() -> dict[str, Claim]:
    """Every claim by the name of its study."""
    table = tomllib.loads((data_dir() / "claims.toml").read_text(encoding="utf-8"))
    sources = table.pop("sources")
    full = {n: f"{s['title']} ({s['publisher']}, {s['date']})" for n, s in sources.items()}
    return {
        study: Claim(
            study=study,
            technique=c["technique"],
            claim=c["claim"],
            quantity=c["quantity"],
            low_s=float(c.get("low_s", math.nan)),
            high_s=float(c.get("high_s", math.nan)),
            conditions=c["conditions"],
            text=sources[c["source"]]["short"],
            source=full[c["source"]],
        )
        for study, c in table.items()
    }


def of(study: str) -> Claim:
    """The claim that a study tests.

    Raises:
        ClaimError: the ledger has none under this name.
    """
    known = load()
    if study not in known:
        close = difflib.get_close_matches(study, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ClaimError(f"no claim for {study!r}{hint}; data/claims.toml has {', '.join(known)}")
    return known[study]
