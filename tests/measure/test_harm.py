"""Harm in calls written by hand, with the arithmetic beside it."""

from __future__ import annotations

import math

import pytest
from by_hand import call, message, reply, state, turn

from labkit.measure.harm import HARMS, harms
from labkit.tunnel.record import Backchannel

NAN = float("nan")


def found(turns, segments=(), session=(), backchannels=()):
    return harms(call(turns, segments, session, backchannels=backchannels))


def test_a_plain_turn_has_no_harm():
    said = "I want to go to Boston."
    (row,) = found([turn()], [reply(5.0, 7.0)], [message(said, 4.5, stopped_s=4.1, delay_s=0.3)])
    assert set(row) == set(HARMS)
    assert row["words_said"] == 6 and row["n_messages"] == 1
    assert math.isnan(row["yield_s"]) and not row["unanswered"]
    others = set(HARMS) - {"words_said", "n_messages", "yield_s", "unanswered"}
    assert {name: row[name] for name in others} == dict.fromkeys(others, 0)


def test_a_premature_reply_in_a_pause_overlaps_only_what_is_spoken():
    # the pause is 2.0 to 2.6; the agent speaks from 2.4 to 3.0, so 0.4 s of it over the caller
    paused = turn(pauses=((2.0, 2.6),))
    (row,) = found([paused], [reply(2.4, 3.0), reply(5.0, 7.0)])
    assert row["n_premature_replies"] == 1
    assert row["overlap_s"] == pytest.approx(0.4)
    assert not row["unanswered"]


def test_agent_speech_from_before_the_turn_is_no_premature_reply():
    (row,) = found([turn()], [reply(0.5, 1.5), reply(5.0, 7.0)])
    assert row["n_premature_replies"] == 0
    assert row["overlap_s"] == pytest.approx(0.5)


def test_a_decision_before_the_end_is_a_false_endpoint_even_if_nothing_is_heard_of_it():
    session = [
        message("I want to go", 2.5, stopped_s=2.1, delay_s=0.3),
        message("to Boston.", 4.6, stopped_s=4.1, delay_s=0.4),
    ]
    (row,) = found([turn()], [reply(5.0, 7.0)], session)
    assert (row["n_false_endpoints"], row["n_premature_replies"], row["n_messages"]) == (1, 0, 2)
    # one decided after the last sound was spoken and before it had reached the agent
    (row,) = found([turn()], [], [message("I want", 4.2, stopped_s=3.75, delay_s=0.3)])
    assert row["n_false_endpoints"] == 1


def test_a_turn_that_only_a_cut_in_answered_is_unanswered():
    (row,) = found([turn()], [reply(2.4, 3.0)])
    assert row["n_premature_replies"] == 1 and row["unanswered"]


def test_yielding_is_timed_from_the_callers_first_sound():
    first, second = turn(), turn(1, "Wait. Stop it.", 6.0, 7.5, barged_in=True)
    rows = found([first, second], [reply(5.0, 6.7), reply(8.5, 9.0)])
    assert rows[1]["yield_s"] == pytest.approx(0.7)
    assert rows[1]["n_premature_replies"] == 0
    assert math.isnan(rows[0]["yield_s"])


def test_false_interruptions_are_breaks_that_no_turn_caused():
    # the first break is the caller's next turn; the other two come while the caller only listens
    rows = found(
        [turn(), turn(1, "Go on.", 9.0, 10.0)],
        [
            reply(5.0, 8.0, breaks=((6.0, 7.0), (8.0, NAN))),
            reply(11.0, 12.0),
        ],
    )
    assert (rows[0]["n_false_interruptions"], rows[0]["n_resumed"]) == (2, 1)
    rows = found([turn(), turn(1, "Go on.", 7.5, 8.0)], [reply(5.0, 8.0, breaks=((8.0, NAN),))])
    assert rows[0]["n_false_interruptions"] == rows[1]["n_false_interruptions"] == 0


def test_a_cut_in_that_the_caller_talks_down_is_no_false_interruption():
    (row,) = found([turn()], [reply(2.4, 4.2, breaks=((4.2, NAN),)), reply(5.0, 7.0)])
    assert row["n_premature_replies"] == 1 and row["n_false_interruptions"] == 0


def test_false_starts_are_what_the_session_hears_where_the_caller_says_nothing():
    heard = [state("speaking", t) for t in (1.2, 5.6, 6.3)]
    hum = Backchannel(0, "Mhm.", 5.4, 5.8)
    (row,) = found([turn()], [reply(5.0, 7.0)], heard, [hum])
    assert row["n_false_starts"] == 1  # 6.3; 1.2 is the turn and 5.6 the hum


def test_lost_words_are_counted_at_head_and_tail():
    (row,) = found([turn()], [], [message("to go to", 4.5)])
    assert (row["words_said"], row["deletions"]) == (6, 3)
    assert (row["leading_deletions"], row["trailing_deletions"]) == (2, 1)
    (row,) = found([turn()])
    assert (row["deletions"], row["leading_deletions"], row["trailing_deletions"]) == (6, 6, 6)
    (row,) = found([turn()], [], [message("I go", 4.5)])
    assert (row["deletions"], row["leading_deletions"], row["trailing_deletions"]) == (4, 0, 2)


def test_a_misheard_word_is_lost_and_another_added():
    (row,) = found([turn()], [], [message("I want to go to Austin!", 4.5)])
    assert (row["deletions"], row["insertions"], row["trailing_deletions"]) == (1, 1, 1)


def test_words_that_arrive_after_the_next_turn_began_are_not_lost():
    turns = [turn(), turn(1, "Tomorrow, please.", 6.0, 7.0)]
    session = [message("I want to go", 4.5), message("to Boston. Tomorrow, please.", 7.5)]
    rows = found(turns, [], session)
    assert [r["deletions"] for r in rows] == [0, 0]
    assert [r["n_messages"] for r in rows] == [2, 1]


def test_a_backchannel_that_becomes_a_message_is_answered():
    session = [message("I want to go to Boston.", 4.5), message("Mhm.", 6.9)]
    hums = [Backchannel(0, "Mhm.", 6.0, 6.3), Backchannel(0, "Right.", 8.0, 8.3)]
    (row,) = found([turn()], [reply(5.0, 9.0)], session, hums)
    assert (row["n_backchannels"], row["n_backchannels_answered"]) == (2, 1)
    assert row["n_messages"] == 1 and row["insertions"] == 0
