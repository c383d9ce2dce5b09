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

from labkit.evidence import intervals, statistics
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
    assert after == pytest.approx([scale * x + shift for x in before], abs=1e-9, nan_ok=True)


@few
@given(TURNS)
def test_the_mean_of_the_opposite_is_opposite(turns) -> None:
    before = statistics.mean(table(turns), "x")
    after = statistics.mean(table([(call, -x) for call, x in turns]), "x")
    assert ends(after) == pytest.approx(ends(-before), abs=1e-9, nan_ok=True)


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
    assert ends(before) == pytest.approx(ends(after), abs=1e-9, nan_ok=True)
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
    assert ends(after) == pytest.approx(ends(before), abs=1e-12, nan_ok=True)
    assert (after.n, after.n_calls) == (before.n, before.n_calls)


@few
@given(TURNS, st.none() | QUANTILES)
def test_an_estimate_lies_in_its_interval(turns, q) -> None:
    found = ways(q)(table(turns))
    assert found.n_calls == 1 or found.low <= found.value <= found.high


@few
@given(st.lists(MS, min_size=1, max_size=20), st.none() | QUANTILES)
def test_one_call_alone_says_nothing_of_how_calls_differ(values, q) -> None:
    found = ways(q)(table([(3, x) for x in values]))
    assert math.isnan(found.low) and math.isnan(found.high) and not math.isnan(found.value)
    assert found.n_calls == 1


@few
@given(TURNS)
def test_quantiles_do_not_cross(turns) -> None:
    found = [statistics.quantile(table(turns), q, "x") for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    for one, next_one in itertools.pairwise(found):
        assert one.value <= next_one.value


@pytest.mark.parametrize(
    ("q", "value"),
    [(0.01, 1.0), (0.2, 1.0), (0.21, 2.0), (0.4, 2.0), (0.5, 3.0), (0.6, 3.0),
     (0.61, 4.0), (0.8, 4.0), (0.81, 5.0), (0.99, 5.0)],
)  # fmt: skip
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(q: float, value: float) -> None:
    turns = [(0, 3.0), (0, 1.0), (1, 5.0), (2, 4.0), (2, 2.0)]
    assert statistics.quantile(table(turns), q, "x").value == value


def test_the_interval_of_a_mean_is_student_s_over_calls() -> None:
    """Three calls of two turns, means 1, 2 and 6: t with 2 degrees of freedom is 4.303."""
    found = statistics.mean(
        table([(0, 0.5), (0, 1.5), (1, 2.0), (1, 2.0), (2, 5.0), (2, 7.0)]), "x"
    )
    error = math.sqrt(7.0) / math.sqrt(3)  # the calls' means have a variance of 7
    assert found.value == 3.0
    assert [found.low, found.high] == pytest.approx(
        [3 - 4.3027 * error, 3 + 4.3027 * error], abs=1e-3
    )


def test_more_calls_narrow_an_interval_and_more_turns_of_the_same_calls_do_not() -> None:
    rng = np.random.default_rng(0)

    def width(n_calls: int, n_turns: int, q: float | None) -> float:
        of_call = np.repeat(rng.normal(1.0, 0.3, n_calls), n_turns)
        turns = list(zip(np.repeat(np.arange(n_calls), n_turns), of_call, strict=True))
        found = ways(q)(table(turns))
        return found.high - found.low

    for q in (None, 0.5):
        assert width(160, 4, q) < 0.7 * width(20, 4, q)
        assert width(20, 32, q) > 0.5 * width(20, 4, q)


def test_an_interval_of_an_extreme_quantile_reaches_past_the_largest_value() -> None:
    """Of 20 values none may lie above the true p95, in a third of all samples."""
    values = [(i, x) for i, x in enumerate(np.linspace(1, 2, 20))]
    found = statistics.quantile(table(values), 0.95, "x")
    assert found.low < found.value < 2.0 < found.high < 4.0


# ------------------------------------------------------------------- two tables


PAIRS = st.lists(st.tuples(st.integers(0, 6), MS, MS), min_size=1, max_size=30)


def both(pairs) -> tuple[pd.DataFrame, pd.DataFrame]:
    return table([(c, a) for c, a, _ in pairs]), table([(c, b) for c, _, b in pairs])


@few
@given(PAIRS, st.none() | QUANTILES, SHIFT, SCALE)
def test_differences_stretch_and_do_not_move(pairs, q, shift, scale) -> None:
    before = statistics.difference(*both(pairs), "x", q=q)
    moved = [(c, scale * a + shift, scale * b + shift) for c, a, b in pairs]
    after = statistics.difference(*both(moved), "x", q=q)
    assert ends(after) == pytest.approx([scale * x for x in ends(before)], abs=1e-9, nan_ok=True)


@few
@given(PAIRS, st.none() | QUANTILES)
def test_a_difference_is_the_variant_minus_the_baseline(pairs, q) -> None:
    base, other = both(pairs)
    there = statistics.difference(base, other, "x", q=q)
    back = -statistics.difference(other, base, "x", q=q)
    assert ends(back) == pytest.approx(ends(there), abs=1e-9, nan_ok=True)
    sides = [ways(q)(side).value for side in (base, other)]
    assert there.value == pytest.approx(sides[1] - sides[0], abs=1e-9)
    assert (there.n, there.n_calls) == (len(pairs), len({c for c, *_ in pairs}))


@few
@given(TURNS, st.none() | QUANTILES, SHIFT)
def test_what_is_the_same_everywhere_has_an_interval_without_width(turns, q, shift) -> None:
    assume(len({call for call, _ in turns}) > 1)
    moved = [(call, x + shift) for call, x in turns]
    found = statistics.difference(table(turns), table(moved), "x", q=q)
    if q is None:
        assert ends(found) == pytest.approx([shift] * 3, abs=1e-9)
    assert found.value == pytest.approx(shift, abs=1e-9)


@few
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_turns_counts_for_nothing_in_a_difference(pairs, rng) -> None:
    base, other = both(pairs)
    mixed = [t.iloc[rng.sample(range(len(t)), len(t))] for t in (base, other)]
    one, two = statistics.difference(base, other, "x"), statistics.difference(*mixed, "x")
    assert ends(one) == pytest.approx(ends(two), abs=1e-9, nan_ok=True)


def test_only_turns_with_a_value_on_both_sides_are_compared() -> None:
    base = pd.DataFrame(
        {"call": [0, 0, 1, 2], "turn": [0, 1, 0, 0], "x": [1.0, math.nan, 3.0, 9.0]}
    )
    other = pd.DataFrame({"call": [0, 0, 1, 3], "turn": [0, 1, 0, 0], "x": [2.0, 5.0, 3.5, 9.0]})
    found = statistics.difference(base, other, "x")
    assert (found.value, found.n, found.n_calls) == (0.75, 2, 2)
    with pytest.raises(ValueError, match="no call in common"):
        statistics.difference(base, other.assign(call=7), "x")
    with pytest.raises(ValueError, match="twice"):
        statistics.difference(base, pd.concat([other, other]), "x")


def test_places_of_a_grid_are_paired_place_by_place() -> None:
    base = pd.DataFrame({"call": [0, 0], "turn": 0, "a.b": ["x", "y"], "x": [1.0, 10.0]})
    found = statistics.pairs(base, base.iloc[::-1].assign(x=[11.0, 1.5]), "x")
    assert found["change"].tolist() == [0.5, 1.0]
    # settings of the arms' own do not part turns that one place holds once
    alone = statistics.pairs(base.iloc[:1], base.iloc[1:], "x")
    assert alone["change"].tolist() == [9.0]


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
    low, high = intervals.wilson(seen, n)
    assert 0 <= low <= seen + 1e-12
    assert seen - 1e-12 <= high <= 1
    for end in (low, high):
        if 1e-12 < end < 1 - 1e-12:  # an end at 0 or 1 is one up to rounding
            assert abs(seen - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)
    assert intervals.wilson(1 - seen, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_tango_solves_his_own_equation() -> None:
    """Nine of 40 pairs changed one way and two the other."""
    more, fewer, n = 9 / 40, 2 / 40, 40
    low, high = intervals.tango(more, fewer, n)
    z = NormalDist().inv_cdf(0.975)

    def off(d: float) -> float:
        """The score at ``d``, its nuisance parameter found by trying all."""
        q = np.linspace(max(0.0, -d), (1 - d) / 2, 400_001)[1:-1]
        b, c, rest = more * n, fewer * n, n - more * n - fewer * n
        best = q[np.argmax(b * np.log(q + d) + c * np.log(q) + rest * np.log(1 - 2 * q - d))]
        return (more - fewer - d) * n / math.sqrt(n * (2 * best + d * (1 - d)))

    assert off(low) == pytest.approx(z, abs=1e-3)
    assert off(high) == pytest.approx(-z, abs=1e-3)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(41, 200))
def test_tango_is_the_same_the_other_way_round_and_never_sure(b: int, c: int, n: int) -> None:
    low, high = intervals.tango(b / n, c / n, n)
    assert -1 <= low < (b - c) / n < high <= 1
    back = intervals.tango(c / n, b / n, n)
    assert (-back[1], -back[0]) == pytest.approx((low, high), abs=1e-9)


@few
@given(FLAGS)
def test_a_rate_is_never_surer_than_wilson(flags) -> None:
    turns = table([(c, float(x)) for c, x in flags])
    found = statistics.rate(turns, turns["x"] == 1)
    low, high = intervals.wilson(found.value, len(flags))
    assert found.value == pytest.approx(np.mean([x for _, x in flags]))
    assert found.low <= low + 1e-12 and high - 1e-12 <= found.high
    inverse = statistics.rate(turns, turns["x"] == 0)
    assert ends(inverse) == pytest.approx([1 - found.value, 1 - found.high, 1 - found.low])


def test_a_rate_that_belongs_to_calls_is_known_less_well() -> None:
    alike = table([(c, float(c % 5 == 0)) for c in range(20) for _ in range(5)])
    mixed = table([(c, float(t == 0)) for c in range(20) for t in range(5)])
    one, other = (statistics.rate(t, t["x"] == 1) for t in (alike, mixed))
    assert one.value == other.value == 0.2
    assert one.high - one.low > 1.7 * (other.high - other.low)


def test_a_difference_of_rates_pairs_the_turns_that_both_have() -> None:
    """The turns are in another order on the other side, and one of them is unknown there."""
    before = pd.DataFrame({"call": [0, 0, 1, 1], "turn": [0, 1, 0, 1], "x": [1.0, 0.0, 1.0, 0.0]})
    after = before.assign(x=[1.0, 0.0, math.nan, 0.0]).iloc[::-1]
    found = statistics.rate_difference(before, after, "x")
    assert (found.value, found.n) == (0.0, 3)
    assert found.high == pytest.approx(-found.low) and found.high > 0.5


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
