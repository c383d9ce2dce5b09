"""The recorded starter: arms that can run, and tables and sentences that say what was computed."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.tables import Results
from labkit.evidence import prediction
from labkit.evidence.recorded import load
from labkit.studies import reality

RECORD = load()
NAN = math.nan


def row(**more: object) -> dict[str, object]:
    return {
        "id": "gap", "name": "ear less SDK", "unit": "s", "difference": 0.3,
        "recorded": 0.7, "recorded_low": 0.55, "recorded_high": 0.77,
        "predicted": 0.4, "predicted_low": 0.35, "predicted_high": 0.45,
    } | more  # fmt: skip


def results() -> Results:
    """Ten answered turns of each arm; their TTS is a fifth later than what it was given."""
    own = pd.DataFrame({
        "call": range(10), "turn": 2, "outcome": "answered", "n_user_messages": 1,
        "barged_in": False,
        "response_latency_s": 2.0, "sdk_e2e_latency_s": 1.6,
        "sdk_transcription_delay_s": 0.498, "sdk_llm_node_ttft_s": 0.441,
        "sdk_tts_node_ttfb_s": 0.6216,
    })  # fmt: skip
    names = (reality.PREDICTED, reality.CUTTING_IN, reality.HUMMING)
    turns = pd.concat([own.assign(arm=name) for name in names], ignore_index=True)
    return Results(turns, turns[["arm", "call"]].assign(status="ok", error=""), {})


def test_every_arm_can_be_run_with_the_recorded_stages() -> None:
    arms = reality.arms(0.3) | reality.changes(RECORD, 0.12, 30.0)
    points = Experiment(arms, settings=RECORD.settings(), calls=1, turns=1).runs()
    assert [point.arm for point in points] == list(arms)
    assert len(arms) == 7


def test_a_stage_that_is_missed_shows() -> None:
    table = reality.input_table(results(), RECORD)
    assert table.loc["STT delay", "off"].tolist() == ["+0.0%", "-11.2%"]
    assert table.loc["TTS time to first byte", "off"].iloc[0] == "+20.0%"
    assert table.loc["TTS time to first byte", "published (ms)"].tolist() == ["518", "758"]


@pytest.mark.parametrize(
    ("more", "met"),
    [
        ({}, False),
        ({"predicted_high": 0.55}, True),
        ({"predicted_high": 0.549}, False),
        ({"recorded_low": NAN, "recorded_high": NAN, "predicted_high": 0.7}, True),
        ({"recorded_low": NAN, "recorded_high": NAN, "predicted_high": 0.699}, False),
        ({"predicted_low": 0.77, "predicted_high": 0.9}, True),
        ({"predicted_low": 0.771, "predicted_high": 0.9}, False),
    ],
)
def test_two_intervals_meet_or_do_not(more: dict[str, object], met: bool) -> None:
    assert reality.covered(row(**more)) is met


def test_a_difference_is_in_the_unit_of_its_row() -> None:
    assert reality.difference(row()) == "+300 ms"
    assert reality.difference(row(unit="share", difference=-0.125)) == "-12.5 points"
    assert reality.difference(row(unit="number", difference=0.25)) == "+0.25"


def test_a_difference_without_a_cause_is_called_unexplained_unless_the_intervals_meet() -> None:
    assert set(reality.WHY) < set(RECORD.outputs) | set(prediction.MODES)
    rows = [
        row(id="ear", name="off"),
        row(id="sdk_p50", name="met", predicted_high=0.6),
        row(),
    ]
    causes = reality.comparison_table(pd.DataFrame(rows))["cause"]
    assert causes.to_dict() == {
        "off": prediction.UNEXPLAINED, "met": "none needed", "ear less SDK": "audio path",
    }  # fmt: skip


def test_the_comparison_reads_with_intervals_where_there_are_any() -> None:
    table = pd.DataFrame([
        row(), row(id="sdk_p50", name="SDK", recorded_low=NAN, recorded_high=NAN),
    ])  # fmt: skip
    shown = reality.comparison_table(table)
    assert shown.loc["ear less SDK", "recorded"] == "700 [550–770]"
    assert shown.loc["SDK", "recorded"] == "700"
    assert shown.loc["ear less SDK", "predicted"] == "400 [350–450]"
    assert shown.loc["ear less SDK", "intervals meet"] == "no"


def test_a_change_moves_the_ear_the_sdk_and_what_lies_between() -> None:
    own = results().turns.query("arm == 'predicted'")
    far = own.assign(arm="far", response_latency_s=2.08)
    slow = own.assign(arm="slow", response_latency_s=2.5, sdk_e2e_latency_s=2.1)
    changed = pd.concat([far, slow], ignore_index=True)
    calls = changed[["arm", "call"]].assign(status="ok", error="")
    table = reality.moved(results(), Results(changed, calls, {}))
    assert [cell.partition(" ")[0] for cell in table.loc["far"]] == ["+80", "0", "+80"]
    assert [cell.partition(" ")[0] for cell in table.loc["slow"]] == ["+500", "+500", "0"]


def test_the_answer_has_its_numbers() -> None:
    table = pd.DataFrame([
        row(id="ear_p50", recorded=2.5, predicted=2.0, difference=0.5),
        row(id="share", unit="share", recorded=0.3, predicted=0.2), row(id="sdk_p50"), row(),
        row(id="path", difference=0.37),
    ])  # fmt: skip
    causes = pd.DataFrame([
        {"cause": prediction.UNEXPLAINED, "size_s": -0.04, "size_low_s": -0.1, "size_high_s": 0.1}
    ])  # fmt: skip
    text = reality.read(table, causes)
    for said in ("**2,000 ms**", "2,500", "+500 ms, or 20%", "20.0%", "30.0%", "-40 [-100 to 100]"):
        assert said in text
    assert "differs by +300 ms" in reality.read_path(table)
    assert "barge-in by +370 ms" in reality.read_path(table)


def test_the_dashboards_count_is_shown_not_to_be_the_sdks() -> None:
    text = reality.read_count(RECORD, 2.5)
    for said in ("408 ms", "498 ms", "2,019 ms", "2,500", "2,002"):
        assert said in text


def test_the_pauses_of_the_recorded_voice_account_for_its_requests() -> None:
    assert RECORD.turns["in_pieces"].sum() == 18 + 18 + 3
    text = reality.read_requests(RECORD)
    for said in ("52%", "1.52", "1.49"):
        assert said in text
