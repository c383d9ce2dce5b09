"""Verdicts follow from the rules and the intervals, and change a hair beyond every limit."""

from __future__ import annotations

import pytest

from labkit.evidence.statistics import Estimate
from labkit.evidence.verdict import (
    ADOPT,
    ADVICE,
    FASTER,
    LESS,
    MORE,
    REJECT,
    SAME,
    SLOWER,
    TRADE_OFF,
    UNDECIDED,
    WITHIN,
    Rules,
    decide,
)

NAN = float("nan")
EPS = 1e-6


def between(low: float, high: float, n_calls: int = 40) -> Estimate:
    return Estimate((low + high) / 2, low, high, 5 * n_calls, n_calls)


NO_HARM, NO_TAIL = between(-0.01, 0.01), between(-0.1, 0.1)
UNKNOWN = Estimate(0.1, NAN, NAN, 5, 1)


def verdict(saving=None, p95=NO_TAIL, harm=NO_HARM, rules: Rules | None = None, kind="share"):
    saving = between(0.1, 0.2) if saving is None else saving
    return decide(saving, p95, harm, rules or Rules(), kind)


def test_what_is_worth_having_by_default() -> None:
    assert Rules() == Rules(worth_saving_s=0.05, max_harm=0.02, worth_p95_s=0.2, level=0.95)


@pytest.mark.parametrize(
    ("saving", "gain"),
    [
        (between(0.05 - EPS, 0.2), UNDECIDED), (between(0.05, 0.2), FASTER),
        (between(-0.05 + EPS, 0.05 - EPS), SAME),
        (between(-0.05, 0.05 - EPS), UNDECIDED), (between(-0.05 + EPS, 0.05), UNDECIDED),
        (between(-0.2, -0.05), SLOWER), (between(-0.2, -0.05 + EPS), UNDECIDED),
        (between(-0.04, -0.01), SAME),  # slower, but not so that it matters
        (UNKNOWN, UNDECIDED),
    ],
)  # fmt: skip
def test_a_gain_is_judged_by_where_the_mean_saving_s_interval_ends(saving, gain) -> None:
    assert verdict(saving).gain == gain


@pytest.mark.parametrize(
    ("p95", "gain"),
    [
        (between(-0.2 + EPS, 0.2 - EPS), SAME), (between(-0.2, 0.1), UNDECIDED),
        (between(0.2, 0.5), FASTER), (between(0.2 - EPS, 0.5), UNDECIDED),
        (between(-0.5, -0.2), SLOWER), (UNKNOWN, UNDECIDED),
    ],
)  # fmt: skip
def test_no_difference_in_the_mean_leaves_it_to_the_tail(p95, gain) -> None:
    found = verdict(between(-0.01, 0.01), p95)
    assert found.gain == gain
    assert gain in (SAME, UNDECIDED) or "at p95 by at least 200 ms" in found.reason


def test_faster_in_the_mean_and_slower_at_p95_is_a_trade_off() -> None:
    """As a turn detector that is seldom in doubt, and then waits for seconds."""
    found = verdict(p95=between(-2.0, -1.7))
    assert (found.gain, found.advice) == (FASTER, TRADE_OFF)
    assert "slower at p95 by at least 1,700 ms" in found.reason
    assert verdict(p95=between(-2.0, -0.2 + EPS)).advice == ADOPT


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (between(-0.01, 0.02), WITHIN), (between(-0.01, 0.02 + EPS), UNDECIDED),
        (between(0.02, 0.05), UNDECIDED), (between(0.02 + EPS, 0.05), MORE),
        (between(-0.1, -0.02), LESS), (between(-0.1, -0.02 + EPS), WITHIN),
        (Estimate(NAN, NAN, NAN, 0, 0), UNDECIDED),
    ],
)  # fmt: skip
def test_harm_is_judged_by_where_its_interval_ends(harm, found) -> None:
    assert verdict(harm=harm).harm == found


SAVINGS = {
    FASTER: between(0.1, 0.2), SAME: between(-0.01, 0.01), SLOWER: between(-0.2, -0.1),
    UNDECIDED: between(0.01, 0.2),
}  # fmt: skip
HARMS = {LESS: between(-0.2, -0.1), WITHIN: NO_HARM, MORE: between(0.1, 0.2),
         UNDECIDED: between(0.01, 0.04)}  # fmt: skip


@pytest.mark.parametrize("gain", SAVINGS)
@pytest.mark.parametrize("harm", HARMS)
def test_the_advice_follows_from_gain_and_harm(gain: str, harm: str) -> None:
    found = verdict(SAVINGS[gain], harm=HARMS[harm])
    assert (found.gain, found.harm) == (gain, harm)
    assert found.advice == ADVICE[gain][list(HARMS).index(harm)]
    assert (found.more_calls > 0) == (found.advice == UNDECIDED)
    if harm == MORE and gain in (SAME, SLOWER):
        assert found.advice == REJECT
    if UNDECIDED in (gain, harm):
        assert found.advice == UNDECIDED
        named = [w for w in ("gain undecided", "harm undecided") if w in found.reason]
        assert named == [f"{w} undecided" for w, x in (("gain", gain), ("harm", harm))
                         if x == UNDECIDED]  # fmt: skip


def test_reasons_give_the_end_that_decided() -> None:
    assert verdict(between(0.08, 0.2)).reason == (
        "faster by at least 80 ms; harm rises by 1 percentage points at most"
    )
    assert "slower by at least 70 ms" in verdict(between(-0.2, -0.07)).reason
    assert "within ±50 ms in the mean and ±200 ms at p95" in verdict(between(-0.01, 0.02)).reason
    reason = verdict(between(0.01, 0.2)).reason
    assert "10 to 200 ms" in reason and "across 50 ms" in reason
    reason = verdict(harm=between(-0.01, 0.04)).reason
    assert "4 percentage points" in reason and "2 percentage points set" in reason
    cost = verdict(harm=between(4.0, 9.0), kind="llm_wasted_tokens").reason
    assert "harm rises by at least 4 tokens, over the 0.02 tokens set" in cost


@pytest.mark.parametrize(
    ("saving", "harm", "more"),
    [
        # half the width against the distance to the nearest limit, squared: (0.1 / 0.05)² × 40 − 40
        (Estimate(0.1, 0.0, 0.2, 200, 40), NO_HARM, 120),
        (Estimate(0.0, -0.1, 0.1, 200, 40), NO_HARM, 120),
        # the harm is what is open: (0.03 / 0.01)² × 40 − 40
        (Estimate(0.3, 0.1, 0.5, 200, 40), Estimate(0.01, -0.02, 0.04, 200, 40), 320),
        # never none
        (Estimate(0.2, 0.04, 0.24, 200, 40), NO_HARM, 6),
        # one call says nothing of how calls differ
        (UNKNOWN, NO_HARM, 20),
    ],
)
def test_calls_that_would_decide(saving, harm, more: int) -> None:
    found = verdict(saving, harm=harm)
    assert (found.advice, found.more_calls) == (UNDECIDED, more)
    assert f"about {more} more calls would decide" in found.reason or saving is UNKNOWN


def test_what_lies_on_a_limit_says_so() -> None:
    for saving in (Estimate(0.05, 0.0, 0.1, 200, 40), Estimate(-0.049, -0.06, -0.04, 200, 40)):
        found = verdict(saving)
        assert (found.advice, found.more_calls) == (UNDECIDED, 0)
        assert "lies on that limit" in found.reason


def test_nothing_answered_is_rejected() -> None:
    found = verdict(Estimate(NAN, NAN, NAN, 0, 0))
    assert found.advice == REJECT and "no turn was answered" in found.reason
