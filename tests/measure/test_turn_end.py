"""How a turn's end was decided, from a call written by hand."""

from __future__ import annotations

import math

import pytest

from labkit.measure.turn_end import turn_ends
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
