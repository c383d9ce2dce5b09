"""Intervals cover what they should, and pairing pays."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from labkit.evidence import intervals, statistics


def table(values, calls):
    turn = pd.Series(calls).groupby(calls).cumcount()
    return pd.DataFrame({"call": calls, "turn": turn, "response_latency_s": values})


def clustered(rng, n_calls=40, n_turns=5, spread_s=0.3):
    """Latencies with a share that belongs to the call: turns are not independent."""
    of_call = rng.normal(1.0, spread_s, n_calls)
    values = (of_call[:, None] + rng.normal(0, 0.1, (n_calls, n_turns))).ravel()
    return table(values, np.repeat(np.arange(n_calls), n_turns))


def test_a_quantile_of_known_values():
    found = statistics.quantile(table([1.0, 2.0, 3.0, 4.0, math.nan], [0, 0, 1, 1, 1]), 0.5)
    assert (found.value, found.n, found.n_calls) == (2.0, 4, 2)
    assert found.low < 1.0 and found.high > 4.0, "two calls say little of how calls differ"


def test_nothing_known_is_nan():
    found = statistics.quantile(table([math.nan], [0]), 0.5)
    assert math.isnan(found.value) and found.n == 0


def test_intervals_of_the_median_cover_the_truth_when_turns_are_clustered():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(120):
        found = statistics.quantile(clustered(rng), 0.5)
        covered += found.low <= 1.0 <= found.high
    assert 0.9 <= covered / 120 <= 1.0


def test_taking_turns_for_independent_would_cover_too_little():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(120):
        turns = clustered(rng)
        turns["call"] = np.arange(len(turns))
        found = statistics.quantile(turns, 0.5)
        covered += found.low <= 1.0 <= found.high
    assert covered / 120 < 0.8, "this is why whole calls are resampled"


def test_a_paired_difference_is_sharper_than_the_arms_intervals():
    base = clustered(np.random.default_rng(2))
    faster = base.assign(response_latency_s=base["response_latency_s"] - 0.02)
    change = statistics.difference(base, faster)
    alone = statistics.quantile(base, 0.5)
    assert change.value == pytest.approx(-0.02)
    assert change.high - change.low < 0.2 * (alone.high - alone.low)


def test_only_shared_calls_are_compared():
    base = table([1.0, 1.0, 5.0], [0, 1, 2])
    other = table([2.0, 2.0], [0, 1])
    assert statistics.difference(base, other).value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no call in common"):
        statistics.difference(base, table([1.0], [9]))


def test_a_rate_of_zero_is_not_certain():
    turns = table([1.0] * 50, np.repeat(np.arange(10), 5))
    found = statistics.rate(turns, pd.Series([False] * 50))
    assert found.value == 0 and found.low == 0
    assert found.high == pytest.approx(0.093, abs=1e-3), "Wilson's for 0 of 50, in ten calls"


def test_wilson_against_a_published_value():
    low, high = intervals.wilson(0.1, 100)
    assert (low, high) == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))


def _flags(values: list[int]) -> pd.DataFrame:
    n = len(values)
    return pd.DataFrame({"call": np.arange(n) // 5, "turn": np.arange(n) % 5, "x": values})


def test_what_never_happened_is_not_certain_never_to_happen():
    none = _flags([0] * 200)
    found = statistics.rate_difference(none, none, "x")
    assert found.value == 0
    assert found.high == pytest.approx(-found.low) == pytest.approx(0.0200, abs=1e-4)
    few = statistics.rate_difference(_flags([0] * 20), _flags([0] * 20), "x")
    assert few.high > 0.1


def test_a_clear_fall_of_a_rate_is_seen():
    before, after = _flags([1, 0, 0, 0, 0] * 40), _flags([0] * 200)
    found = statistics.rate_difference(before, after, "x")
    assert found.value == pytest.approx(-0.2)
    assert found.high < -0.14


def test_a_quantile_moves_no_farther_than_single_turns_do() -> None:
    rng = np.random.default_rng(3)
    before = rng.lognormal(0.4, 0.6, 100)
    owner = np.repeat(np.arange(20), 5)
    args = (owner, 20, 0.95, 0.95)
    assert intervals.of_quantile_change(before, before, *args) == (0.0, 0.0)
    after = before + rng.uniform(-0.1, -0.04, 100)
    low, high = intervals.of_quantile_change(before, after, *args)
    assert (after - before).min() <= low < high <= (after - before).max()
