"""How a turn's end was decided, from a call written by hand."""

from __future__ import annotations

import math

import pytest
from by_hand import asked, call, message, turn

from labkit.measure.turn_end import turn_ends
from labkit.tunnel.record import CallRecord, ReplySegment


def record(session, segments=(), **more) -> CallRecord:
    return call([turn(pauses=((2.0, 2.8),), **more)], segments, session)


def test_the_detector_is_heard_at_the_pause_and_at_the_end() -> None:
    session = [asked(2.5, 0.2), asked(2.7, 0.4), asked(4.4, 0.7), message("So", 4.9, 4.15, 0.7)]
    (row,) = turn_ends(record(session))
    assert row["n_pauses"] == 1
    assert (row["eot_pause_prob"], row["eot_prob"]) == (0.4, 0.7)
    # decided at 4.85; the last sound reached the agent at 4.1
    assert row["end_of_turn_s"] == pytest.approx(0.75)
    assert math.isnan(row["handover_s"])


def test_what_is_committed_during_the_reply_is_not_the_turn() -> None:
    reply = ReplySegment(5.0, 5.3, 8.0, False)
    session = [message("So", 4.7, 4.1, 0.5), message("So", 7.5, 6.8, 0.6)]
    (row,) = turn_ends(record(session, [reply], released_s=4.2))
    assert row["end_of_turn_s"] == pytest.approx(0.5)
    assert row["handover_s"] == pytest.approx(0.4)


def test_nothing_decided_is_unknown() -> None:
    (row,) = turn_ends(record([]))
    assert all(math.isnan(row[k]) for k in ("eot_prob", "eot_pause_prob", "end_of_turn_s"))
