"""The stages of a turn against what its script adds up to, with no two figures alike.

Every link has a length of its own, so a leg that is counted twice, left out or taken for another's
shows, and so does a round trip where one way is meant. What a part's slack must be is found by
making that part longer in the script.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from by_hand import MS, NAN, Script, call, reply, row, turn
from hypothesis import assume, given
from hypothesis import strategies as st

from labkit.measure.stages import STAGES
from labkit.world.events import Connected, EagerEndOfTurn, Role, TurnResumed

PLAIN = Script(
    vad=0.231, detector=0.283, endpointing=0.311, call_ttft=0.241, tools=0.307, uses_tool=False
)
EARLY = replace(PLAIN, early=True)
PARTS = {
    "up_s": ("uplink_s",),
    "down_s": ("downlink_s",),
    "stt_s": ("stt_network_s",),
    "llm_s": ("llm_network_s",),
    "tts_s": ("tts_network_s",),
    "vad": ("vad_silence_s",),
    "transcript": ("transcript_s",),
    "detector": ("turn_detector_s",),
    "endpointing": ("endpointing_s",),
    "hook": ("hook_s",),
    "call_ttft": ("llm_ttft_s",),
    "call_tokens": ("first_sentence_s",),
    "tools": ("tools_s",),
    "ttft": ("llm_ttft_s",),
    "sentence": ("first_sentence_s",),
    "ttfb": ("tts_ttfb_s",),
    "playout": ("playout_s",),
    "silence": ("leading_silence_s",),
}
"""The parts of a script, and the stages that they lengthen."""
TWICE = ("stt_s", "llm_s", "tts_s")


def lengths_of(script: Script) -> dict[str, float]:
    """How long each stage takes, waited for or not."""
    tool = script.uses_tool
    return {
        "uplink_s": script.up_s,
        "vad_silence_s": script.vad,
        "stt_network_s": 2 * script.stt_s,
        "eager_s": 0.0,
        "transcript_s": script.transcript,
        "turn_detector_s": script.detector,
        "endpointing_s": script.endpointing,
        "hook_s": script.hook,
        "tools_s": script.tools if tool else 0.0,
        "llm_network_s": (4 if tool else 2) * script.llm_s,
        "llm_ttft_s": script.ttft + (script.call_ttft if tool else 0.0),
        "first_sentence_s": script.sentence + (script.call_tokens if tool else 0.0),
        "tts_network_s": 2 * script.tts_s,
        "tts_ttfb_s": script.ttfb,
        "playout_s": script.playout,
        "leading_silence_s": script.silence,
        "downlink_s": script.down_s,
    }


def read(found: dict[str, Any], kind: str = "") -> dict[str, float]:
    return {name: found[f"{kind}{name}"] for name in STAGES}


def check(script: Script) -> dict[str, Any]:
    """What holds for any script."""
    found = row(script.record())
    assert found["outcome"] == "answered"
    assert read(found, "length_") == pytest.approx(lengths_of(script), abs=1e-9)
    assert found["response_latency_s"] == pytest.approx(script.latency_s, abs=1e-9)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)
    for name in STAGES:
        slack_s, path_s = found[f"slack_{name}"], found[name]
        assert 0 <= path_s <= found[f"length_{name}"] + 1e-9
        assert not slack_s > 1e-9 or path_s == 0, "what has slack was not waited for"
        assert 0 <= found[f"drag_{name}"] <= path_s + 1e-9, "a stage costs at most its length"
    return found


def test_every_stage_of_a_turn_without_preemption() -> None:
    """The commit waits for the endpointing delay, at 2.394, and everything else for the commit."""
    found = check(PLAIN)
    assert {name: round(s, 6) for name, s in read(found).items() if s} == {
        "uplink_s": 0.083,
        "endpointing_s": 0.311,
        "hook_s": 0.029,
        "llm_network_s": 0.038,  # 19 ms each way
        "llm_ttft_s": 0.401,
        "first_sentence_s": 0.067,
        "tts_network_s": 0.106,  # 53 ms each way
        "tts_ttfb_s": 0.149,
        "playout_s": 0.005,
        "leading_silence_s": 0.173,
        "downlink_s": 0.097,
    }
    assert found["response_latency_s"] == pytest.approx(1.459)
    slacks = {n: round(s, 6) for n, s in read(found, "slack_").items() if s > 0}
    assert slacks == {
        "vad_silence_s": 0.080,  # over at 2.314
        "stt_network_s": 0.110,  # the transcript came at 2.284
        "transcript_s": 0.110,
        "turn_detector_s": 0.028,  # at 2.366
    }
    assert found["drag_endpointing_s"] == pytest.approx(0.028)  # then the detector is waited for
    assert found["drag_hook_s"] == pytest.approx(0.029)
    assert (found["waited_for"], found["slack_eager_s"]) == (
        "both",
        pytest.approx(NAN, nan_ok=True),
    )
    assert math.isnan(found["branch_slack_s"])


def test_every_stage_of_a_turn_that_waits_for_the_early_reply() -> None:
    """The LLM was asked at 2.284, so the sentence was there at 2.790; the commit ended at 2.423."""
    found = check(EARLY)
    assert {name: round(s, 6) for name, s in read(found).items() if s} == {
        "uplink_s": 0.083,
        "stt_network_s": 0.074,
        "transcript_s": 0.127,
        "llm_network_s": 0.038,
        "llm_ttft_s": 0.401,
        "first_sentence_s": 0.067,
        "tts_network_s": 0.106,
        "tts_ttfb_s": 0.149,
        "playout_s": 0.005,
        "leading_silence_s": 0.173,
        "downlink_s": 0.097,
    }
    assert found["waited_for"] == "reply"
    assert found["branch_slack_s"] == pytest.approx(0.367)
    assert found["slack_hook_s"] == pytest.approx(0.367)
    assert found["slack_endpointing_s"] == pytest.approx(0.367)
    assert found["slack_turn_detector_s"] == pytest.approx(0.367 + 0.028)
    assert found["drag_llm_ttft_s"] == pytest.approx(0.367)  # of 401; then the commit is waited for
    assert found["drag_transcript_s"] == pytest.approx(0.127)


def test_a_hook_costs_what_of_it_is_waited_for() -> None:
    """Of 400 ms, 367 would have passed anyway."""
    found = check(replace(EARLY, hook=0.429))
    assert found["waited_for"] == "commit"
    assert found["branch_slack_s"] == pytest.approx(0.033)
    assert found["slack_llm_ttft_s"] == found["slack_first_sentence_s"] == pytest.approx(0.033)
    assert (found["length_hook_s"], found["slack_hook_s"]) == (pytest.approx(0.429), 0.0)
    assert found["drag_hook_s"] == pytest.approx(0.033)
    assert found["llm_ttft_s"] == 0.0 and found["length_llm_ttft_s"] == pytest.approx(0.401)
    assert found["slack_transcript_s"] == pytest.approx(0.033), "the smaller of two"


def test_with_early_speech_the_reply_waits_for_the_commit_before_it_is_played() -> None:
    script = replace(EARLY, tts_early=True, hook=0.729)
    found = check(script)
    assert found["waited_for"] == "commit"
    assert found["branch_slack_s"] == pytest.approx(script.at["done"] - script.at["audio"])
    assert found["slack_tts_ttfb_s"] == found["slack_llm_ttft_s"] == found["branch_slack_s"]
    assert found["tts_network_s"] == found["tts_ttfb_s"] == 0.0
    assert check(replace(script, hook=0.029))["waited_for"] == "reply"


def test_a_tool_runs_when_it_was_called_and_the_turn_is_committed() -> None:
    """An early call at 2.622 waits for the hook until 2.822; then everything is in a row."""
    script = replace(EARLY, uses_tool=True, hook=0.428)
    found = check(script)
    assert found["waited_for"] == "commit"
    assert found["branch_slack_s"] == pytest.approx(0.2)
    assert found["tools_s"] == pytest.approx(0.307)
    assert found["llm_ttft_s"] == pytest.approx(0.401), "the second request's"
    assert found["length_llm_ttft_s"] == pytest.approx(0.401 + 0.241)
    assert (found["slack_llm_ttft_s"], found["drag_llm_ttft_s"]) == (0.0, pytest.approx(0.401))
    late = check(replace(script, hook=0.029))
    assert (late["waited_for"], late["branch_slack_s"]) == ("reply", pytest.approx(0.199))


def test_the_milestones_of_that_turn() -> None:
    found = row(replace(PLAIN, uses_tool=True).record())
    at = {name[3:]: round(found[name], 6) for name in found if name.startswith("at_")}
    assert math.isnan(at.pop("eager_s")) and math.isnan(at.pop("released_s"))
    assert at == {
        "caller_started_s": 1.0,
        "caller_stopped_s": 2.0,
        "heard_s": 2.083,
        "vad_stopped_s": 2.314,
        "transcript_s": 2.284,  # 2.083, 37 ms there, 127 ms at the STT, 37 ms back
        "detector_s": 2.366,
        "delay_over_s": 2.394,
        "committed_s": 2.394,
        "hook_done_s": 2.423,
        "tools_done_s": 3.068,  # 338 ms to the call, which runs for 307
        "llm_request_s": 3.087,  # at the LLM
        "llm_first_token_s": 3.507,  # at the agent
        "sentence_s": 3.574,
        "tts_text_s": 3.574,  # leaves the agent
        "tts_first_audio_s": 3.829,
        "agent_audio_left_s": 3.834,
        "reply_heard_s": 4.104,
        "reply_over_s": 5.104,
    }


LENGTHS = st.integers(1, 2000).map(lambda n: n * MS)
FLAGS = st.fixed_dictionaries({"early": st.booleans(), "uses_tool": st.booleans()})
SCRIPTS = st.builds(
    lambda parts, flags, tts_early, frames: Script(
        stopped_s=round(frames * 0.05, 6), tts_early=tts_early and flags["early"], **parts, **flags
    ),
    st.fixed_dictionaries(dict.fromkeys(PARTS, LENGTHS)), FLAGS, st.booleans(),
    st.integers(25, 200),
)  # fmt: skip
SERIAL = [name for name in PARTS if name not in ("call_ttft", "call_tokens")]


@given(SCRIPTS)
def test_any_script_gives_its_own_stages(script: Script) -> None:
    check(script)


@given(SCRIPTS, st.sampled_from(SERIAL), LENGTHS)
def test_a_longer_part_moves_the_latency_by_what_exceeds_its_slack(
    script: Script, part: str, more_s: float
) -> None:
    before = row(script.record())
    longer = replace(script, **{part: getattr(script, part) + more_s})
    after = row(longer.record())
    grown_s = {n: after[f"length_{n}"] - before[f"length_{n}"] for n in STAGES}
    uses = {n: g for n, g in grown_s.items() if abs(g) > 1e-9}
    assert set(uses) <= set(PARTS[part])
    slack_s = min((before[f"slack_{n}"] for n in uses), default=0.0)
    # of an early tool call's two requests only the second has no slack
    split = part == "llm_s" and script.uses_tool and script.early
    assume(not split)
    expected_s = max(sum(uses.values()) - slack_s, 0.0)
    moved_s = after["response_latency_s"] - before["response_latency_s"]
    assert moved_s == pytest.approx(longer.latency_s - script.latency_s, abs=1e-9)
    assert moved_s == pytest.approx(expected_s, abs=1e-9)
    for name, more_s in uses.items():
        left_s = max(before[f"slack_{name}"] - more_s, 0.0)
        assert after[f"slack_{name}"] == pytest.approx(left_s, abs=1e-9)
        assert after[f"drag_{name}"] >= moved_s - 1e-9 or len(uses) > 1


@given(SCRIPTS, st.sampled_from(SERIAL))
def test_a_part_that_took_no_time_would_have_saved_its_drag(script: Script, part: str) -> None:
    found = row(script.record())
    if len(PARTS[part]) > 1 or (script.uses_tool and part in ("ttft", "sentence")):
        return  # the part is not the whole stage
    saved_s = script.latency_s - replace(script, **{part: 0.0}).latency_s
    assert found[f"drag_{PARTS[part][0]}"] == pytest.approx(saved_s, abs=1e-9)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_not_there_takes_no_time(name: str, early: bool) -> None:
    check(replace(PLAIN, early=early, **{name: 0.0}))


@pytest.mark.parametrize(
    ("stopped_s", "heard_s"),
    [(1.95, 1.95), (1.951, 2.0), (1.999, 2.0), (2.0, 2.0), (2.0 + 1e-9, 2.0), (2.001, 2.05)],
)
def test_the_agent_hears_a_sound_when_its_frame_of_50_ms_is_full(
    stopped_s: float, heard_s: float
) -> None:
    record = PLAIN.record()
    record.turns[0].stopped_s = stopped_s
    assert row(record)["at_heard_s"] == pytest.approx(heard_s + PLAIN.up_s, abs=1e-9)


def test_a_frame_that_is_waited_for_is_uplink() -> None:
    record = PLAIN.record()
    record.turns[0].stopped_s = 1.966  # the frame is full at 2.0
    found = row(record)
    assert found["uplink_s"] == pytest.approx(0.034 + 0.083)
    assert found["downlink_s"] == pytest.approx(0.097)
    assert found["response_latency_s"] == pytest.approx(PLAIN.latency_s + 0.034)


@pytest.mark.parametrize(
    ("apart_s", "cold"), [(0.0, True), (0.0019, True), (0.0021, False), (0.05, False)]
)
def test_text_waited_for_a_socket_if_it_left_the_moment_it_opened(
    apart_s: float, cold: bool
) -> None:
    """The sentence was there at 2.929, 67 ms after the first token, and left 40 ms later."""
    record = PLAIN.record()
    opened = Connected(t_s=2.969 - apart_s - PLAIN.tts_s, role=Role.TTS, one_way_s=PLAIN.tts_s)
    *before, text, audio = record.providers
    later = (replace(e, t_s=e.t_s + 0.04) for e in (text, audio))
    record.providers = [*before, opened, *later]
    (spoken,) = record.segments
    spoken.left_s += 0.04
    spoken.first_voiced_s += 0.04
    found = row(record)
    assert found["tts_network_s"] == pytest.approx(0.106 + (0.107 if cold else 0.0))
    assert found["first_sentence_s"] == pytest.approx(0.0 if cold else 0.107)
    assert found["slack_first_sentence_s"] == pytest.approx(0.04 - apart_s if cold else 0.0)
    assert found["at_tts_open"] == pytest.approx(2.969 - apart_s)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


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
    assert row(record)["length_stt_network_s"] == pytest.approx(0.074)
    record.providers = [e for e in record.providers if e.role is not Role.STT]
    found = row(record)
    assert found["length_stt_network_s"] == 0.0
    assert found["length_transcript_s"] == pytest.approx(0.127 + 0.074)


def test_an_eager_end_of_turn_counts_when_the_agent_learns_of_it_unless_taken_back() -> None:
    eager = EagerEndOfTurn(t_s=2.2, role=Role.STT, one_way_s=0.037, text="", audio_end_s=1.9)
    back = TurnResumed(t_s=2.25, role=Role.STT, one_way_s=0.037, text="", audio_end_s=1.9)
    record = PLAIN.record()
    record.providers.append(eager)
    assert row(record)["at_eager_s"] == pytest.approx(2.237)
    record.providers.append(back)
    assert math.isnan(row(record)["at_eager_s"])
    for late_s, known in ((-MS, True), (MS, False)):  # the commit is at 2.394
        record = PLAIN.record()
        record.providers.append(replace(eager, t_s=2.394 - 0.037 + late_s))
        assert (row(record)["at_eager_s"] == row(record)["at_eager_s"]) == known


def test_a_reply_without_a_model_or_a_voice_waits_where_it_is_known_to() -> None:
    """Only the audio is known: what came before it is the time of the first stage that is."""
    record = call([turn(stopped_s=2.0)], [reply(3.0, 4.0)])
    found = row(record)
    assert found["uplink_s"] == pytest.approx(0.1)
    assert found["playout_s"] == pytest.approx(0.6)  # it left at 2.7
    assert (found["leading_silence_s"], found["downlink_s"]) == pytest.approx((0.2, 0.1))
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)
