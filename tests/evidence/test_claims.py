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


def test_every_study_of_a_technique_has_its_claim() -> None:
    notebooks = Path(__file__).parents[2] / "notebooks"
    known = claims.load()
    for path in notebooks.glob("*.ipynb"):
        if int(path.stem[:2]) <= 16:
            assert path.stem in known


def test_an_unknown_claim_is_named() -> None:
    with pytest.raises(claims.ClaimError, match="did you mean 10_semantic_cache"):
        claims.of("10_semantic_cash")
