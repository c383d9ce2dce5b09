"""Verdicts: what a study says, in a table, in a sentence and in the file the front page reads."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from handmade import make_turns

from labkit.evidence import claims
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.evidence.statistics import Estimate
from labkit.evidence.verdict import Rules
from labkit.report import verdicts
from labkit.report.verdict_text import badges

BASE = make_turns()
ARMS = {
    "done right": make_turns(faster_s=0.2),
    "as published": make_turns().assign(outcome="missed", response_latency_s=np.nan),
}
COMPARISON = compare(BASE, ARMS, rules=Rules(worth_saving_s=0.05, max_harm=0.5))
CLAIM = Claim("The guide", 0.3, 0.5)


def row(table, arm):
    return table.set_index("arm").loc[arm]


def test_rows_carry_the_comparison_and_the_claim():
    found = row(verdicts.rows(COMPARISON, claim=CLAIM), "done right")
    assert found["p50_s"] == pytest.approx(0.2)
    assert [found[f"saving{end}_s"] for end in ("", "_low", "_high")] == pytest.approx([0.2] * 3)
    assert (found["gain"], found["harm_verdict"], found["advice"]) == (
        "faster", "within the limit", "adopt"
    )  # fmt: skip
    assert (found["n_pairs"], found["n_calls"]) == (40, 10)
    assert found["claim_outcome"] == "saves less than claimed"
    assert (found["claimed_low_s"], found["claimed_quantile"]) == (0.3, 0.95)
    assert found["harm_low"] <= found["harm"] <= found["harm_high"]


@pytest.mark.parametrize(
    ("low_s", "high_s", "outcome"),
    [
        (0.1, 0.3, "reproduced"),
        (0.3, 0.5, "saves less than claimed"),
        (0.05, 0.1, "saves more than claimed"),
    ],
)
def test_the_outcome_follows_the_band(low_s, high_s, outcome):
    found = row(verdicts.rows(COMPARISON, claim=Claim("x", low_s, high_s)), "done right")
    assert found["claim_outcome"] == outcome


def test_a_claim_may_be_made_of_one_arm_only():
    found = verdicts.rows(COMPARISON, claim={"done right": CLAIM})
    assert row(found, "done right")["claim"] == "The guide"
    assert not isinstance(row(found, "as published")["claim"], str)


def test_a_mechanism_that_was_not_found_is_said():
    found = verdicts.rows(COMPARISON, claim=CLAIM, differs={"as published": "no request left"})
    assert row(found, "as published")["claim_outcome"] == "mechanism differs"
    assert "no request left" in row(found, "as published")["statement"]
    assert row(found, "done right")["claim_outcome"] == "saves less than claimed"


def test_an_arm_that_was_not_compared_is_refused_with_the_closest_name():
    with pytest.raises(ValueError, match=r"unknown arm 'done rihgt' .did you mean done right"):
        verdicts.rows(COMPARISON, claim={"done rihgt": CLAIM})


def test_a_claimed_level_is_not_taken_for_a_saving():
    level = claims.of("00_anatomy_of_a_turn")
    with pytest.raises(ValueError, match="latency_claim"):
        verdicts.rows(COMPARISON, claim=level)


def test_every_claim_of_the_ledger_can_be_held_against_a_measurement():
    for claim in claims.load().values():
        if claim.quantity == "level":
            found = verdicts.latency_claim(BASE, claim)
        else:
            found = verdicts.rows(COMPARISON, claim=claim)
        assert found["statement"].str.len().min() > 40
        if math.isnan(claim.low_s):
            assert found["claim_outcome"].isna().all(), "nothing measurable, so no outcome"


@pytest.mark.parametrize(
    ("low_s", "high_s", "outcome"),
    [
        (1.3, 1.6, "as claimed"),
        (1.2, 1.3, "slower than claimed"),
        (1.6, 1.7, "faster than claimed"),
    ],
)
def test_a_claimed_level_is_held_against_the_turns(low_s, high_s, outcome):
    found = verdicts.latency_claim(BASE, Claim("x", low_s, high_s)).iloc[0]
    assert found["claim_outcome"] == outcome
    assert found["p95_s"] == pytest.approx(1.45)
    assert found["advice"] is None or np.isnan(found["advice"])


def test_an_interval_that_reaches_across_an_end_of_the_band_decides_nothing():
    claim = Claim("x", 1.0, 1.2)
    assert claims.level_outcome(Estimate(1.1, 1.05, 1.25, 9, 3), claim) == "undecided"
    nothing = Estimate(math.nan, math.nan, math.nan, 0, 0)
    assert claims.level_outcome(nothing, claim) == "undecided"


def test_an_empty_band_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Claim("x", 2.0, 1.0)


def test_the_table_has_milliseconds_and_intervals():
    shown = verdicts.table(verdicts.rows(COMPARISON, claim=CLAIM))
    assert shown.loc["done right", "saved per turn (ms)"] == "200 [200–200]"
    assert shown.loc["done right", "saved p50 (ms)"].startswith("200 [")
    assert shown.loc["done right", "gain"] == "faster"
    assert shown.loc["as published", "saved p50 (ms)"] == "–"
    assert shown.loc["done right", "claimed (ms)"] == "300–500 at p95"
    assert "premature or no reply (percentage points)" in shown


def test_the_sentence_says_advice_saving_harm_and_claim():
    said = verdicts.statement(verdicts.rows(COMPARISON, claim=CLAIM), "done right")
    parts = ("done right: adopt. It saves 200 ms [", "per turn in the mean (by speaker unknown)",
             "at p95", "percentage points", "300–500 ms")  # fmt: skip
    for part in parts:
        assert part in said
    level = verdicts.statement(verdicts.latency_claim(BASE, Claim("x", 1.2, 1.3)))
    assert level.startswith("vanilla: latency at p50 ")
    assert "nan" not in said + level and "None" not in said + level


def test_the_file_is_read_back_as_a_ledger(tmp_path):
    table = verdicts.rows(COMPARISON, claim=CLAIM)
    verdicts.save_verdict(table, "08_b", tmp_path, headline="done right")
    verdicts.save_verdict(verdicts.latency_claim(BASE, CLAIM), "00_a", tmp_path)
    ledger = verdicts.ledger(tmp_path)
    assert ledger["notebook"].to_list() == ["00_a", "08_b", "08_b"]
    assert ledger["headline"].to_list() == [True, True, False]
    assert set(verdicts.COLUMNS) <= set(ledger)
    saved = json.loads((tmp_path / "08_b" / "verdict.json").read_text())
    assert (saved["headline"], saved["verdict"]) == ("done right", "adopt")
    assert saved["rows"][1]["p50_s"] is None, "missing is null"
    level = json.loads((tmp_path / "00_a" / "verdict.json").read_text())
    assert level["verdict"] == level["rows"][0]["claim_outcome"]


def test_saving_the_same_verdict_again_leaves_the_file_alone(tmp_path):
    table = verdicts.rows(COMPARISON)
    path = verdicts.save_verdict(table, "08_b", tmp_path)
    before = path.stat().st_mtime_ns
    verdicts.save_verdict(table, "08_b", tmp_path)
    assert path.stat().st_mtime_ns == before


def test_a_headline_must_be_an_arm_and_a_table_complete(tmp_path):
    table = verdicts.rows(COMPARISON)
    with pytest.raises(ValueError, match="unknown arm 'right'"):
        verdicts.save_verdict(table, "08_b", tmp_path, headline="right")
    with pytest.raises(ValueError, match="harm_name"):
        verdicts.save_verdict(table.drop(columns="harm_name"), "08_b", tmp_path)
    assert not list(tmp_path.iterdir())


def test_badges_are_the_advice_and_the_claims_fate():
    found = verdicts.rows(COMPARISON, claim=CLAIM)
    assert badges(row(found, "done right")) == ["adopt", "saves less than claimed"]
    assert badges(verdicts.rows(COMPARISON).iloc[0]) == ["adopt"]
