"""The stages of a turn against what its script adds up to, with no two figures alike.

Every link has a length of its own, so a leg that is counted twice, left out or taken for another's
shows, and so does a round trip where one way is meant.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
from by_hand import MS, Script, call, reply, row, turn
from hypothesis import given
from hypothesis import strategies as st

from labkit.measure.stages import STAGES
from labkit.world.events import Connected, EagerEndOfTurn, Role, TurnResumed

PLAIN = Script()


def stages_of(script: Script) -> dict[str, float]:
    """What the stages must be. The VAD and the STT begin together: only the later one shows."""
    back_s = script.transcript + 2 * script.stt_s
    out = max(script.stt_s - script.vad, 0.0)
    final = max(script.transcript + script.stt_s - max(script.vad, script.stt_s), 0.0)
    back = max(back_s - max(script.vad, script.transcript + script.stt_s), 0.0)
    return {
        "uplink_s": script.line_s,
        "vad_silence_s": script.vad,
        "stt_network_s": out + back,
        "transcript_s": final,
        "endpointing_s": script.endpointing,
        "hook_s": script.hook,
        "tools_s": script.tools,
        "llm_network_s": 2 * script.llm_s,
        "llm_ttft_s": script.ttft,
        "first_sentence_s": script.sentence,
        "tts_network_s": 2 * script.tts_s,
        "tts_ttfb_s": script.ttfb,
        "playout_s": script.playout,
        "leading_silence_s": script.silence,
        "downlink_s": script.line_s,
    }


def check(script: Script) -> None:
    found, expected = row(script.record()), stages_of(script)
    assert found["outcome"] == "answered"
    assert {name: found[name] for name in STAGES} == pytest.approx(expected, abs=1e-9)
    assert found["response_latency_s"] == pytest.approx(script.latency_s, abs=1e-9)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


def test_every_stage_of_a_turn_whose_figures_all_differ() -> None:
    found = row(PLAIN.record())
    assert {name: round(found[name], 6) for name in STAGES} == {
        "uplink_s": 0.083,
        "vad_silence_s": 0.011,
        "stt_network_s": 0.063,  # 37 ms there, of which 11 are behind the VAD, and 37 back
        "transcript_s": 0.127,
        "endpointing_s": 0.211,
        "hook_s": 0.029,
        "tools_s": 0.307,
        "llm_network_s": 0.038,  # 19 ms each way
        "llm_ttft_s": 0.401,
        "first_sentence_s": 0.067,
        "tts_network_s": 0.106,  # 53 ms each way
        "tts_ttfb_s": 0.149,
        "playout_s": 0.005,
        "leading_silence_s": 0.173,
        "downlink_s": 0.083,
    }
    assert found["response_latency_s"] == pytest.approx(1.853)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


def test_the_milestones_of_that_turn() -> None:
    found = row(PLAIN.record())
    at = {name[3:]: round(found[name], 6) for name in found if name.startswith("at_")}
    assert math.isnan(at.pop("eager_s")) and math.isnan(at.pop("released_s"))
    assert at == {
        "caller_started_s": 1.0,
        "caller_stopped_s": 2.0,
        "heard_s": 2.083,
        "vad_stopped_s": 2.094,
        "transcript_s": 2.284,  # 2.083, 37 ms there, 127 ms at the STT, 37 ms back
        "committed_s": 2.495,
        "hook_done_s": 2.524,
        "tools_done_s": 2.831,
        "llm_request_s": 2.85,  # at the LLM
        "llm_first_token_s": 3.27,  # at the agent
        "tts_text_s": 3.337,  # leaves the agent
        "tts_first_audio_s": 3.592,
        "agent_audio_left_s": 3.597,
        "reply_heard_s": 3.853,
        "reply_over_s": 4.853,
    }


LENGTHS = st.integers(1, 2000).map(lambda n: n * MS)
PARTS = [name for name in asdict(PLAIN) if name != "stopped_s"]


@given(st.fixed_dictionaries(dict.fromkeys(PARTS, LENGTHS)), st.integers(25, 200))
def test_any_script_gives_its_own_stages(parts: dict[str, float], frames: int) -> None:
    check(Script(stopped_s=round(frames * 0.05, 6), **parts))


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_not_there_takes_no_time(name: str) -> None:
    check(replace(PLAIN, **{name: 0.0}))


@pytest.mark.parametrize(
    ("part", "moved"),
    [
        ("stt_s", {"stt_network_s": 2}),
        ("transcript", {"transcript_s": 1}),
        ("endpointing", {"endpointing_s": 1}),
        ("hook", {"hook_s": 1}),
        ("tools", {"tools_s": 1}),
        ("llm_s", {"llm_network_s": 2}),
        ("ttft", {"llm_ttft_s": 1}),
        ("sentence", {"first_sentence_s": 1}),
        ("tts_s", {"tts_network_s": 2}),
        ("ttfb", {"tts_ttfb_s": 1}),
        ("playout", {"playout_s": 1}),
        ("silence", {"leading_silence_s": 1}),
        ("line_s", {"uplink_s": 1, "downlink_s": 1}),
        ("vad", {"vad_silence_s": 1, "stt_network_s": -1}),  # it is not waited for
    ],
)
def test_a_millisecond_more_shows_in_its_own_stage_alone(part: str, moved: dict[str, int]) -> None:
    before = row(PLAIN.record())
    after = row(replace(PLAIN, **{part: getattr(PLAIN, part) + MS}).record())
    changes = {name: after[name] - before[name] for name in STAGES}
    assert changes == pytest.approx({name: moved.get(name, 0) * MS for name in STAGES}, abs=1e-9)
    grown = after["response_latency_s"] - before["response_latency_s"]
    assert grown == pytest.approx(sum(moved.values()) * MS)


@pytest.mark.parametrize(
    ("stopped_s", "heard_s"),
    [(1.95, 1.95), (1.951, 2.0), (1.999, 2.0), (2.0, 2.0), (2.0 + 1e-9, 2.0), (2.001, 2.05)],
)
def test_the_agent_hears_a_sound_when_its_frame_of_50_ms_is_full(
    stopped_s: float, heard_s: float
) -> None:
    record = PLAIN.record()
    record.turns[0].stopped_s = stopped_s
    assert row(record)["at_heard_s"] == pytest.approx(heard_s + PLAIN.line_s, abs=1e-9)


def test_a_frame_that_is_waited_for_is_uplink() -> None:
    record = PLAIN.record()
    record.turns[0].stopped_s = 1.966  # the frame is full at 2.0
    found = row(record)
    assert found["uplink_s"] == pytest.approx(0.034 + 0.083)
    assert found["downlink_s"] == pytest.approx(0.083)
    assert found["response_latency_s"] == pytest.approx(PLAIN.latency_s + 0.034)


def test_preemption_hides_what_was_done_before_the_hook_ended() -> None:
    """The request left with the transcript at 2.284 and everything after it came 547 ms earlier."""
    record = PLAIN.record()
    shift = PLAIN.endpointing + PLAIN.hook + PLAIN.tools
    asked = [e for e in record.providers if getattr(e, "id", "") != "tool"]
    record.providers = [e if e.role is Role.STT else replace(e, t_s=e.t_s - shift) for e in asked]
    (spoken,) = record.segments
    spoken.left_s -= shift
    spoken.first_voiced_s -= shift
    found = row(record)
    # at the LLM 2.303 to 2.704, of which the commit at 2.495 and the hook until 2.524 hide 221 ms
    expected = stages_of(PLAIN) | {"tools_s": 0.0, "llm_ttft_s": 0.180, "llm_network_s": 0.019}
    assert {name: found[name] for name in STAGES} == pytest.approx(expected, abs=1e-9)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("apart_s", "cold"), [(0.0, True), (0.0019, True), (0.0021, False), (0.05, False)]
)
def test_text_waited_for_a_socket_if_it_left_the_moment_it_opened(
    apart_s: float, cold: bool
) -> None:
    record = PLAIN.record()
    opened = Connected(
        t_s=3.337 - apart_s - PLAIN.tts_s, role=Role.TTS, one_way_s=PLAIN.tts_s
    )  # learnt of so long before the text left at 3.337
    record.providers = [*record.providers[:-2], opened, *record.providers[-2:]]
    found = row(record)
    waited = 0.067 - apart_s if cold else 0.0
    assert found["tts_network_s"] == pytest.approx(0.106 + waited)
    assert found["first_sentence_s"] == pytest.approx(0.067 - waited)
    assert found["at_tts_open"] == pytest.approx(3.337 - apart_s)


def test_a_socket_that_opened_after_the_text_came_is_another() -> None:
    for late_s, used in ((0.0, True), (MS, False)):
        record = PLAIN.record()
        text = record.providers[-2]
        opened = Connected(t_s=text.t_s + late_s, role=Role.TTS, one_way_s=PLAIN.tts_s)
        record.providers.append(replace(opened, t_s=text.t_s, role=Role.STT))
        assert "at_tts_open" not in row(record)
        record.providers.append(opened)
        assert ("at_tts_open" in row(record)) == used


def test_the_stt_is_as_far_away_as_any_of_its_events_says() -> None:
    record = PLAIN.record()
    record.providers.insert(0, Connected(t_s=0.05, role=Role.TTS, one_way_s=9.0))
    assert row(record)["stt_network_s"] == pytest.approx(0.063)
    record.providers = [e for e in record.providers if e.role is not Role.STT]
    found = row(record)
    assert found["stt_network_s"] == 0.0
    assert found["transcript_s"] == pytest.approx(0.127 + 0.063)


def test_an_eager_end_of_turn_counts_when_the_agent_learns_of_it_unless_taken_back() -> None:
    eager = EagerEndOfTurn(t_s=2.2, role=Role.STT, one_way_s=0.037, text="", audio_end_s=1.9)
    back = TurnResumed(t_s=2.25, role=Role.STT, one_way_s=0.037, text="", audio_end_s=1.9)
    record = PLAIN.record()
    record.providers.append(eager)
    assert row(record)["at_eager_s"] == pytest.approx(2.237)
    record.providers.append(back)
    assert math.isnan(row(record)["at_eager_s"])
    for late_s, known in ((-MS, True), (MS, False)):  # the commit is at 2.495
        record = PLAIN.record()
        record.providers.append(replace(eager, t_s=2.495 - 0.037 + late_s))
        assert (row(record)["at_eager_s"] == row(record)["at_eager_s"]) == known


def test_a_reply_without_a_model_or_a_voice_waits_where_it_is_known_to() -> None:
    """Only the audio is known: what came before it is the time of the first stage that is."""
    record = call([turn(stopped_s=2.0)], [reply(3.0, 4.0)])
    found = row(record)
    assert found["uplink_s"] == pytest.approx(0.1)
    assert found["playout_s"] == pytest.approx(0.6)  # it left at 2.7
    assert (found["leading_silence_s"], found["downlink_s"]) == pytest.approx((0.2, 0.1))
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)
