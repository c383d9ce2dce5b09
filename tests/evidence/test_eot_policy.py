"""Policies on silences whose outcome is worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import UsageError
from labkit.evidence.eot_policy import (
    KNOBS,
    Outcome,
    Policy,
    Silence,
    alone,
    auc,
    best,
    counted,
    decisions,
    estimates,
    frontier,
    policy,
    sweep,
    sweep_silence,
)


def pause(length_s: float, score: float, turn: int = 0, voice: str = "a") -> Silence:
    return Silence(0, turn, voice, length_s, False, score)


def end(score: float, turn: int = 0, voice: str = "a") -> Silence:
    return Silence(0, turn, voice, math.inf, True, score)


TABLE = pd.DataFrame([
    pause(0.15, math.nan),  # too short to count
    pause(0.25, 0.9),
    pause(0.50, 0.9),
    pause(0.51, 0.4),
    pause(0.90, 0.39),
    pause(1.60, 0.1),
    pause(5.50, 0.9),  # too long to count
    end(0.4, 0), end(0.8, 1), end(0.2, 2), end(0.39, 3),
])  # fmt: skip


def test_a_policy_acts_on_sure_silences_past_its_delay_and_on_all_past_its_timeout() -> None:
    # of five pauses it acts on two: 0.51 s at 0.4, and 1.60 s for the timeout; those of 0.25 and
    # 0.50 s are over by the time the delay is, and that of 0.90 s is not sure enough
    assert policy(TABLE, 0.4, 0.5, 1.5) == Outcome(2 / 5, (2 * 0.5 + 2 * 1.5) / 4, 2 / 4)


def test_a_score_at_the_threshold_is_enough_and_one_below_is_not() -> None:
    one = pd.DataFrame([pause(1.0, 0.4), end(0.4)])
    assert policy(one, 0.4, 0.2, 2.0) == Outcome(1.0, 0.2, 1.0)
    assert policy(one, 0.4001, 0.2, 2.0) == Outcome(0.0, 2.0, 0.0)


@pytest.mark.parametrize(("length_s", "n"), [(0.199, 0), (0.2, 1), (5.0, 1), (5.001, 0)])
def test_only_pauses_of_a_fifth_of_a_second_to_five_count(length_s: float, n: int) -> None:
    assert len(counted(pd.DataFrame([pause(length_s, 0.5), end(0.5)]))[0]) == n


@pytest.mark.parametrize("length_s", [0.1, 7.0])
def test_an_end_counts_however_long_it_was_recorded(length_s: float) -> None:
    assert len(counted(pd.DataFrame([end(0.5)._replace(length_s=length_s)]))[1]) == 1


def test_what_was_not_scored_waits_for_the_timeout() -> None:
    one = pd.DataFrame([pause(0.7, math.nan), pause(2.1, math.nan), end(math.nan)])
    assert policy(one, 0.0, 0.2, 2.0) == Outcome(0.5, 2.0, 0.0)


def test_silence_alone_waits_its_length_and_cuts_off_what_lasts_longer() -> None:
    assert policy(TABLE, *alone(0.5)) == Outcome(3 / 5, 0.5, 0.0)
    swept = sweep_silence(TABLE, [0.5, 0.9, 1.6])
    assert swept["false_cutoffs"].tolist() == [3 / 5, 1 / 5, 0.0]
    assert swept["latency_s"].tolist() == [0.5, 0.9, 1.6]


def test_nothing_to_decide_is_nan() -> None:
    assert policy(TABLE[~TABLE["is_end"]], 0.4, 0.5, 1.5)[0] == 2 / 5
    assert math.isnan(policy(TABLE[~TABLE["is_end"]], 0.4, 0.5, 1.5)[1])
    assert math.isnan(policy(TABLE[TABLE["is_end"]], 0.4, 0.5, 1.5)[0])
    swept = sweep(TABLE[TABLE["is_end"]], [0.4], [0.5], [1.5])
    assert math.isnan(swept["false_cutoffs"][0])
    assert swept["latency_s"][0] == 1.0


@pytest.mark.parametrize("knobs", [(0.4, 0.1, 1.0), (0.4, 0.9, 0.8), (math.nan, 0.2, 1.0)])
def test_a_policy_that_acts_before_the_question_or_times_out_first_is_refused(
    knobs: tuple[float, float, float],
) -> None:
    with pytest.raises(UsageError):
        policy(TABLE, *knobs)


def test_a_sweep_is_every_possible_policy_of_the_grid_one_by_one() -> None:
    swept = sweep(TABLE)
    # 101 thresholds, and 9 delays by 6 timeouts that are all long enough
    assert len(swept) == 101 * 54
    for row in swept.sample(60, random_state=1).to_dict("records"):
        found = policy(TABLE, *(row[k] for k in KNOBS))
        assert tuple(row[k] for k in Outcome._fields) == pytest.approx(tuple(found), abs=1e-12)


def test_a_timeout_shorter_than_the_delay_is_left_out() -> None:
    swept = sweep(TABLE, [0.4], [0.5, 1.0], [0.8, 1.0])
    assert swept[["action_delay_s", "timeout_s"]].to_numpy().tolist() == [
        [0.5, 0.8], [0.5, 1.0], [1.0, 1.0],
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no timeout"):
        sweep(TABLE, [0.4], [0.5], [0.4])


SWEPT = pd.DataFrame(
    [
        (0.30, 0.2, 1.0, 0.30, 0.28),
        (0.40, 0.2, 1.5, 0.10, 0.60),
        (0.50, 0.3, 1.5, 0.10, 0.58),
        (0.50, 0.4, 1.5, 0.05, 1.00),
        (0.60, 0.2, 3.0, 0.05, 1.20),
    ],
    columns=[*KNOBS, "false_cutoffs", "latency_s"],
)


def test_the_best_policy_keeps_its_budget_and_the_other_figure_low() -> None:
    def chosen(**budget: float) -> tuple[float, ...]:
        found = best(SWEPT, **budget)
        assert found is not None
        return tuple(found[[*KNOBS]])

    assert chosen(latency_s=0.3) == (0.30, 0.2, 1.0)
    assert chosen(latency_s=0.6) == (0.50, 0.3, 1.5)  # as few cut-offs as the second, and sooner
    assert chosen(false_cutoffs=0.05) == (0.50, 0.4, 1.5)
    assert chosen(false_cutoffs=0.1) == (0.50, 0.3, 1.5)
    assert best(SWEPT, latency_s=0.27) is None
    assert best(SWEPT, false_cutoffs=0.049) is None


@pytest.mark.parametrize("budgets", [{}, {"latency_s": 0.3, "false_cutoffs": 0.1}])
def test_one_budget_is_needed(budgets: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="one budget"):
        best(SWEPT, **budgets)


def test_the_frontier_holds_what_no_other_policy_beats() -> None:
    assert frontier(SWEPT)["latency_s"].tolist() == [0.28, 0.58, 1.0]


silences = st.lists(
    st.tuples(st.floats(0.1, 6), st.floats(0, 1), st.booleans()), min_size=1, max_size=30
).map(lambda rows: pd.DataFrame([Silence(0, i, "a", *row) for i, row in enumerate(
    [(length_s, is_end, score) for length_s, score, is_end in rows]
)]))  # fmt: skip


@settings(max_examples=30)
@given(silences)
def test_a_sweep_counts_each_silence_once_as_its_policy_does(table: pd.DataFrame) -> None:
    for row in sweep(table, (0.0, 0.5, 1.0), (0.2, 0.6), (1.0, 3.0)).to_dict("records"):
        found = policy(table, *(row[k] for k in KNOBS))
        assert [row[k] for k in Outcome._fields] == pytest.approx(list(found), nan_ok=True)


@given(silences)
def test_a_higher_threshold_or_a_longer_wait_never_cuts_off_more(table: pd.DataFrame) -> None:
    swept = sweep(table, np.linspace(0, 1, 9), (0.2, 0.5, 1.0), (1.0, 2.0, 4.0))
    for knob in KNOBS:
        others = [k for k in KNOBS if k != knob]
        for _, group in swept.groupby(others):
            ordered = group.sort_values(knob)["false_cutoffs"].dropna().to_numpy()
            assert (np.diff(ordered) <= 1e-12).all()


@given(silences)
def test_a_higher_threshold_never_answers_sooner_or_detects_more(table: pd.DataFrame) -> None:
    swept = sweep(table, np.linspace(0, 1, 9), (0.2, 1.0), (1.0, 2.0))
    for _, group in swept.groupby(["action_delay_s", "timeout_s"]):
        ordered = group.sort_values("threshold")
        assert (np.diff(ordered["latency_s"].dropna()) >= -1e-12).all()
        assert (np.diff(ordered["ends_detected"].dropna()) <= 1e-12).all()


def test_the_area_is_the_chance_that_an_end_outscores_a_pause() -> None:
    # 0.8 beats three of three; 0.4 beats one and ties with one
    assert auc(pd.Series([0.8, 0.4]), pd.Series([0.4, 0.5, 0.1])) == (3 + 1.5) / 6
    assert math.isnan(auc(pd.Series([0.8]), pd.Series([math.nan])))


def test_intervals_by_speaker_are_wider_where_speakers_differ() -> None:
    rows = [end(0.9 if voice in "abc" else 0.1, turn, voice)
            for voice in "abcdef" for turn in range(20)]  # fmt: skip
    table = pd.DataFrame(rows)
    table["call"] = np.arange(len(table))  # each a turn of its own
    turns, speakers = (
        estimates(table, Policy(0.5, 0.2, 1.0), by)["ends_detected"] for by in ("turn", "voice")
    )
    assert turns.value == speakers.value == 0.5
    assert turns.n_calls == 120
    assert speakers.n_calls == 6
    assert speakers.high - speakers.low > 2 * (turns.high - turns.low)


def test_turns_of_one_number_in_two_calls_are_two() -> None:
    table = pd.DataFrame([end(0.9), end(0.1)._replace(call=1)])
    found = estimates(table, Policy(0.5, 0.2, 1.0))
    assert found["latency_s"].n_calls == 2
    assert found["latency_s"].value == 0.6


def test_decisions_are_those_of_the_silences_that_count() -> None:
    decided = decisions(TABLE, Policy(0.4, 0.5, 1.5))
    assert decided["false_cutoffs"].dropna().tolist() == [0, 0, 1, 0, 1]
    assert decided["latency_s"].dropna().tolist() == [0.5, 0.5, 1.5, 1.5]
