"""The claims ledger."""

import math
from pathlib import Path

import pytest

from labkit.evidence import claims


def test_every_claim_has_what_a_reader_needs() -> None:
    for study, claim in claims.load().items():
        assert claim.claim.endswith("."), study
        assert claim.conditions, study
        assert claim.quantity in ("saving", "level", "none"), study
        assert (claim.quantity == "none") == math.isnan(claim.low_s), study
        assert math.isnan(claim.low_s) or claim.low_s < claim.high_s, study


def test_every_notebook_that_speaks_of_a_claim_has_one() -> None:
    notebooks = Path(__file__).parents[2] / "notebooks"
    speak = [p.stem for p in notebooks.glob("*.ipynb") if "study.claim" in p.read_text()]
    assert len(speak) >= 8, "the search finds what it looks for"
    assert set(speak) <= set(claims.load())


def test_an_unknown_claim_is_named() -> None:
    with pytest.raises(claims.ClaimError, match="did you mean 10_semantic_cache"):
        claims.of("10_semantic_cash")
