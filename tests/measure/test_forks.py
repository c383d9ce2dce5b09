"""What the logs tell of a fork only between the lines, each known from its script."""

from __future__ import annotations

from dataclasses import replace

import pytest
from by_hand import Script, item, row

from labkit.tunnel.record import CallRecord
from labkit.world.events import Cancelled, Completed, FirstToken, Request, Role, Text

EARLY = Script(
    uses_tool=False, early=True
)  # transcript at 2.284, commit at 2.495, hook until 2.524
TIE = replace(EARLY, vad=0.1, detector=0.12, endpointing=0.15, hook=0.0)
"""The transcript is what the commit waits for, so the early request leaves at the commit."""


def changed(record: CallRecord, kind: type, **more: object) -> CallRecord:
    record.providers = [
        replace(e, **more) if isinstance(e, kind) else e  # type: ignore[type-var]
        for e in record.providers
    ]
    return record


def test_a_cold_request_was_begun_two_round_trips_before_it_left() -> None:
    slow = replace(EARLY, llm_s=0.08, hook=0.0)  # it leaves at 2.604, after the commit
    record = changed(slow.record(), Request, connection_requests=1)
    for kind in (Request, FirstToken, Completed, Text):
        record.providers = [
            replace(e, t_s=e.t_s + 0.32) if isinstance(e, kind) else e for e in record.providers
        ]
    found = row(record)
    assert found["waited_for"] == "reply"
    assert found["length_llm_network_s"] == pytest.approx(0.16 + 0.32)
    assert row(changed(record, Request, connection_requests=2))["waited_for"] == "both"


def test_a_commit_that_waits_for_the_transcript_does_not_delay_the_early_reply() -> None:
    found = row(TIE.record())
    assert found["waited_for"] == "reply"
    assert found["branch_slack_s"] == pytest.approx(TIE.at["text"] - TIE.at["done"])


def test_after_an_earlier_commit_the_reply_begins_at_the_later_one() -> None:
    record = TIE.record()
    record.session.insert(0, item("user", "Where", 2.2, stopped_speaking_at=2.0,
                                  end_of_turn_delay=0.2))  # fmt: skip
    assert row(record)["waited_for"] == "both"


def test_a_reply_asked_for_again_at_the_commit_was_not_early() -> None:
    record = TIE.record()
    asked = next(e for e in record.providers if isinstance(e, Request))
    gone = Cancelled(t_s=asked.t_s + 0.01, id="gone", output_tokens=0, role=asked.role)
    record.providers = [replace(asked, id="gone"), *record.providers, gone]
    assert row(record)["waited_for"] == "both"


def test_audio_that_runs_dry_before_its_first_sound_is_the_networks_time() -> None:
    record = EARLY.record()
    record.segments[0].starved_s = 0.1
    found = row(record)
    assert found["tts_network_s"] == pytest.approx(2 * EARLY.tts_s + 0.1)
    assert found["leading_silence_s"] == pytest.approx(EARLY.silence - 0.1)


def test_a_sentence_is_complete_when_the_next_one_has_begun() -> None:
    late = replace(EARLY, hook=0.9)  # the sentence is there long before the hook is done
    record = changed(late.record(), Completed, text="It is here. And on.")
    pace = ((0.0, 2), (0.02, 11), (0.03, 12), (0.05, 13), (0.09, 19))
    found = row(changed(record, FirstToken, pace=pace))
    assert found["length_first_sentence_s"] == pytest.approx(0.05)
    assert found["slack_first_sentence_s"] == pytest.approx(
        late.at["done"] - late.at["token"] - 0.05
    )


def test_a_delay_that_the_sdk_counts_from_the_transcript_has_the_transcripts_time_before_it() -> (
    None
):
    record = EARLY.record()
    heard = next(r for r in record.session if r["event"] == "transcript")
    heard["rules"] |= {"ended_by": "stt", "delays_s": [0.211]}
    said = next(r for r in record.session if r.get("role") == "user")
    said["metrics"] |= {"stopped_speaking_at": 2.284, "end_of_turn_delay": 0.211}
    found = row(record)
    assert found["length_endpointing_s"] == pytest.approx(0.211)
    assert found["slack_transcript_s"] == pytest.approx(0), "the reply waits for it as well"
    assert found["slack_vad_silence_s"] != found["slack_vad_silence_s"], "the VAD is not asked"


def test_a_turn_that_the_hook_answers_itself_waited_for_the_delay_before_its_words() -> None:
    """StopResponse leaves no user message: the commit is known by the words alone, 2 s later."""
    record = replace(EARLY, early=False).record()
    late_s = next(e.sent_s for e in record.providers if isinstance(e, Text))
    record.session = [r for r in record.session if r["event"] != "item"]
    record.providers = [e for e in record.providers if e.role is not Role.LLM]
    record.session.append({"event": "speech", "source": "say", "t_s": late_s})
    found = row(record)
    assert found["residual_s"] == pytest.approx(0, abs=1e-9)
    assert found["endpointing_s"] > 0.2
    assert found["at_committed_s"] == found["at_delay_over_s"] == pytest.approx(late_s)
