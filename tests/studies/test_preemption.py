"""Preemptive generation: the agents' behaviour, and the arithmetic of the study."""

from __future__ import annotations

import pandas as pd
import pytest
from timed_turn import one

import labkit as lab
from labkit.engine.tables import Results
from labkit.evidence import overlap, paired
from labkit.studies import preemption

EAGER = 0.4
PERSONA = "caller.persona"


@pytest.fixture(scope="module")
def calls() -> Results:
    arms = {
        "off": "vanilla@preemptive.enabled=false",
        "default": "vanilla",
        "as published": "preemptive_generation@agent.variant=as_published",
        "eager": f"preemptive_generation@stt.eager_eot_threshold={EAGER}",
    }
    grid = {PERSONA: ["fluent", "hesitant"]}
    return lab.sweep(lab.Experiment(arms, grid=grid, calls=1, turns=4, seed=1), workers=2)


def test_every_turn_is_answered(calls: Results) -> None:
    lab.check(calls, min_turns=1)
    assert (calls.turns["outcome"] == "answered").all()


def test_the_published_argument_changes_nothing(calls: Results) -> None:
    arms = {name: r.turns.reset_index() for name, r in calls.arms.items()}
    default, published = arms["default"], arms["as published"]
    assert (default["response_latency_s"] == published["response_latency_s"]).all()
    assert (default["llm_calls"] == published["llm_calls"]).all()
    told = lab.tables.same(calls.turns, "default", "as published", [PERSONA])
    assert told.startswith("On all 8 answered turns")
    assert "differ by up to" in lab.tables.same(calls.turns, "off", "default", [PERSONA])


def test_it_is_on_by_default_and_saves(calls: Results) -> None:
    saved = lab.savings(calls.turns, "off", [PERSONA])
    fluent = saved[(saved["arm"] == "default") & (saved[PERSONA] == "fluent")]["saved_s"]
    assert len(fluent) == 4
    # one turn is committed in two pieces without it, and so gets another, shorter answer
    assert (fluent > -0.001).sum() >= 3
    assert fluent.max() > 0.2


def test_no_call_starts_on_an_interim(calls: Results) -> None:
    told = calls.part(arm="as published").turns
    assert told["agent_interims_before_final"].sum() > 0
    assert told["agent_calls_before_final"].sum() == 0
    assert told["agent_calls_after_final"].sum() >= len(told)


def test_an_eager_recogniser_lets_calls_start_before_the_final(calls: Results) -> None:
    eager = calls.part(arm="eager").turns
    assert (eager["agent_calls_before_final"] > 0).any()


def test_pauses_throw_calls_away(calls: Results) -> None:
    table = preemption.waste(calls.part(**{PERSONA: "hesitant"}).turns, PERSONA, 0.05)
    assert table.loc["default", "compared with the claimed 5.0%"] == "above"
    off, default = (calls.part(arm=a).turns for a in ("off", "default"))
    assert default["llm_wasted_tokens"].sum() > off["llm_wasted_tokens"].sum()
    assert default["llm_calls"].sum() > off["llm_calls"].sum()


def test_the_prediction_meets_fluent_turns(calls: Results) -> None:
    fluent = calls.part(**{PERSONA: "fluent"}).turns
    measured = lab.savings(fluent, "off")
    forecast = preemption.predicted(fluent, "off", {"default": "llm"})
    both = measured[measured["arm"] == "default"].merge(forecast, on=["call", "turn"])
    assert len(both) >= 3, "the model says nothing of a turn that is heard in pieces"
    assert (both["saved_s_x"] - both["saved_s_y"]).abs().max() < 0.005


def test_the_saving_is_the_overlap_of_commit_and_model() -> None:
    turns = pd.DataFrame([one("off", 1.2)])
    modes = {"on": "llm", "voice too": "tts"}
    found = preemption.predicted(turns, "off", modes, ["delay"]).set_index("arm")["saved_s"]
    # model and sentence take 0.3 s, as long as from the transcript to the commit
    assert found["on, predicted"] == pytest.approx(0.3)
    # the voice's 0.2 s do not fit in beside them
    assert found["voice too, predicted"] == pytest.approx(0.3)
    assert overlap.parts(turns).loc[(0, 0), "commit_s"] == pytest.approx(0.5)


def test_measured_and_predicted_stand_beside_each_other() -> None:
    turns = pd.DataFrame(
        [
            one("off", 1.2),
            one("on", 0.9),
            one("off", 3.2, turn=1, at_committed_s=12.5, at_hook_done_s=12.5),
            one("on", 2.9, turn=1, sdk_end_of_turn_delay_s=2.5),
        ]
    )
    measured = lab.savings(turns, "off", ["delay"])
    forecast = preemption.predicted(turns.head(1), "off", {"on": "llm"}, ["delay"])
    points = preemption.against(measured, forecast, "delay", 2.5).set_index(["wait", "arm"])
    assert points.loc[(paired.AT_ONCE, "on"), "saved_s"] == pytest.approx(0.3)
    assert points.loc[(paired.AT_ONCE, "on, predicted"), "n_turns"] == 1
    assert points.loc[("held back 2,500 ms", "on"), "saved_s"] == pytest.approx(0.3)
    assert "within 0 ms" in preemption.agreement(measured, forecast, ["delay"])


def test_a_turn_heard_in_pieces_is_not_predicted() -> None:
    turns = pd.DataFrame([one("off", 1.2), one("off", 1.2, turn=1, n_user_messages=2)])
    assert preemption.predicted(turns, "off", {"on": "llm"})["turn"].tolist() == [0]
    assert paired.waits(turns, 2.5).tolist() == [paired.AT_ONCE, paired.IN_PIECES]


def test_savings_want_a_known_baseline_and_answered_turns() -> None:
    turns = pd.DataFrame([one("off", 1.2), one("on", 0.9), one("on", 0.5, outcome="premature")])
    assert lab.savings(turns, "off")["saved_s"].tolist() == [pytest.approx(0.3)]
    with pytest.raises(ValueError, match=r"unknown arm 'of' .*must be one of off, on"):
        lab.savings(turns, "of")


def test_an_unknown_variant_fails_with_what_is_allowed() -> None:
    results = lab.sweep(
        lab.Experiment({"typo": "preemptive_generation@agent.variant=published"}, calls=1, turns=1)
    )
    assert "must be one of as_published, done_right" in results.calls["error"].iloc[0]
