"""Tables and charts of turn taking, from rows written by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from matplotlib.text import Text

from labkit.engine.tables import Results
from labkit.report.turn_taking import (
    frontiers,
    group_and_label,
    proportions,
    table,
)
from labkit.studies.endpointing import MAX_DELAY, commits, floor_points, pause_points, separation
from labkit.studies.vad_silence import MIN_DELAY, VAD, heat_map


@pytest.fixture
def turns() -> pd.DataFrame:
    return pd.DataFrame({
        "arm": ["silence, 0.3 s"] * 4, "call": [0, 0, 1, 1],
        "outcome": ["answered"] * 3 + ["premature"],
        "caller.persona": ["hesitant"] * 4,
        "caller.noise_floor_dbfs": [-120.0, -120.0, -60.0, -60.0],
        "response_latency_s": [1.0, 1.2, 1.4, -0.5], "end_of_turn_s": [0.4, 0.5, 0.6, 0.4],
        "n_pauses": [1, 0, 2, 1], "n_false_endpoints": [0, 0, 0, 1],
        "n_premature_replies": [0, 0, 0, 1],
        "n_messages": [1, 1, 1, 2], "overlap_s": [0.0, 0.0, 0.0, 0.5], "deletions": [0, 0, 0, 2],
        "words_said": [5, 5, 5, 5], "llm_calls": [1, 1, 1, 2],
        "eot_prob": [0.3, 0.5, 0.6, 0.7], "eot_pause_prob": [0.1, math.nan, 0.4, 0.5],
    })  # fmt: skip


@pytest.fixture
def results(turns: pd.DataFrame) -> Results:
    return Results(turns, turns[["arm", "call", "caller.persona"]].drop_duplicates(), {})


def test_false_endpoints_are_counted_per_turn_with_pauses(results: Results) -> None:
    (point,) = pause_points(results).to_dict("records")
    assert (point["group"], point["label"]) == group_and_label("silence, 0.3 s")
    assert point["share"] == pytest.approx(1 / 3) and point["n_pauses"] == 4
    assert point["delay_s"] == pytest.approx(0.4)  # the lower of two: 0.4 and 0.6


def test_the_table_leaves_out_the_latency_of_premature_replies(results: Results) -> None:
    row = table(results).loc[("hesitant", "silence, 0.3 s")]
    assert row["deletions"] == "10.0%"
    assert row["p50 (ms)"].startswith("1,200 [")
    assert row["premature replies"].startswith("25.0% [")


def test_the_frontier_has_a_panel_and_numbers_for_each_persona(results: Results) -> None:
    figure, points = frontiers(results)
    assert "hesitant callers" in [text.get_text() for text in figure.findobj(Text)]
    assert len(figure.axes) == 1
    (point,) = points.to_dict("records")
    assert (point["persona"], point["group"], point["label"]) == ("hesitant", "silence", "0.3 s")
    assert (point["latency_s"], point["harm"]) == (1.2, 0.25)


def test_the_floor_moves_what_the_detector_believes(turns: pd.DataFrame) -> None:
    found = floor_points(turns, 0.36).set_index(["asked", "caller.noise_floor_dbfs"])["finished"]
    assert found["at the end", -120.0] == 0.5 and found["at the end", -60.0] == 1.0
    assert found["at a pause", -120.0] == 0.0 and found["at a pause", -60.0] == 1.0


def test_a_detector_that_tells_ends_from_pauses_is_known_by_its_area(turns: pd.DataFrame) -> None:
    area = separation(turns)
    assert area.loc[-120.0].tolist() == [1.0, 2, 1]  # both ends are above the one pause
    assert area.loc[-60.0].tolist() == [1.0, 2, 2]


def test_proportions_of_a_sweep(turns: pd.DataFrame) -> None:
    rows = proportions(turns, "arm", "caller.noise_floor_dbfs", "n_premature_replies")
    assert rows["share"].tolist() == [0.0, 0.5]


def test_commits_rise_to_all_turns_at_each_delay(turns: pd.DataFrame) -> None:
    delays = turns.assign(**{MAX_DELAY: [1.0, 1.0, 2.5, 2.5]})
    steps = commits(delays).data
    assert steps["end_of_turn_s"].tolist() == [0.4, 0.5, 0.4, 0.6]
    assert steps["share"].tolist() == [0.5, 1.0, 0.5, 1.0]


def test_the_heat_map_shows_medians_and_where_the_floor_has_nothing_left_to_do() -> None:
    turns = pd.DataFrame([
        {VAD: vad, MIN_DELAY: floor, "end_of_turn_s": max(vad, floor) + late}
        for vad in (0.2, 0.5) for floor in (0.1, 0.3) for late in (0.0, 0.0, 0.3)
    ])  # fmt: skip
    ax, medians = heat_map(turns)
    assert medians["median"].tolist() == [0.2, 0.5, 0.3, 0.5]
    assert [text.get_text() for text in ax.texts] == ["200", "300", "500", "500"]
    (step,) = ax.lines
    assert step.get_xdata().tolist() == [1, 1, 2, 2]  # one floor below 0.2 s, both below 0.5 s
