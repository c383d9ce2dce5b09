"""A millisecond to either side of every threshold of the measurements.

In most calls here the caller speaks from 1 s to 4 s and the line takes 0.1 s, so the last sound
reaches the agent at 4.1 s; a second turn, where there is one, begins at 9 s.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from by_hand import LINE, MS, NAN, Script, asked, call, item, message, reply, row, state, turn

from labkit.measure.harm import harms
from labkit.measure.turn_end import commits, turn_ends
from labkit.measure.turn_logs import TurnLogs, holds, letters, until_s
from labkit.tunnel.record import Backchannel, CallRecord, ReplySegment
from labkit.world.events import (
    Completed,
    Connected,
    Event,
    FirstAudio,
    FirstToken,
    Request,
    Role,
    Text,
)

SAID = "I want to go to Boston."
NEXT_S = 9.0


def two_turns(**first: object) -> list:
    return [turn(**first), turn(1, "Go on.", NEXT_S, 10.0)]


def harm(record: CallRecord, index: int = 0) -> dict:
    return harms(record)[index]


# ------------------------------------------------------------------- outcomes, premature replies


@pytest.mark.parametrize(
    ("heard_s", "outcome"),
    [(4.0 - 0.3, "premature"), (4.0 - 0.199, "premature"), (4.0 - MS, "premature"),
     (4.0, "answered"), (4.0 + MS, "answered")],
)  # fmt: skip
def test_a_reply_is_premature_up_to_the_callers_last_sound(heard_s: float, outcome: str) -> None:
    found = row(call([turn()], [reply(heard_s, 6.0)]))
    assert found["outcome"] == outcome
    latency_s = NAN if outcome == "premature" else heard_s - 4.0
    assert found["response_latency_s"] == pytest.approx(latency_s, nan_ok=True)
    assert math.isnan(found["residual_s"]) == (outcome == "premature")
    assert found["n_premature_replies"] == (outcome == "premature")


@pytest.mark.parametrize(
    ("first_s", "n"),
    [(1.0, 0), (1.0 + MS, 1), (2.4, 1), (4.0 - MS, 1), (4.0, 0), (4.0 + MS, 0), (4.3, 0)],
)
def test_premature_replies_are_those_that_begin_inside_the_turn(first_s: float, n: int) -> None:
    spoken = reply(first_s, 5.0, left_s=1.0)
    assert harm(call([turn()], [spoken]))["n_premature_replies"] == n


@pytest.mark.parametrize(("left_s", "n"), [(1.0 - MS, 0), (1.0, 1), (1.0 + MS, 1)])
def test_agent_speech_belongs_to_the_turn_in_which_it_left(left_s: float, n: int) -> None:
    record = call([turn()], [reply(2.0, 3.0, left_s=left_s), reply(5.0, 6.0)])
    found = row(record)
    assert found["n_premature_replies"] == n
    assert found["outcome"] == ("premature" if n else "answered")


@pytest.mark.parametrize(("first_s", "taken"), [(1.0, False), (1.0 + MS, True)])
def test_a_reply_begins_to_sound_after_the_turn_has_begun(first_s: float, taken: bool) -> None:
    record = call([turn()], [reply(first_s, 2.0, left_s=1.0), reply(5.0, 6.0)])
    assert row(record)["at_reply_heard_s"] == (first_s if taken else 5.0)


@pytest.mark.parametrize(
    ("first_s", "outcome"), [(NEXT_S - MS, "answered"), (NEXT_S, "missed"), (NEXT_S + MS, "missed")]
)
def test_a_reply_that_sounds_once_the_next_turn_has_begun_is_missed(
    first_s: float, outcome: str
) -> None:
    record = call(two_turns(), [reply(first_s, 9.9, left_s=8.0), reply(10.5, 11.0)])
    assert row(record)["outcome"] == outcome


@pytest.mark.parametrize(
    ("interrupted", "heard_s", "outcome"),
    [(False, 5.0, "answered"), (True, 5.0, "interrupted"), (True, 4.0, "interrupted"),
     (True, 4.0 - MS, "premature")],
)  # fmt: skip
def test_interrupted_is_a_reply_after_the_end_that_was_cut_off(
    interrupted: bool, heard_s: float, outcome: str
) -> None:
    found = row(call([turn()], [reply(heard_s, 6.0, interrupted=interrupted)]))
    assert found["outcome"] == outcome
    assert found["reply_interrupted"] == interrupted
    assert math.isnan(found["residual_s"]) == (outcome == "premature")


@pytest.mark.parametrize(
    ("at_s", "outcome"),
    [(1.0 - MS, "missed"), (1.0, "failed"), (NEXT_S - MS, "failed"), (NEXT_S, "missed")],
)
def test_an_error_fails_the_turn_in_which_it_happened(at_s: float, outcome: str) -> None:
    error = {"event": "error", "t_s": at_s, "recoverable": False}
    assert row(call(two_turns(), [], [error]))["outcome"] == outcome


def test_a_turn_lasts_until_the_first_sound_of_the_next_and_the_last_one_for_ever() -> None:
    record = call([*two_turns(), turn(2, "And?", 12.0, 13.0)])
    assert [until_s(record, i) for i in range(3)] == [9.0, 12.0, math.inf]
    assert [TurnLogs(record, i).from_s for i in range(3)] == [1.0, 9.0, 12.0]


@pytest.mark.parametrize(
    ("at_s", "owner"), [(1.0 - MS, None), (1.0, 0), (NEXT_S - MS, 0), (NEXT_S, 1), (NEXT_S + MS, 1)]
)
def test_events_belong_to_the_turn_in_which_they_happened(at_s: float, owner: int | None) -> None:
    record = call(two_turns(), [], [message("Go", at_s)], [Event(t_s=at_s)])
    logs = [TurnLogs(record, i) for i in range(2)]
    assert [len(x.events) for x in logs] == [owner == 0, owner == 1]
    assert [len(x.session) for x in logs] == [owner == 0, owner == 1]


# ------------------------------------------------------------------- overlap, yielding, silence


@pytest.mark.parametrize(
    ("first_s", "last_s", "overlap_s"),
    [
        (0.5, 1.0, 0.0), (0.5, 1.0 + MS, MS), (4.0 - MS, 5.0, MS), (4.0, 5.0, 0.0),
        (2.0, 2.6, 0.0),  # in the pause
        (2.0 - MS, 2.6 + 2 * MS, 3 * MS), (0.5, 5.0, 2.4),
    ],
)  # fmt: skip
def test_overlap_is_sound_on_sound(first_s: float, last_s: float, overlap_s: float) -> None:
    record = call([turn(pauses=((2.0, 2.6),))], [reply(first_s, last_s)])
    assert harm(record)["overlap_s"] == pytest.approx(overlap_s, abs=1e-9)


def test_overlap_adds_up_over_pauses_stretches_and_segments() -> None:
    said = turn(pauses=((1.5, 1.7), (2.0, 2.6)))  # sounds: 1–1.5, 1.7–2, 2.6–4
    spoken = [
        ReplySegment(0.8, 0.9, 1.8, False, voiced=((0.9, 1.1), (1.4, 1.8))),  # 0.1 + 0.1 + 0.1
        ReplySegment(2.4, 2.5, 3.0, False),  # 0.4
    ]
    assert harm(call([said], spoken))["overlap_s"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("last_s", "yield_s"), [(6.0 - MS, 0.0), (6.0, 0.0), (6.0 + MS, MS), (6.7, 0.7)]
)
def test_yielding_lasts_until_the_agents_last_sound(last_s: float, yield_s: float) -> None:
    said = [turn(), turn(1, "Wait.", 6.0, 7.5, barged_in=True)]
    record = call(said, [reply(5.0, last_s), reply(8.5, 9.0)])
    assert harm(record, 1)["yield_s"] == pytest.approx(yield_s)


@pytest.mark.parametrize(("first_s", "known"), [(6.0 - MS, True), (6.0, False)])
def test_only_speech_that_had_begun_can_be_yielded(first_s: float, known: bool) -> None:
    said = [turn(), turn(1, "Wait.", 6.0, 7.5, barged_in=True)]
    found = harm(call(said, [reply(first_s, 6.5, left_s=5.5)]), 1)["yield_s"]
    assert (found == found) == known


def test_the_speech_that_was_spoken_over_is_the_latest_one() -> None:
    said = [turn(), turn(1, "Wait.", 6.0, 7.5, barged_in=True)]
    record = call(said, [reply(4.5, 5.0), reply(5.5, 6.3), reply(8.5, 9.0)])
    assert harm(record, 1)["yield_s"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("last_s", "unanswered"), [(4.0 - MS, True), (4.0, True), (4.0 + MS, False)]
)
def test_a_turn_is_answered_by_what_is_heard_after_it(last_s: float, unanswered: bool) -> None:
    assert harm(call([turn()], [reply(2.4, last_s)]))["unanswered"] == unanswered


@pytest.mark.parametrize(("left_s", "unanswered"), [(1.0 - MS, True), (1.0, False)])
def test_what_was_begun_before_the_turn_answers_nothing(left_s: float, unanswered: bool) -> None:
    record = call(two_turns(), [reply(1.5, 5.0, left_s=left_s)])
    assert harm(record)["unanswered"] == unanswered
    assert harm(record, 1)["unanswered"]


def test_the_gap_of_a_reply_is_its_longest_silence() -> None:
    spoken = [
        ReplySegment(4.7, 5.0, 7.0, False, voiced=((5.0, 5.5), (5.75, 6.0), (6.4, 7.0))),
        ReplySegment(7.0, 7.1, 7.4, False),
    ]
    assert row(call([turn()], spoken))["reply_gap_s"] == pytest.approx(0.4)
    assert row(call([turn()], spoken[1:]))["reply_gap_s"] == 0.0
    assert math.isnan(row(call([turn()]))["reply_gap_s"])


@pytest.mark.parametrize(("left_s", "gap_s"), [(NEXT_S - MS, 3.0), (NEXT_S, 0.0)])
def test_a_silence_before_speech_of_the_next_turn_is_no_gap(left_s: float, gap_s: float) -> None:
    record = call(two_turns(), [reply(5.0, 6.5), reply(9.5, 10.0, left_s=left_s)])
    assert row(record)["reply_gap_s"] == pytest.approx(gap_s)


# ------------------------------------------------------------------- false interruptions, starts


@pytest.mark.parametrize(
    ("fell_s", "n"), [(4.0, 0), (4.0 + MS, 1), (6.0, 1), (NEXT_S - MS, 1), (NEXT_S, 0)]
)
def test_a_false_interruption_falls_between_this_turn_and_the_next(fell_s: float, n: int) -> None:
    broken = reply(4.0 + MS, 8.0, left_s=3.9, breaks=((fell_s, NAN),))
    found = harm(call(two_turns(), [broken]))
    assert (found["n_false_interruptions"], found["n_resumed"]) == (n, 0)


@pytest.mark.parametrize(("first_s", "n"), [(4.0 - MS, 0), (4.0, 0), (4.0 + MS, 1)])
def test_a_premature_reply_that_falls_silent_is_no_false_interruption(
    first_s: float, n: int
) -> None:
    broken = reply(first_s, 8.0, left_s=3.0, breaks=((5.0, 5.5),))
    found = harm(call(two_turns(), [broken]))
    assert (found["n_false_interruptions"], found["n_resumed"]) == (n, n)


@pytest.mark.parametrize(
    ("heard_s", "n"),
    [(1.0 - MS, 1), (1.0, 0), (4.0, 0), (4.3 - MS, 0), (4.3 + MS, 1),
     (5.4 - MS, 1), (5.4, 0), (6.1 - MS, 0), (6.1 + MS, 1)],
)  # fmt: skip
def test_a_false_start_is_heard_where_nothing_has_sounded_for_300_ms(
    heard_s: float, n: int
) -> None:
    """The turn sounds from 1 to 4 s, a hum from 5.4 to 5.8 s, all at the mouth."""
    hum = Backchannel(0, "Mhm.", 5.4, 5.8)
    record = call([turn()], [], [state("speaking", heard_s + LINE)], backchannels=[hum])
    assert harm(record)["n_false_starts"] == n


def test_a_start_300_ms_after_the_end_of_a_sound_is_still_its_own() -> None:
    record = call([turn()], [], [state("speaking", 4.3)], up_delay_s=0.0)
    assert harm(record)["n_false_starts"] == 0


@pytest.mark.parametrize(("at_s", "n"), [(1.0 - MS, 0), (8.9, 1), (NEXT_S - MS, 1), (NEXT_S, 0)])
def test_false_starts_belong_to_the_turn_in_which_the_session_has_them(at_s: float, n: int) -> None:
    record = call(two_turns(), [], [state("speaking", at_s)], up_delay_s=0.05)
    assert harm(record)["n_false_starts"] == n


def test_only_speaking_starts_anything() -> None:
    assert harm(call([turn()], [], [state("listening", 6.0)]))["n_false_starts"] == 0


# ------------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("decided_s", "n"), [(2.0, 1), (4.0, 1), (4.1 - MS, 1), (4.1 + MS, 0), (4.4, 0)]
)
def test_a_false_endpoint_is_decided_before_the_last_sound_arrives(
    decided_s: float, n: int
) -> None:
    session = [message("I want", 4.5, stopped_s=decided_s - 0.3, delay_s=0.3)]
    assert harm(call([turn()], [], session))["n_false_endpoints"] == n


def test_a_decision_at_the_very_moment_of_the_last_sound_is_none() -> None:
    record = call([turn(stopped_s=4.0)], [], [message(SAID, 4.5, 4.0, 0.25)], up_delay_s=0.25)
    assert harm(record)["n_false_endpoints"] == 0


@pytest.mark.parametrize(
    ("at_s", "n"), [(1.0 - MS, 0), (1.0, 1), (NEXT_S - MS, 1), (NEXT_S, 0), (NEXT_S + MS, 0)]
)
def test_a_message_belongs_to_the_turn_in_which_it_was_added(at_s: float, n: int) -> None:
    record = call(two_turns(), [], [message("I want", at_s, 2.0, 0.3)])
    assert harm(record)["n_false_endpoints"] == n
    assert commits(record, 1.0, NEXT_S) == pytest.approx([2.3] * n)


def test_a_message_without_the_sdks_figures_was_decided_when_it_was_added() -> None:
    record = call([turn()], [], [message("I want", 2.5), item("assistant", "Right.", 3.0)])
    assert commits(record, 1.0, 9.0) == [2.5]
    half = item("user", "I want", 2.5, stopped_speaking_at=2.0)
    assert commits(call([turn()], [], [half]), 1.0, 9.0) == [2.5]


@pytest.mark.parametrize(
    ("at_s", "pause", "end"),
    [(1.0 - MS, NAN, NAN), (1.0, 0.6, NAN), (4.1 - MS, 0.6, NAN), (4.1 + MS, NAN, 0.6),
     (4.6 - MS, NAN, 0.6), (4.6 + MS, NAN, NAN)],
)  # fmt: skip
def test_the_detector_is_asked_in_a_pause_until_the_last_sound_and_then_until_the_decision(
    at_s: float, pause: float, end: float
) -> None:
    session = [asked(at_s, 0.6), message(SAID, 4.7, 4.2, 0.4)]  # decided at 4.6
    (found,) = turn_ends(call([turn()], [], session))
    assert [found["eot_pause_prob"], found["eot_prob"]] == pytest.approx([pause, end], nan_ok=True)


def test_of_several_answers_the_highest_counts_in_pauses_and_the_last_at_the_end() -> None:
    pairs = [(1.5, 0.2), (2.5, 0.8), (3.5, 0.4), (4.2, 0.9), (4.3, 0.1), (4.4, 0.5)]
    session = [*(asked(*pair) for pair in pairs), message(SAID, 4.7, 4.2, 0.4)]
    (found,) = turn_ends(call([turn()], [], session))
    assert (found["eot_pause_prob"], found["eot_prob"]) == (0.8, 0.5)


def test_without_a_decision_every_answer_after_the_last_sound_counts() -> None:
    (found,) = turn_ends(call([turn()], [], [asked(30.0, 0.7)]))
    assert found["eot_prob"] == 0.7


@pytest.mark.parametrize(("at_s", "answers"), [(NEXT_S - MS, 1), (NEXT_S, 0), (NEXT_S + 1, 0)])
def test_an_answer_belongs_to_the_turn_in_which_it_was_given(at_s: float, answers: int) -> None:
    found, later = turn_ends(call(two_turns(), [], [asked(at_s, 0.7)]))
    assert (found["eot_prob"] == 0.7) == answers
    assert (later["eot_pause_prob"] == 0.7) == (not answers)


@pytest.mark.parametrize(
    ("at_s", "end_s"), [(5.0 - MS, 0.9), (5.0, 0.4), (5.0 + MS, 0.4)]
)  # the reply leaves at 5.0
def test_a_message_added_once_the_reply_has_left_is_not_of_the_turn(
    at_s: float, end_s: float
) -> None:
    session = [message("I want", 4.6, 4.1, 0.4), message("to go.", at_s, 4.1, 0.9)]
    (found,) = turn_ends(call([turn()], [reply(5.3, 8.0, left_s=5.0)], session))
    assert found["end_of_turn_s"] == pytest.approx(end_s)


@pytest.mark.parametrize(("last_s", "counts"), [(4.0, False), (4.0 + MS, True)])
def test_a_reply_that_was_over_before_the_turn_was_does_not_end_it(
    last_s: float, counts: bool
) -> None:
    """It left at 2.0, long before the decision at 4.5 for the whole turn."""
    (found,) = turn_ends(
        call([turn()], [reply(2.4, last_s, left_s=2.0)], [message(SAID, 4.6, 4.1, 0.4)])
    )
    assert math.isnan(found["end_of_turn_s"]) == counts


@pytest.mark.parametrize(("left_s", "counts"), [(1.0 - MS, False), (1.0, True)])
def test_speech_from_before_the_turn_does_not_end_it(left_s: float, counts: bool) -> None:
    (found,) = turn_ends(
        call([turn()], [reply(1.5, 5.0, left_s=left_s)], [message(SAID, 4.6, 4.1, 0.4)])
    )
    assert math.isnan(found["end_of_turn_s"]) == counts


@pytest.mark.parametrize(("left_s", "counts"), [(NEXT_S - MS, True), (NEXT_S, False)])
def test_speech_of_the_next_turn_does_not_end_this_one(left_s: float, counts: bool) -> None:
    session = [message("I want", 4.6, 4.1, 0.4), message("to go.", NEXT_S - MS / 2, 8.0, 0.5)]
    found, _ = turn_ends(call(two_turns(), [reply(9.5, 10.0, left_s=left_s)], session))
    assert found["end_of_turn_s"] == pytest.approx(0.4 if counts else 4.4)


def test_the_end_of_a_turn_is_its_last_decision_and_counts_from_its_sound_at_the_agent() -> None:
    session = [message("I want", 3.0, 2.1, 0.4), message("to go.", 4.6, 4.1, 0.4)]
    (found,) = turn_ends(call([turn(released_s=4.25)], [], session, up_delay_s=0.3))
    assert found["end_of_turn_s"] == pytest.approx(4.5 - 4.3)
    assert found["handover_s"] == pytest.approx(4.5 - 4.25)


# ------------------------------------------------------------------- milestones


SCRIPT = Script()  # hears at 2.083, commits at 2.495, plays from 3.597


@pytest.mark.parametrize(
    ("at_s", "found_s"), [(2.3, 2.3), (2.495 - MS, 2.494), (2.495 + MS, 2.094)]
)
def test_the_vad_that_counts_stopped_before_the_commit(at_s: float, found_s: float) -> None:
    record = SCRIPT.record()
    record.session.append(state("listening", at_s))
    record.session.append(state("speaking", 2.4))
    assert row(record)["at_vad_stopped_s"] == pytest.approx(found_s)


@pytest.mark.parametrize(("at_s", "found_s"), [(2.495 - MS, 2.494), (2.495, 2.495), (2.496, 2.284)])
def test_the_transcript_that_counts_came_before_the_commit(at_s: float, found_s: float) -> None:
    record = SCRIPT.record()
    record.session.append({"event": "transcript", "text": "there", "t_s": at_s})
    assert row(record)["at_transcript_s"] == pytest.approx(found_s)


@pytest.mark.parametrize(
    ("decided_s", "found_s"), [(3.0, 3.0), (3.597 - MS, 3.596), (3.597 + MS, 2.495)]
)
def test_the_commit_that_counts_is_the_last_before_the_reply_left(
    decided_s: float, found_s: float
) -> None:
    record = SCRIPT.record()
    later = item(
        "user", "And?", 3.7, stopped_speaking_at=decided_s - 0.2, end_of_turn_delay=0.2,
        on_user_turn_completed_delay=0.004,
    )  # fmt: skip
    record.session.insert(0, later)
    found = row(record)
    assert found["at_committed_s"] == pytest.approx(found_s)
    assert found["at_hook_done_s"] == pytest.approx(
        found_s + (0.029 if found_s == 2.495 else 0.004)
    )


@pytest.mark.parametrize(("at_s", "counts"), [(2.51, True), (2.524, True), (2.525, False)])
def test_only_what_a_hook_says_itself_ends_the_hook(at_s: float, counts: bool) -> None:
    record = SCRIPT.record()
    record.session.append({"event": "speech", "source": "say", "t_s": at_s})
    record.session.append({"event": "speech", "source": "generate_reply", "t_s": 2.55})
    found = row(record)
    assert found["at_hook_done_s"] == pytest.approx(at_s if counts else 2.524)
    assert found["at_committed_s"] == pytest.approx(2.495)


def test_a_commit_at_the_moment_the_reply_leaves_is_before_it() -> None:
    record = call([turn()], [reply(5.3, 6.0, left_s=5.0)], [message(SAID, 5.1, 4.5, 0.5)])
    assert row(record)["at_committed_s"] == 5.0


def test_what_is_said_before_the_commit_is_decided_then() -> None:
    record = SCRIPT.record()
    record.session.append({"event": "speech", "source": "say", "t_s": 2.3})
    found = row(record)
    assert (found["at_committed_s"], found["at_hook_done_s"]) == (2.3, 2.3)
    record.session = [r for r in record.session if r["event"] != "item"]
    record.session.append({"event": "speech", "source": "say", "t_s": 2.4})
    found = row(record)
    assert (found["at_committed_s"], found["at_hook_done_s"]) == (2.4, 2.4)


@pytest.mark.parametrize(
    ("late_s", "found_s"), [(-MS, 3.591), (0.005, 3.597), (0.005 + MS, 3.592)]
)  # the script's own audio arrives at 3.592 and is played at 3.597
def test_the_audio_that_was_played_is_the_last_to_arrive_before(
    late_s: float, found_s: float
) -> None:
    record = SCRIPT.record()
    tts = {"role": Role.TTS, "one_way_s": SCRIPT.tts_s}
    at_s = 3.592 - SCRIPT.tts_s + late_s
    other = [
        Text(t_s=3.4, context="y", text="It is here. ", characters=9, **tts),
        FirstAudio(t_s=at_s, context="y", **tts),
    ]
    if late_s < 0:
        record.providers = [*record.providers[:-1], *other]  # the script's own never sounds
    else:
        record.providers += other
    found = row(record)
    assert found["at_tts_first_audio_s"] == pytest.approx(found_s)
    own = found_s == 3.592
    assert found["at_tts_text_s"] == pytest.approx(3.337 if own else 3.4 - SCRIPT.tts_s)


def test_the_text_is_that_of_the_same_utterance_at_the_same_provider() -> None:
    record = SCRIPT.record()
    text = next(e for e in record.providers if isinstance(e, Text))
    for other in (
        replace(text, t_s=text.t_s - 0.02, context="y"),
        replace(text, t_s=text.t_s - 0.01, provider="z"),
    ):
        record.providers.insert(-2, other)
    record.providers.append(replace(text, t_s=text.t_s + 0.3, text="And there."))
    assert row(record)["at_tts_text_s"] == pytest.approx(3.337)


@pytest.mark.parametrize(
    ("left_s", "chosen"), [(3.597 - MS, "b"), (3.597 + MS, "a")]
)  # when the reply left
def test_the_answer_that_was_spoken_had_begun_when_the_reply_left(
    left_s: float, chosen: str
) -> None:
    record = SCRIPT.record()
    asked_for = next(e for e in record.providers if getattr(e, "id", "") == "a")
    end = next(e for e in record.providers if isinstance(e, Completed) and e.id == "a")
    record.providers += [
        replace(asked_for, id="b", t_s=3.1, model="b"),
        FirstToken(t_s=left_s, id="b", role=Role.LLM),
        replace(end, id="b", t_s=3.7),
    ]
    assert row(record)["served_model"] == {"a": "m"}.get(chosen, chosen)


def test_an_answer_is_known_by_its_words_or_by_the_message_that_holds_them() -> None:
    def served(spoken: str, answer: str, said: str) -> str:
        record = SCRIPT.record()
        record.providers = [
            replace(e, text=spoken) if isinstance(e, Text)
            else replace(e, text=answer) if isinstance(e, Completed) and e.id == "a" else e
            for e in record.providers
        ]  # fmt: skip
        record.session[-1]["text"] = said
        return row(record)["served_model"]

    assert served("It is here. ", "It is here.", "It is here.") == "m"
    assert served("It is here, I think. ", "It is", "nothing") == "m", "a short answer"
    assert served("It is here. ", "No idea.", "It is here.") == ""
    # 24 letters must be the same, and no more
    same = "abcdefghijklmnopqrstuvwx"
    assert served(f"{same}yz", f"{same}12", "nothing") == "m"
    assert served(f"{same[:-1]}1yz", f"{same}12", "nothing") == ""
    # words of the agent's own first: the whole message tells
    assert served("One moment. ", "It is here.", "One moment. It is here.") == "m"
    assert served("One moment. ", "It is here.", "Wait. It is here.") == ""


def test_a_message_holds_an_answer_by_24_letters_or_by_all_that_was_heard() -> None:
    same = "abcdefghijklmnopqrstuvwx"
    assert holds(f"well{same}zz", f"{same}12")
    assert not holds(f"well{same[:-1]}zz", f"{same}12")
    assert holds("abc", "abcdef") and not holds("abd", "abcdef")
    assert letters("It's 4,571 – Ünï!") == "its4571ünï"


@pytest.mark.parametrize(("tool_s", "has_tools"), [(2.85 - MS, True), (2.85, False)])
def test_tools_were_asked_for_before_the_request_that_was_answered(
    tool_s: float, has_tools: bool
) -> None:
    record = SCRIPT.record()
    record.providers = [
        replace(e, t_s=tool_s) if isinstance(e, Request) and e.id == "tool" else e
        for e in record.providers
    ]
    assert ("at_tools_done_s" in row(record)) == has_tools


# ------------------------------------------------------------------- costs


LLM = {"role": Role.LLM, "one_way_s": 0.02}


def request(t_s: float, name: str = "a", **more: object) -> Request:
    return Request(
        **{"t_s": t_s, "id": name, "model": "m", "prompt_tokens": 50, "cached_tokens": 20,
           "connection_requests": 2, **LLM, **more}  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at_s", "owner"), [(1.0 - MS, None), (1.0, 0), (NEXT_S - MS, 0), (NEXT_S, 1)]
)
def test_a_request_is_charged_to_the_turn_in_which_it_came(at_s: float, owner: int | None) -> None:
    done = Completed(t_s=20.0, id="a", output_tokens=7, text="No.", **LLM)
    record = call(two_turns(), [], [], [request(at_s), done])
    for index in range(2):
        found = row(record, index)
        own = index == owner
        assert found["llm_calls"] == own
        assert found["llm_prompt_tokens"] == 50 * own
        assert found["llm_cached_tokens"] == 20 * own
        assert found["llm_completion_tokens"] == found["llm_wasted_tokens"] == 7 * own


@pytest.mark.parametrize(("nth", "cold"), [(1, True), (2, False)])
def test_a_request_is_cold_if_it_is_the_first_of_its_connection(nth: int, cold: bool) -> None:
    record = call([turn()], [], [], [request(2.0, connection_requests=nth)])
    assert row(record)["llm_cold"] == cold


@pytest.mark.parametrize(
    ("at_s", "role", "cold"),
    [(1.0 - MS, Role.TTS, False), (1.0, Role.TTS, True), (2.0, Role.STT, False)],
)
def test_a_voice_is_cold_if_its_socket_opened_in_the_turn(
    at_s: float, role: Role, cold: bool
) -> None:
    record = call([turn()], [], [], [Connected(t_s=at_s, role=role)])
    assert row(record)["tts_cold"] == cold


def test_tokens_are_wasted_unless_their_words_were_said_or_they_called_a_tool() -> None:
    def end(name: str, tokens: int, text: str = "", **more: object) -> Completed:
        return Completed(t_s=4.6, id=name, output_tokens=tokens, text=text, **LLM, **more)  # type: ignore[arg-type]

    events = [
        *(request(4.2 + i / 100, name) for i, name in enumerate("abcde")),
        end("a", 1, "It is here."),  # said, but the next one said the same and is later
        end("b", 2, "It is here."),
        end("c", 4, "No idea."),
        end("d", 8, tool_calls=({"name": "look_up"},)),
        end("e", 16),
        end("of another turn", 32, "It is here."),
    ]
    session = [message("No idea.", 4.5), item("assistant", "It is here.", 6.0)]
    found = row(call([turn()], [reply(5.0, 6.0)], session, events))
    assert found["llm_completion_tokens"] == 31
    assert found["llm_wasted_tokens"] == 1 + 4 + 16


@pytest.mark.parametrize(("at_s", "used"), [(1.0 - MS, False), (1.0, True), (NEXT_S + 1, True)])
def test_an_answer_is_said_in_a_message_from_this_turn_on(at_s: float, used: bool) -> None:
    done = Completed(t_s=4.6, id="a", output_tokens=7, text="It is here.", **LLM)
    session = [item("assistant", "It is here.", at_s)]
    record = call(two_turns(), [], session, [request(4.2), done])
    assert row(record)["llm_wasted_tokens"] == (0 if used else 7)


def test_characters_and_utterances_are_counted() -> None:
    texts = [
        Text(t_s=4.5, context="x", text="It is", characters=6),
        Text(t_s=4.6, context="x", text="here.", characters=5),
        Text(t_s=4.7, context="y", text="No.", characters=3),
        Text(t_s=NEXT_S, context="z", text="So.", characters=100),
    ]
    found = row(call(two_turns(), [], [], texts))
    assert (found["tts_characters"], found["tts_requests"]) == (14, 2)


def test_tool_calls_are_counted_by_their_names() -> None:
    session = [{"event": "tools", "t_s": t, "names": names}
               for t, names in ((4.5, ["a", "b"]), (4.6, ["a"]), (NEXT_S, ["c"]))]  # fmt: skip
    assert row(call(two_turns(), [], session))["tool_calls"] == 3


def test_every_turn_pays_for_its_own_and_the_first_for_what_was_before() -> None:
    """An STT at 0.6 dollars a minute, 0.01 a second, is fed from the start to the end at 12 s."""
    events = [
        Connected(t_s=0.1, role=Role.STT, usd_per_minute=0.6),
        Event(t_s=0.5, usd=0.001),
        Event(t_s=NEXT_S - MS, usd=0.020),
        Event(t_s=NEXT_S, usd=0.300),
        Event(t_s=NEXT_S + 1, usd=4.000),
    ]
    record = call(two_turns(), [], [], events, simulated_s=12.0)
    assert row(record)["usd"] == pytest.approx(0.021 + 0.09)
    assert row(record, 1)["usd"] == pytest.approx(4.300 + 0.03)
    assert row(record)["usd"] + row(record, 1)["usd"] == pytest.approx(4.321 + 0.12)


def test_a_turn_that_no_time_was_left_for_pays_no_negative_minute() -> None:
    events = [Connected(t_s=0.1, role=Role.STT, usd_per_minute=0.6)]
    assert row(call(two_turns(), [], [], events, simulated_s=8.0), 1)["usd"] == 0.0


def test_without_a_price_there_is_none() -> None:
    assert row(call([turn()], [], [], [Connected(t_s=0.1, role=Role.STT)]))["usd"] == 0.0


def test_the_price_of_the_socket_that_is_open_counts() -> None:
    events = [
        Connected(t_s=t, role=Role.STT, usd_per_minute=p) for t, p in ((0.1, 6.0), (0.2, 0.6))
    ]
    assert row(call([turn()], [], [], events, simulated_s=60.0))["usd"] == pytest.approx(0.6)


# ------------------------------------------------------------------- the rest of the row


def test_the_sdks_figure_is_the_first_message_that_has_one() -> None:
    session = [
        item("user", "So", 4.5, transcription_delay=0.11, e2e_latency=NAN, unknown=1.0),
        item("assistant", "Right.", 5.0, e2e_latency=0.9, llm_node_ttft=0.4),
        item("assistant", "Right.", 6.0, e2e_latency=1.9, transcription_delay=1.1),
        item("assistant", "Right.", NEXT_S, playback_latency=3.0),
    ]
    found = row(call(two_turns(), [], session))
    assert found["sdk_e2e_latency_s"] == 0.9
    assert found["sdk_transcription_delay_s"] == 0.11
    assert found["sdk_llm_node_ttft_s"] == 0.4
    assert math.isnan(found["sdk_playback_latency_s"])


@pytest.mark.parametrize(
    ("replied", "cut", "right"),
    [("Right.", False, 1.0), ("Well, RIGHT!", False, 1.0), ("Rig", False, 0.0), ("Rig", True, 1.0),
     ("Wrong.", True, 0.0), ("", False, NAN)],
)  # fmt: skip
def test_a_reply_is_right_if_it_has_the_right_answer_as_far_as_it_was_heard(
    replied: str, cut: bool, right: float
) -> None:
    session = [item("assistant", replied, 5.0, interrupted=cut)]
    found = row(call([turn()], [reply(5.0, 6.0)], session))
    assert found["reply_right"] == pytest.approx(right, nan_ok=True)


def test_what_an_agent_logs_last_counts() -> None:
    told = [{"event": "told", "t_s": t, "data": {"hit": h}} for t, h in ((4.2, 0), (4.3, 1))]
    later = {"event": "told", "t_s": NEXT_S, "data": {"hit": 2}}
    assert row(call(two_turns(), [], [*told, later]))["agent_hit"] == 1


def test_messages_are_counted_and_quoted_by_who_said_them() -> None:
    session = [message("I want", 3.0), message("to go.", 4.5), item("assistant", "Right.", 5.0)]
    found = row(call([turn()], [], session))
    assert (found["n_user_messages"], found["n_agent_messages"]) == (2, 1)
    assert (found["heard"], found["replied"]) == ("I want to go.", "Right.")
