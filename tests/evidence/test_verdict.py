"""Verdicts follow from the rules and the intervals, and change when they do."""

from __future__ import annotations

import pytest

from labkit.evidence.claims import Claim, saving_outcome
from labkit.evidence.statistics import Estimate
from labkit.evidence.verdict import Rules, decide

RULES = Rules(worth_saving_s=0.05, max_harm=0.02)
NO_HARM = Estimate(0.0, -0.01, 0.01, 200, 40)


def estimate(value, half):
    return Estimate(value, value - half, value + half, 200, 40)


@pytest.mark.parametrize(
    ("saving", "harm", "decision"),
    [
        (estimate(0.2, 0.05), NO_HARM, "adopt"),
        (estimate(0.2, 0.05), Estimate(0.1, 0.05, 0.15, 200, 40), "reject"),
        (estimate(-0.2, 0.05), NO_HARM, "reject"),
        (estimate(0.0, 0.02), NO_HARM, "no practical difference"),
        (estimate(0.06, 0.05), NO_HARM, "not enough evidence"),
        (estimate(0.2, 0.05), Estimate(0.01, -0.02, 0.04, 200, 40), "not enough evidence"),
    ],
)
def test_decisions(saving, harm, decision):
    assert decide(saving, harm, RULES).decision == decision


def test_missing_evidence_says_how_many_calls_would_settle_it():
    near, far = estimate(0.06, 0.05), estimate(0.08, 0.05)
    assert decide(near, NO_HARM, RULES).more_calls > decide(far, NO_HARM, RULES).more_calls > 0
    assert decide(estimate(0.2, 0.05), NO_HARM, RULES).more_calls == 0


def test_nothing_answered_is_rejected():
    nan = float("nan")
    assert decide(Estimate(nan, nan, nan, 0, 0), NO_HARM, RULES).decision == "reject"


@pytest.mark.parametrize(
    ("saving", "found"),
    [
        (estimate(0.3, 0.05), "reproduced"),
        (estimate(0.19, 0.05), "not enough evidence"),
        (estimate(0.5, 0.4), "not enough evidence"),
        (estimate(0.1, 0.05), "saves less than claimed"),
        (estimate(0.6, 0.05), "saves more than claimed"),
        (estimate(0.0, 0.01), "no effect"),
    ],
)
def test_a_claim_of_200_to_400_ms(saving, found):
    assert saving_outcome(saving, Claim("x", 0.2, 0.4)) == found
