"""A prediction beside a recording: known answers, and a prediction that moves with its inputs."""

from __future__ import annotations

import dataclasses
import functools

import pandas as pd
import pytest

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.evidence import prediction
from labkit.evidence.prediction import Runs, causes, compared, reweighted, whole
from labkit.evidence.recorded import Recording, load

RECORD = load()
FAST_S, SLOW_S, SDK_S, LINE_S = 2.0, 3.4, 1.6, 0.1


def turns(n_slow: int, n: int = 20, **more: object) -> pd.DataFrame:
    """One turn a call, all of them in two modes; nothing but the mode differs."""
    latency = [SLOW_S] * n_slow + [FAST_S] * (n - n_slow)
    return pd.DataFrame({
        "call": range(n), "turn": 2, "outcome": "answered", "n_user_messages": 1,
        "response_latency_s": latency, "sdk_e2e_latency_s": [x - FAST_S + SDK_S for x in latency],
        "sdk_end_of_turn_delay_s": 0.5, "sdk_transcription_delay_s": 0.498,
        "sdk_llm_node_ttft_s": 0.441, "sdk_tts_node_ttfb_s": 0.518, "llm_calls": 1.0,
        "at_caller_stopped_s": 1.0, "at_heard_s": 1.0 + LINE_S, "downlink_s": LINE_S,
        "barged_in": False, "yield_s": 0.8, "n_backchannels": 1, "n_false_interruptions": 0,
    } | more)  # fmt: skip


def runs(n_slow: int = 4, **more: object) -> Runs:
    return Runs(turns(n_slow), turns(0, barged_in=True), turns(0, **more))


def rows(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {row["id"]: row for _, row in table.iterrows()}


def test_every_output_is_compared_and_the_difference_is_recorded_less_predicted() -> None:
    found = rows(compared(runs(), RECORD))
    assert set(found) == set(RECORD.outputs) | set(prediction.MODES)
    expected = {
        "ear_p50": 2.47 - FAST_S, "sdk_p50": 1.755 - SDK_S, "gap": 0.72 - (FAST_S - SDK_S),
        "eot_p50": 0.408 - 0.5, "stop": 1.04 - 0.8, "path": 0.575 - 2 * LINE_S,
        "decided": 0.435 - (0.8 - 2 * LINE_S),
        "hums": 3 / 24, "requests": 1.494 - 1, "fast": 2.38 - FAST_S, "share": 22 / 75 - 4 / 20,
    }  # fmt: skip
    assert {i: found[i]["difference"] for i in expected} == pytest.approx(expected, abs=0.006)


def test_only_turns_that_began_over_a_settled_reply_tell_of_a_stop() -> None:
    early = turns(0, barged_in=True).assign(turn=1, yield_s=9.0)
    cutting = pd.concat([turns(0, barged_in=True), early, early, early, turns(0, yield_s=9.0)])
    found = rows(compared(runs()._replace(cutting=cutting), RECORD))
    assert found["stop"]["predicted"] == pytest.approx(0.8)


def test_an_acknowledgement_counts_if_there_was_one() -> None:
    humming = turns(0, n_backchannels=[1] * 10 + [0] * 10, n_false_interruptions=[1] * 4 + [0] * 16)
    found = rows(compared(runs()._replace(humming=humming), RECORD))
    assert found["hums"]["predicted"] == pytest.approx(4 / 10)


@pytest.mark.parametrize(
    "more",
    [
        {"n_user_messages": [2] * 5 + [1] * 15},
        {"barged_in": [True] * 5 + [False] * 15},
        {"outcome": ["interrupted"] * 5 + ["answered"] * 15},
    ],
)
def test_the_sdk_has_no_figure_of_turns_in_pieces_or_over_another_reply(
    more: dict[str, object],
) -> None:
    assert len(whole(turns(0, **more))) == 15


def test_weighting_to_the_recorded_waits_moves_the_median_only_as_far_as_they_differ() -> None:
    latency = [1.0 + 0.01 * i for i in range(78)] + [3.4] * 22
    own = pd.DataFrame({"response_latency_s": latency})
    assert reweighted(own, RECORD) > own["response_latency_s"].median(), "29% instead of 22%"
    as_recorded = [1.0 + 0.01 * i for i in range(53)] + [3.4] * 22
    same = pd.DataFrame({"response_latency_s": as_recorded})
    assert reweighted(same, RECORD) == pytest.approx(same["response_latency_s"].median(), abs=1e-9)


def test_the_causes_and_the_unexplained_make_up_the_difference() -> None:
    calm = turns(4, 40).assign(response_latency_s=[3.4] * 4 + [2.0 + 0.01 * i for i in range(36)])
    calm["sdk_e2e_latency_s"] = calm["response_latency_s"] - FAST_S + SDK_S
    own = runs()._replace(calm=calm)
    table = causes(own, RECORD).set_index("cause")
    whole_s = float(rows(compared(own, RECORD))["ear_p50"]["difference"])
    assert table["size_s"].iloc[0] > 0.02, "fewer turns wait than in the recording"
    assert table["size_s"].sum() == pytest.approx(whole_s)
    path = table.loc["a longer audio path than the tunnel's line"]
    ends = [path[f"size{end}_s"] for end in ("_low", "", "_high")]
    assert ends == pytest.approx([0.55 - 0.4, 0.72 - 0.4, 0.77 - 0.4])
    left = table.loc[prediction.UNEXPLAINED]
    assert left["size_low_s"] < left["size_s"] < left["size_high_s"]


# the prediction itself


def with_tts(record: Recording, more_s: float) -> Recording:
    tts = record.inputs["tts"]
    later = dataclasses.replace(tts, median_s=tts.median_s + more_s, p95_s=tts.p95_s + more_s,
                                floor_s=tts.floor_s + more_s)  # fmt: skip
    return dataclasses.replace(record, inputs={**record.inputs, "tts": later})


@functools.cache
def predicted(more_s: float) -> pd.DataFrame:
    given = {**with_tts(RECORD, more_s).settings(), "caller.persona": "fluent"}
    return sweep(Experiment({"starter": Arm("starter", given)}, calls=4, turns=4, seed=7)).turns


@pytest.mark.slow
def test_a_later_tts_is_heard_later_by_as_much() -> None:
    was, now = (predicted(more_s)["response_latency_s"] for more_s in (0.0, 0.2))
    assert now.median() - was.median() == pytest.approx(0.2, abs=0.03)


@pytest.fixture(scope="module")
def without_spread() -> pd.DataFrame:
    """Turns whose providers always take the published medians, less what the tunnel adds."""
    given: dict[str, object] = {"caller.persona": "fluent"}
    for stage in RECORD.inputs.values():
        own = stage.settings()
        own[f"{stage.figure}.p95_s"] = own[f"{stage.figure}.median_s"] + 1e-4
        given |= own
    return whole(sweep(Experiment({"a": Arm("starter", given)}, calls=4, turns=4, seed=7)).turns)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "within_s"), [("stt", 0.03), ("llm", 0.02), ("tts", 0.015)])
def test_the_sdk_counts_a_stage_as_the_providers_delay_and_what_was_taken_off(
    stage: str, within_s: float, without_spread: pd.DataFrame
) -> None:
    given = RECORD.inputs[stage]
    assert len(without_spread) >= 10
    counted_s = without_spread[given.column].median()
    assert counted_s == pytest.approx(given.median_s, abs=within_s)
