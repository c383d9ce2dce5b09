"""Milestones and stages from a call written by hand, with the arithmetic beside it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from by_hand import call, item, row, state, turn

from labkit.measure.stages import STAGES
from labkit.tunnel.record import CallRecord, ReplySegment
from labkit.world.events import (
    Cancelled,
    Completed,
    Connected,
    Event,
    FirstAudio,
    FirstToken,
    Request,
    Role,
    Text,
)

LINE = 0.08
ONE_WAY = 0.015


def record() -> CallRecord:
    """One turn: the caller stops at 2.00; the LLM path is critical, everything is warm."""
    said = turn(text="Where is it?", right_reply="It is here.", stopped_s=2.0)
    session = [
        # heard at 2.00 + 0.08; the VAD wants 0.25 of silence
        state("listening", 2.33),
        {"event": "transcript", "text": "Where is it?", "t_s": 2.20},
        # the SDK thinks speech ended at 2.07 and commits 0.33 later, at 2.40; the hook takes 0.02
        item("user", "Where is it?", 2.42, stopped_speaking_at=2.07, end_of_turn_delay=0.33,
             on_user_turn_completed_delay=0.02),
        item("assistant", "It is here.", 4.0, e2e_latency=0.93),
    ]  # fmt: skip
    llm, tts = ({"role": role, "one_way_s": ONE_WAY} for role in (Role.LLM, Role.TTS))
    providers = [
        Connected(t_s=0.1, role=Role.STT, one_way_s=ONE_WAY),
        Request(t_s=2.435, id="a", model="m", prompt_tokens=50, cached_tokens=0,
                connection_requests=2, **llm),
        FirstToken(t_s=2.735, id="a", **llm),
        Completed(t_s=2.80, id="a", output_tokens=5, text="It is here.", usd=0.001, **llm),
        # the sentence leaves the agent at 2.80, arrives at 2.815
        Text(t_s=2.815, context="x", text="It is here. ", characters=12, **tts),
        FirstAudio(t_s=2.985, context="x", **tts),
    ]  # fmt: skip
    # first audio reaches the agent at 3.00 and plays at once; 0.2 of it is silence
    segment = ReplySegment(3.0, 3.28, 4.0, False)
    return call(
        [said], [segment], session, providers, up_delay_s=LINE, down_delay_s=LINE, simulated_s=6.0
    )


def later(event: Event, by_s: float, **change) -> Event:
    return replace(event, t_s=event.t_s + by_s, **change)


def test_the_stages_of_a_plain_turn():
    found = row(record())
    assert found["outcome"] == "answered"
    assert found["response_latency_s"] == pytest.approx(1.28)
    expected = {
        "uplink_s": 0.08,
        "endpointing_s": 0.32,  # 2.08 to 2.40; the VAD waited until 2.33
        "hook_s": 0.02,
        "llm_network_s": 2 * ONE_WAY,  # 2.42 to 2.435, and back
        "llm_ttft_s": 0.30,
        "first_sentence_s": 0.05,  # 2.75 to 2.80
        "tts_network_s": 2 * ONE_WAY,
        "tts_ttfb_s": 0.17,
        "leading_silence_s": 0.20,
        "downlink_s": 0.08,
    }
    for name in STAGES:
        assert found[name] == pytest.approx(expected.get(name, 0.0), abs=1e-9), name
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


def test_the_way_to_the_llm_that_answered_counts():
    both = record()
    asked = [e for e in both.providers if e.role is Role.LLM]
    # another LLM was asked as well, said something else, and is ten times as far away
    far = [
        replace(e, id="other", provider="other", one_way_s=0.15, t_s=e.t_s + 0.01)
        for e in asked[:2]
    ]
    end = replace(asked[2], id="other", provider="other", text="No idea.", t_s=2.79)
    both.providers = [*both.providers, *far, end]
    found = row(both)
    assert found["llm_network_s"] == pytest.approx(2 * ONE_WAY)
    assert (found["llm_calls"], found["llm_wasted_tokens"]) == (2, 5)


def test_an_early_reply_is_waited_for_from_its_transcript_on():
    early = record()
    # the LLM was asked at 2.20, when the final came, and the sentence was there at 2.58
    early.providers = [later(e, -0.22) for e in early.providers]
    early.segments[0] = ReplySegment(2.78, 3.06, 4.0, False)
    found = row(early)
    assert (found["waited_for"], found["branch_slack_s"]) == ("reply", pytest.approx(2.58 - 2.42))
    assert found["llm_network_s"] == pytest.approx(2 * ONE_WAY)
    assert found["llm_ttft_s"] == pytest.approx(0.30)
    assert found["transcript_s"] == pytest.approx(0.12 - 2 * ONE_WAY)
    assert found["endpointing_s"] == found["hook_s"] == 0.0
    assert found["length_endpointing_s"] == pytest.approx(0.32)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


def test_a_reply_begun_by_a_false_endpoint_did_not_wait_for_these_stages():
    goes_on = record()
    goes_on.turns[0].stopped_s = 3.22  # the commit was at 2.40, and the reply is heard at 3.28
    found = row(goes_on)
    assert found["outcome"] == "answered"
    assert found["response_latency_s"] == pytest.approx(0.06)
    assert math.isnan(found["downlink_s"]) and math.isnan(found["residual_s"])
    assert found["waited_for"] == ""


def test_a_commit_without_times_of_its_own_was_before_its_hook():
    """The SDK forgets when speech ended if a transcript comes after the commit."""
    bare = record()
    bare.session[2]["metrics"] = {"on_user_turn_completed_delay": 0.02}
    assert row(bare)["at_committed_s"] == pytest.approx(2.40)


def test_a_milestone_of_the_wrong_request_shows_in_the_residual():
    wrong = record()
    wrong.providers[5] = later(
        wrong.providers[5], 0.005
    )  # 2.99: would arrive at 3.005, after it was played at 3.00
    wrong.segments[0] = ReplySegment(3.0, 3.01, 4.0, False)
    wrong.up_delay_s = wrong.down_delay_s = 0.0
    assert abs(row(wrong)["residual_s"]) < 0.005
    wrong.session[2]["metrics"]["end_of_turn_delay"] = 0.92  # "committed" at 2.99
    wrong.session[2]["metrics"]["on_user_turn_completed_delay"] = 0.5
    assert row(wrong)["residual_s"] < -0.4


def test_a_cold_socket_is_the_networks_time():
    cold = record()
    # the socket opened at 2.885 at the provider, so the agent could send from 2.90
    opened = Connected(t_s=2.885, role=Role.TTS, one_way_s=ONE_WAY)
    *before, text, audio = cold.providers
    cold.providers = [*before, opened, later(text, 0.1), later(audio, 0.1)]
    cold.segments[0] = ReplySegment(3.10, 3.38, 4.0, False)
    found = row(cold)
    assert found["first_sentence_s"] == pytest.approx(0.0)
    assert found["tts_network_s"] == pytest.approx(2.90 - 2.75 + 2 * ONE_WAY)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)


def test_speaking_before_the_caller_has_finished_is_premature():
    early = record()
    early.turns[0].stopped_s = 3.5
    found = row(early)
    assert found["outcome"] == "premature"
    for name in ("response_latency_s", "residual_s", "uplink_s"):
        assert math.isnan(found[name]), "an outcome, not a negative latency"
    assert found["at_reply_heard_s"] == pytest.approx(3.28)


def test_no_reply_is_missed_and_a_dead_provider_is_failed():
    silent = record()
    silent.segments = []
    assert row(silent)["outcome"] == "missed"
    assert math.isnan(row(silent)["response_latency_s"])
    silent.session.append({"event": "error", "t_s": 2.5, "recoverable": True})
    assert row(silent)["outcome"] == "missed"
    silent.session.append({"event": "error", "t_s": 2.6, "recoverable": False})
    assert row(silent)["outcome"] == "failed"


def test_a_reply_that_is_cut_off_is_interrupted():
    cut = record()
    cut.segments[0].interrupted = True
    assert row(cut)["outcome"] == "interrupted"


def test_speech_that_was_under_way_is_no_reply():
    talking = record()
    talking.segments.insert(0, ReplySegment(0.5, 0.6, 1.4, True))
    assert row(talking)["response_latency_s"] == pytest.approx(1.28)


def test_discarded_speculation_is_wasted():
    wasteful = record()
    extra = [later(e, -0.3, id="early") for e in wasteful.providers[1:3]]
    cancelled = Cancelled(t_s=2.45, role=Role.LLM, id="early", output_tokens=3, usd=0.0005)
    wasteful.providers = [*extra, cancelled, *wasteful.providers]
    found = row(wasteful)
    assert (found["llm_calls"], found["llm_wasted_tokens"]) == (2, 3)
    assert found["usd"] == pytest.approx(0.0015)
    assert row(record())["llm_wasted_tokens"] == 0


def test_the_sdks_figure_is_kept_beside():
    assert row(record())["sdk_e2e_latency_s"] == pytest.approx(0.93)
