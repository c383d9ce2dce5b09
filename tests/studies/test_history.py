"""Histories: stable ones stay cached, edits in the hook void early replies, cuts forget."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.studies import history

KINDS = ("stable", "note", "note_in_hook", "truncated", "summarised")
TURNS = 11


@pytest.fixture(scope="module")
def results() -> Results:
    arms = {kind: Arm("history_reuse", {"agent.history": kind}) for kind in KINDS}
    settings = {"agent.prompt_tokens": 3000, "caller.dialogue": "order_status"}
    return sweep(Experiment(arms, settings=settings, calls=1, turns=TURNS))


@pytest.fixture(scope="module")
def arms(results: Results) -> dict[str, pd.DataFrame]:
    turns = history.read(results.turns)
    return {kind: turns[turns["arm"] == kind].set_index("turn") for kind in KINDS}


def test_every_arm_answers_every_turn(results: Results) -> None:
    assert len(results.turns) == len(KINDS) * TURNS
    assert set(results.turns["outcome"]) == {"answered"}
    assert (results.turns["residual_s"].abs() < 0.005).all()


def test_an_edit_in_the_hook_voids_the_early_reply(arms: dict[str, pd.DataFrame]) -> None:
    extra = arms["note_in_hook"]["llm_calls"] - arms["note"]["llm_calls"]
    assert (extra == 1).sum() >= TURNS - 2
    same = (arms["note"]["llm_calls"] - arms["stable"]["llm_calls"]).abs()
    assert same.sum() <= 2  # a pause that ends a little later may hold one final fewer


def test_a_note_before_the_history_makes_the_history_new(arms: dict[str, pd.DataFrame]) -> None:
    fresh = {kind: arms[kind]["fresh_tokens"] for kind in KINDS}
    single = arms["stable"]["llm_calls"] == 1
    growth = (fresh["note"] - fresh["stable"])[single]
    assert growth.iloc[-1] > 150
    assert growth.iloc[-1] > growth.iloc[0]
    assert (arms["note"]["hit_share"].iloc[1:] > 0.8).all()  # the instructions are still found


def test_a_cut_history_loses_what_was_said_before_it(arms: dict[str, pd.DataFrame]) -> None:
    lost = {kind: arms[kind]["lost_context"].sum() for kind in KINDS}
    assert lost["stable"] == lost["note"] == lost["note_in_hook"] == 0
    assert lost["truncated"] >= 1
    assert lost["summarised"] < lost["truncated"]
    forgot = arms["truncated"].loc[arms["truncated"]["lost_context"] == 1, "replied"]
    assert forgot.str.contains("Which order").any()


def test_a_digest_is_shorter_than_what_it_stands_for(arms: dict[str, pd.DataFrame]) -> None:
    per_call = {k: arms[k]["llm_prompt_tokens"] / arms[k]["llm_calls"] for k in KINDS}
    assert per_call["summarised"].iloc[-1] < per_call["stable"].iloc[-1]
    assert per_call["truncated"].iloc[-1] < per_call["summarised"].iloc[-1]


def test_context_is_judged_where_a_fact_was_needed() -> None:
    table = pd.DataFrame({
        "dialogue": "order_status", "turn_id": ["which_neighbor", "which_neighbor", "okay"],
        "reply_right": [1.0, 0.0, 0.0],
    })  # fmt: skip
    lost = history.with_context(table)["lost_context"].tolist()
    assert lost[:2] == [0.0, 1.0]
    assert math.isnan(lost[2])


def test_added_is_paired_and_by_class_of_turns() -> None:
    rows = [
        {"arm": arm, "call": call, "turn": n - 1, "turn_number": n,
         "x_s": call + (n / 100 if arm == "b" else 0.0)}
        for arm in ("stable", "b") for call in range(2) for n in range(1, 5)
    ]  # fmt: skip
    found = history.added(pd.DataFrame(rows), "x_s", bins=(0, 2, 4))
    assert found["arm"].tolist() == ["b", "b"]
    assert found["turn_number"].tolist() == [2, 4]
    assert found["added_s"].tolist() == pytest.approx([0.015, 0.035])


def test_classes_leave_out_the_first_turn_and_what_no_class_holds() -> None:
    turns = pd.DataFrame({"turn_number": range(1, 12)})
    found = history.in_classes(turns, (0, 5, 10))
    assert found["turn_number"].tolist() == list(range(2, 11))
    assert found["up_to_turn"].tolist() == [5.0] * 4 + [10.0] * 5
