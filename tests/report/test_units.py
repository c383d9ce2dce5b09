"""Numbers are printed in the reader's unit, with no more digits than they deserve."""

from __future__ import annotations

import math

import pytest

from labkit.evidence.units import change_unit, interval, number, unit_of


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (1234.5, "1,234"),
        (99.6, "100"),
        (12.34, "12.3"),
        (1.0, "1"),
        (0.04567, "0.046"),
        (0.0, "0"),
        (-0.0001, "0"),
        (-3.21, "−3.2"),
        (math.nan, "–"),
    ],
)
def test_numbers(value, printed):
    assert number(value) == printed


def test_a_plus_where_a_change_is_shown():
    assert number(3.0, sign=True) == "+3"
    assert number(0.0, sign=True) == "0"


def test_ends_of_an_interval_have_the_same_decimals():
    assert interval(0.004, 123.4) == "[0–123]"
    assert interval(-12.3, 4.5) == "[−12.3 to 4.5]"


@pytest.mark.parametrize(
    ("column", "label", "factor"),
    [
        ("response_latency_s", "mouth-to-ear response latency (ms)", 1000),
        ("endpointing.min_delay_s", "endpointing.min delay (ms)", 1000),
        ("llm.tokens_per_s", "llm.tokens (per s)", 1),
        ("answer_share", "answer (%)", 100),
        ("usd", "cost per turn (US cents)", 100),
        ("n_premature_replies", "n premature replies", 1),
    ],
)
def test_units_follow_the_suffix(column, label, factor):
    unit = unit_of(column)
    assert (unit.label, unit.factor) == (label, factor)


def test_an_estimate_is_printed_with_its_interval_and_a_missing_one_as_a_dash():
    unit = unit_of("response_latency_s")
    assert unit.estimate(0.1234, 0.1, 0.15, symbol=True) == "123 ms [100–150]"
    assert unit.estimate(math.nan, math.nan, math.nan) == "–"


def test_changes_of_shares_are_percentage_points():
    assert change_unit("share", "cut in").label == "cut in (percentage points)"
    assert change_unit("llm_wasted_tokens", "waste").label == "waste (tokens)"
