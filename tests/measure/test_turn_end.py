"""How a turn's end was decided, and the tables made of it, from rows written by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from labkit.engine.tables import Results
from labkit.measure.turn_end import turn_ends
from labkit.studies.turn_taking_tables import (
    cells,
    floor_points,
    group_and_label,
    pause_points,
    shares,
    table,
)
from labkit.tunnel.record import CallerTurn, CallRecord, ReplySegment

LINE = 0.1


def record(session, segments=(), **more) -> CallRecord:
    turn = CallerTurn(
        index=0, dialogue="d", turn_id="t", intent="i", kind="question", heavy=False,
        variant="hesitant", text="So it is.", right_reply="Right.", clip_id="c",
        started_s=1.0, stopped_s=4.0, over_s=5.0, pauses=((2.0, 2.8),), **more,
    )  # fmt: skip
    return CallRecord(
        call=0, seed=7, persona="hesitant", voice="v", turns=[turn], segments=list(segments),
        providers=[], session=session, line_delay_s=LINE, simulated_s=20.0,
        wall_s=0.1,
    )  # fmt: skip


def message(t_s: float, stopped_s: float, delay_s: float) -> dict:
    metrics = {"stopped_speaking_at": stopped_s, "end_of_turn_delay": delay_s}
    return {"event": "item", "role": "user", "text": "So", "t_s": t_s, "metrics": metrics}


def asked(t_s: float, probability: float) -> dict:
    return {"event": "eot", "t_s": t_s, "probability": probability}


def test_the_detector_is_heard_at_the_pause_and_at_the_end() -> None:
    session = [asked(2.5, 0.2), asked(2.7, 0.4), asked(4.4, 0.7), message(4.9, 4.15, 0.7)]
    (row,) = turn_ends(record(session))
    assert row["n_pauses"] == 1
    assert (row["eot_pause_prob"], row["eot_prob"]) == (0.4, 0.7)
    # decided at 4.85; the last sound reached the agent at 4.1
    assert row["end_of_turn_s"] == pytest.approx(0.75)
    assert math.isnan(row["handover_s"])


def test_what_is_committed_during_the_reply_is_not_the_turn() -> None:
    reply = ReplySegment(5.0, 5.3, 8.0, False)
    session = [message(4.7, 4.1, 0.5), message(7.5, 6.8, 0.6)]
    (row,) = turn_ends(record(session, [reply], released_s=4.2))
    assert row["end_of_turn_s"] == pytest.approx(0.5)
    assert row["handover_s"] == pytest.approx(0.4)


def test_nothing_decided_is_unknown() -> None:
    (row,) = turn_ends(record([]))
    assert all(math.isnan(row[k]) for k in ("eot_prob", "eot_pause_prob", "end_of_turn_s"))


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


def test_cut_offs_are_counted_per_turn_with_pauses(turns: pd.DataFrame) -> None:
    results = Results(turns, turns[["arm", "call"]].drop_duplicates(), {})
    (point,) = pause_points(results).to_dict("records")
    assert (point["group"], point["label"]) == group_and_label("silence, 0.3 s")
    assert point["share"] == pytest.approx(1 / 3) and point["n_pauses"] == 4
    assert point["delay_s"] == pytest.approx(0.4)  # the lower of two: 0.4 and 0.6
    shown = table(results)
    assert shown.loc[("hesitant", "silence, 0.3 s"), "words lost"] == "10.0%"
    assert shown["p50 (ms)"].iloc[0].startswith("1,200")


def test_the_floor_moves_what_the_detector_believes(turns: pd.DataFrame) -> None:
    found = floor_points(turns, 0.36).set_index(["asked", "caller.noise_floor_dbfs"])["finished"]
    assert found["at the end", -120.0] == 0.5 and found["at the end", -60.0] == 1.0
    assert found["at a pause", -120.0] == 0.0 and found["at a pause", -60.0] == 1.0


def test_cells_and_shares_of_a_sweep(turns: pd.DataFrame) -> None:
    (low, high) = cells(turns, "caller.persona", "caller.noise_floor_dbfs")["median"]
    assert (low, high) == (pytest.approx(0.45), pytest.approx(0.5))
    found = shares(turns, "arm", "caller.noise_floor_dbfs", ["n_premature_replies"])
    assert found["share"].tolist() == [0.0, 0.5]
