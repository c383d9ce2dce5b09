"""What estimates must do whatever the numbers are, and against brute force where they are few."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labkit.evidence import statistics
from labkit.evidence.statistics import Estimate

MS = st.integers(-4000, 4000).map(lambda n: n / 1000)
TURNS = st.lists(st.tuples(st.integers(0, 6), MS), min_size=1, max_size=30)
SHIFT = st.integers(-8, 8).map(float)
SCALE = st.sampled_from([0.25, 0.5, 2.0, 8.0])  # powers of two, so that no digit is lost
QUANTILES = st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.95])
few = settings(max_examples=15)  # each draws thousands of resamples


def table(turns: list[tuple[int, float]], column: str = "x") -> pd.DataFrame:
    calls, values = zip(*turns, strict=True)
    number = pd.Series(calls).groupby(pd.Series(calls)).cumcount()
    return pd.DataFrame({"call": calls, "turn": number, column: values})


def ends(found: Estimate) -> list[float]:
    return [found.value, found.low, found.high]


def ways(q: float | None):
    """The two estimates of one table: a quantile, or the mean."""
    if q is None:
        return lambda turns: statistics.mean(turns, "x")
    return lambda turns: statistics.quantile(turns, q, "x")


# ------------------------------------------------------------------- one table


@few
@given(TURNS, st.none() | QUANTILES, SHIFT, SCALE)
def test_estimates_move_and_stretch_with_what_they_are_of(turns, q, shift, scale) -> None:
    estimate = ways(q)
    before = ends(estimate(table(turns)))
    after = ends(estimate(table([(call, scale * x + shift) for call, x in turns])))
    assert after == pytest.approx([scale * x + shift for x in before], abs=1e-9)


@few
@given(TURNS)
def test_the_mean_of_the_opposite_is_opposite(turns) -> None:
    before = statistics.mean(table(turns), "x")
    after = statistics.mean(table([(call, -x) for call, x in turns]), "x")
    assert ends(after) == pytest.approx([-before.value, -before.high, -before.low], abs=1e-9)


@few
@given(TURNS, QUANTILES)
def test_a_quantile_divides_the_values_that_it_is_one_of(turns, q) -> None:
    values = np.array([x for _, x in turns])
    found = statistics.quantile(table(turns), q, "x").value
    assert found in values
    assert np.mean(values < found) < q <= np.mean(values <= found) + 1e-12


@few
@given(TURNS, st.none() | QUANTILES, st.randoms(use_true_random=False))
def test_the_order_of_turns_and_calls_counts_for_nothing(turns, q, rng) -> None:
    before = ways(q)(table(turns))
    after = ways(q)(table(rng.sample(turns, len(turns))))
    assert ends(before) == pytest.approx(ends(after), abs=1e-9)
    assert (before.n, before.n_calls) == (after.n, after.n_calls)
    assert (before.n, before.n_calls) == (len(turns), len({call for call, _ in turns}))


@few
@given(TURNS, st.none() | QUANTILES, st.integers(1, 50))
def test_the_names_of_calls_and_what_is_missing_count_for_nothing(turns, q, step) -> None:
    estimate = ways(q)
    before = estimate(table(turns))
    renamed = [(100 + step * call, x) for call, x in turns]
    holes = [(100 + step * call, math.nan) for call, _ in turns[:3]]
    after = estimate(table(renamed + holes))
    assert ends(after) == ends(before)
    assert (after.n, after.n_calls) == (before.n, before.n_calls)


@few
@given(TURNS, st.none() | QUANTILES)
def test_an_interval_lies_between_the_smallest_and_the_largest_value(turns, q) -> None:
    found, values = ways(q)(table(turns)), [x for _, x in turns]
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


@few
@given(st.lists(MS, min_size=1, max_size=20), QUANTILES)
def test_one_call_alone_has_no_spread(values, q) -> None:
    found = statistics.quantile(table([(3, x) for x in values]), q, "x")
    assert found.low == found.value == found.high
    assert found.n_calls == 1


@few
@given(TURNS)
def test_quantiles_do_not_cross(turns) -> None:
    found = [statistics.quantile(table(turns), q, "x") for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    for one, next_one in itertools.pairwise(found):
        assert one.value <= next_one.value
        assert one.low <= next_one.low
        assert one.high <= next_one.high


@pytest.mark.parametrize(
    ("q", "value"),
    [(0.0, 1.0), (0.01, 1.0), (0.2, 1.0), (0.21, 2.0), (0.4, 2.0), (0.5, 3.0), (0.6, 3.0),
     (0.61, 4.0), (0.8, 4.0), (0.81, 5.0), (1.0, 5.0)],
)  # fmt: skip
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(q: float, value: float) -> None:
    turns = [(0, 3.0), (0, 1.0), (1, 5.0), (2, 4.0), (2, 2.0)]
    assert statistics.quantile(table(turns), q, "x").value == value


def exact_interval(of_calls: list[list[float]], statistic) -> list[float]:
    """The 95% interval of every possible resample of the calls, weighed by how likely it is."""
    n = len(of_calls)
    found = np.sort([
        statistic(np.concatenate([of_calls[i] for i in drawn]))
        for drawn in itertools.product(range(n), repeat=n)
    ])  # fmt: skip
    return [float(found[int(q * (len(found) - 1))]) for q in (0.025, 0.975)]


CALLS = [[0.1, 1.9], [2.3], [2.9, 3.3, 4.1], [5.2, 0.7], [1.1, 1.6, 1.2]]


def test_the_interval_of_a_mean_is_that_of_whole_calls_drawn_with_replacement() -> None:
    """All 3,125 ways to draw five calls; 2,000 of them at random come within 0.1 of it."""
    turns = table([(i, x) for i, own in enumerate(CALLS) for x in own])
    found = statistics.mean(turns, "x")
    assert found.value == pytest.approx(sum(map(sum, CALLS)) / 11)
    assert [found.low, found.high] == pytest.approx(exact_interval(CALLS, np.mean), abs=0.1)


def test_the_interval_of_a_median_is_that_of_whole_calls_drawn_with_replacement() -> None:
    def lower_median(values: np.ndarray) -> float:
        return float(np.sort(values)[math.ceil(len(values) / 2) - 1])

    turns = table([(i, x) for i, own in enumerate(CALLS) for x in own])
    found = statistics.quantile(turns, 0.5, "x")
    assert found.value == 1.9
    assert [found.low, found.high] == exact_interval(CALLS, lower_median)


def test_intervals_are_the_middle_95_percent_of_2000_draws() -> None:
    assert (statistics.N_BOOT, statistics.LEVEL) == (2000, 0.95)
    draws = np.arange(2001.0)
    for seen in (draws, np.array([*draws, math.nan])):
        assert statistics._interval(seen) == pytest.approx((50.0, 1950.0))
    assert all(math.isnan(x) for x in statistics._interval(np.array([math.nan])))


@pytest.mark.parametrize("n_calls", [1, 2, 7, 40])
def test_every_resample_draws_as_many_calls_as_there_are(n_calls: int) -> None:
    drawn = statistics._resamples(n_calls)
    assert drawn.shape == (2000, n_calls)
    assert (drawn.sum(axis=1) == n_calls).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(n_calls), abs=0.12)


def test_intervals_of_means_and_differences_cover_the_truth_as_often_as_they_say() -> None:
    """Forty calls of three turns: 95% nominal, some points less with so few calls."""
    rng = np.random.default_rng(3)
    covered = {"mean": 0, "difference": 0}
    n = 150
    for _ in range(n):
        of_call = np.repeat(rng.normal(1.0, 0.3, 40), 3)
        calls = np.repeat(np.arange(40), 3)
        one, other = (of_call + rng.normal(0, 0.1, 120) - saved for saved in (0.0, 0.05))
        a, b = (pd.DataFrame({"call": calls, "x": values}) for values in (one, other))
        mean = statistics.mean(a, "x")
        change = statistics.difference(a, b, "x", q=None)
        covered["mean"] += mean.low <= 1.0 <= mean.high
        covered["difference"] += change.low <= -0.05 <= change.high
    assert 0.88 <= covered["mean"] / n <= 0.99
    assert 0.88 <= covered["difference"] / n <= 0.99


# ------------------------------------------------------------------- two tables


@few
@given(TURNS, TURNS, st.none() | QUANTILES, SHIFT, SCALE)
def test_differences_stretch_and_do_not_move(base, other, q, shift, scale) -> None:
    assume({c for c, _ in base} & {c for c, _ in other})
    before = statistics.difference(table(base), table(other), "x", q=q)
    after = statistics.difference(
        *(table([(c, scale * x + shift) for c, x in turns]) for turns in (base, other)), "x", q=q
    )
    assert ends(after) == pytest.approx([scale * x for x in ends(before)], abs=1e-9)


@few
@given(TURNS, TURNS, st.none() | QUANTILES)
def test_a_difference_is_the_variant_minus_the_baseline(base, other, q) -> None:
    shared = {c for c, _ in base} & {c for c, _ in other}
    assume(shared)
    there = statistics.difference(table(base), table(other), "x", q=q)
    back = statistics.difference(table(other), table(base), "x", q=q)
    assert ends(back) == pytest.approx([-there.value, -there.high, -there.low], abs=1e-9)
    sides = [ways(q)(table([t for t in turns if t[0] in shared])) for turns in (base, other)]
    assert there.value == pytest.approx(sides[1].value - sides[0].value, abs=1e-9)
    assert there.n_calls == len(shared)
    assert there.n == sum(c in shared for c, _ in other)


@few
@given(TURNS, st.none() | QUANTILES, SHIFT)
def test_the_same_calls_are_drawn_on_both_sides(turns, q, shift) -> None:
    """So what is the same everywhere has an interval without width."""
    moved = [(call, x + shift) for call, x in turns]
    found = statistics.difference(table(turns), table(moved), "x", q=q)
    assert ends(found) == pytest.approx([shift] * 3, abs=1e-9)


@few
@given(TURNS, TURNS, st.randoms(use_true_random=False))
def test_the_order_of_calls_counts_for_nothing_in_a_difference(base, other, rng) -> None:
    assume({c for c, _ in base} & {c for c, _ in other})
    shuffled = [rng.sample(turns, len(turns)) for turns in (base, other)]
    one = statistics.difference(table(base), table(other), "x")
    two = statistics.difference(*map(table, shuffled), "x")
    assert ends(one) == ends(two)


def test_a_side_without_turns_or_values_leaves_nothing_to_compare() -> None:
    some, none = table([(0, 1.0)]), table([(0, math.nan)])
    for base, other in ((some, none), (none, some), (some, some.iloc[:0]), (some.iloc[:0], some)):
        found = statistics.difference(base, other, "x")
        assert all(map(math.isnan, ends(found))) and (found.n, found.n_calls) == (0, 0)
    assert statistics.mean(some.iloc[:0], "x") == statistics.quantile(some.iloc[:0], 0.5, "x")


# ------------------------------------------------------------------- rates


FLAGS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


@given(st.integers(1, 400), st.data())
def test_wilson_solves_its_own_equation(n: int, data) -> None:
    """Its ends are the true rates that lie 1.96 standard errors from what was seen."""
    seen = data.draw(st.integers(0, n)) / n
    z = NormalDist().inv_cdf(0.975)
    low, high = statistics.wilson(seen, n)
    assert 0 <= low <= seen + 1e-12
    assert seen - 1e-12 <= high <= 1
    for end in (low, high):
        if 1e-12 < end < 1 - 1e-12:  # an end at 0 or 1 is one up to rounding
            assert abs(seen - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)
    assert statistics.wilson(1 - seen, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@few
@given(FLAGS)
def test_a_rate_is_never_surer_than_wilson_nor_than_its_calls(flags) -> None:
    turns = table([(c, float(x)) for c, x in flags])
    found = statistics.rate(turns, turns["x"] == 1)
    calls = statistics.mean(turns, "x")
    low, high = statistics.wilson(found.value, len(flags))
    assert found.value == pytest.approx(np.mean([x for _, x in flags]))
    assert (found.low, found.high) == (min(low, calls.low), max(high, calls.high))
    assert (found.n, found.n_calls) == (calls.n, calls.n_calls)
    inverse = statistics.rate(turns, turns["x"] == 0)
    assert ends(inverse) == pytest.approx([1 - found.value, 1 - found.high, 1 - found.low])


@few
@given(FLAGS, st.data())
def test_a_difference_of_rates_is_never_surer_than_the_turns_that_changed(flags, data) -> None:
    changed = data.draw(st.lists(st.booleans(), min_size=len(flags), max_size=len(flags)))
    before = table([(c, float(x)) for c, x in flags])
    after = table([(c, float(x != flip)) for (c, x), flip in zip(flags, changed, strict=True)])
    found = statistics.rate_difference(before, after, "x")
    plain = statistics.difference(before, after, "x", q=None)
    n = len(flags)
    more = sum(flip and not x for (_, x), flip in zip(flags, changed, strict=True)) / n
    fewer = sum(flip and x for (_, x), flip in zip(flags, changed, strict=True)) / n
    assert found.value == plain.value == pytest.approx(more - fewer)
    assert found.low == min(plain.low, more - statistics.wilson(fewer, n)[1])
    assert found.high == max(plain.high, statistics.wilson(more, n)[1] - fewer)
    back = statistics.rate_difference(after, before, "x")
    assert ends(back) == pytest.approx([-found.value, -found.high, -found.low])


def test_a_difference_of_rates_pairs_the_turns_that_both_have() -> None:
    """The turns are in another order on the other side, and one of them is unknown there."""
    before = pd.DataFrame({"call": [0, 0, 1, 1], "turn": [0, 1, 0, 1], "x": [1.0, 0.0, 1.0, 0.0]})
    after = before.assign(x=[1.0, 0.0, math.nan, 0.0]).iloc[::-1]
    found = statistics.rate_difference(before, after, "x")
    none_of_three = statistics.wilson(0.0, 3)[1]
    assert found.high == pytest.approx(max(0.0, none_of_three))
    assert found.low <= -none_of_three
    alone = statistics.rate_difference(before, before.assign(turn=[7, 8, 7, 8]), "x")
    assert ends(alone) == [0.0, 0.0, 0.0], "no turn in common: only the calls can be compared"


# ------------------------------------------------------------------- as rows of tables


def test_an_estimate_fills_its_columns() -> None:
    found = Estimate(2.0, 1.0, 3.0, 10, 5)
    assert found.columns("p50", "_s") == {"p50_s": 2.0, "p50_low_s": 1.0, "p50_high_s": 3.0}
    assert found.row("saved", "_s") == {"saved": 2.0, "low_s": 1.0, "high_s": 3.0}


def test_groups_keep_their_order_or_are_sorted_and_an_unset_value_is_a_group() -> None:
    turns = pd.DataFrame({"call": [0, 1, 2, 3], "at": [2.0, 1.0, math.nan, 2.0], "x": [1, 2, 3, 5]})

    def by(sort: bool) -> list[tuple]:
        found = statistics.by_group(turns, ["at"], lambda t: statistics.mean(t, "x"), "m", sort)
        assert list(found) == ["at", "m", "low", "high", "n_turns"]
        return list(zip(found["at"].fillna(-1), found["m"], found["n_turns"], strict=True))

    assert by(True) == [(1.0, 2.0, 1), (2.0, 3.0, 2), (-1, 3.0, 1)]
    assert by(False) == [(2.0, 3.0, 2), (1.0, 2.0, 1), (-1, 3.0, 1)]
    nothing = statistics.by_group(turns.iloc[:0], ["at"], lambda t: statistics.NOTHING, "m")
    assert list(nothing) == ["at", "m", "low", "high", "n_turns"]
