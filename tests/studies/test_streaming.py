"""Tokens into the voice: the agents' behaviour, and the arithmetic of the study."""

from __future__ import annotations

import pandas as pd
import pytest
from timed_turn import one

import labkit as lab
from labkit.engine.tables import Results
from labkit.studies import streaming

FIRST_AUDIO = "providers.cartesia.models.sonic-3.first_audio"
RATE = "providers.openai.models.gpt-4.1.tokens_per_s"


@pytest.fixture(scope="module")
def calls() -> Results:
    """A slow model, and nothing that could hide it."""
    arms = {
        "buffered": "token_streaming@agent.variant=buffered",
        "default": "vanilla",
        "streamed": "token_streaming",
        "opener": "token_streaming@agent.variant=opener",
        "short": "token_streaming@agent.variant=opener,agent.min_sentence_len=4",
        "flushed": "token_streaming@agent.variant=flushed",
    }
    # an opener has a draw of its own, so the TTS takes the same time for all that it speaks
    settings = {RATE: 15, FIRST_AUDIO: 0.15, "preemptive.enabled": False}
    return lab.sweep(lab.Experiment(arms, settings=settings, calls=1, turns=4), workers=2)


def latency(calls: Results, arm: str) -> pd.Series:
    return calls.part(arm=arm).turns.set_index("turn")["response_latency_s"]


def test_every_turn_is_answered_and_its_stages_add_up(calls: Results) -> None:
    lab.check(calls, min_turns=1)
    assert calls.turns["at_llm_first_token_s"].notna().mean() > 0.9


def test_streaming_is_the_default(calls: Results) -> None:
    assert latency(calls, "streamed").tolist() == latency(calls, "default").tolist()


def test_a_buffer_waits_for_the_rest_of_the_reply(calls: Results) -> None:
    late = latency(calls, "buffered") - latency(calls, "default")
    assert late.min() > -0.001
    assert late.max() > 0.1


def test_an_opener_waits_for_a_sentence_unless_it_may_be_short(calls: Results) -> None:
    plain, short, flushed = (latency(calls, a) for a in ("opener", "short", "flushed"))
    default = latency(calls, "default")
    assert (plain - default).min() > -0.08  # a few characters more reach the 20 a little sooner
    assert (default - short).max() > 0.3
    assert (default - flushed).min() > 0.1
    assert (short - flushed).min() > -0.001


def test_the_voice_runs_dry_after_an_opener(calls: Results) -> None:
    gaps = {a: calls.part(arm=a).turns["reply_gap_s"] for a in ("default", "flushed")}
    assert gaps["default"].max() < 0.5
    assert gaps["flushed"].max() > 0.5


def test_a_flush_is_a_request_of_its_own(calls: Results) -> None:
    assert (calls.part(arm="short").turns["tts_requests"] == 1).all()
    assert (calls.part(arm="flushed").turns["tts_requests"] == 2).all()


def test_an_agents_own_words_are_no_waste(calls: Results) -> None:
    turns = calls.part(arm="flushed").turns
    assert turns["replied"].str.startswith("Okay.").all()
    # one who takes the silence after the opener for the end of the reply hears no more of it
    whole = turns[turns["replied"].str.strip() != "Okay."]
    assert len(whole) >= 3
    assert (whole["llm_wasted_tokens"] == 0).all()
    assert (whole["served_model"] == "gpt-4.1").all()
    # where the turn was committed early, the default's answer is to the fragment, too
    heard = calls.part(arm="default").turns.set_index("turn")["reply_right"] == 1
    assert heard.sum() >= 3
    assert (whole.loc[whole["turn"].map(heard), "reply_right"] == 1).all()


def test_the_bound_is_the_sentence_where_nothing_hides_it() -> None:
    turns = pd.DataFrame([one("off", 1.2)])
    off = streaming.bound(turns, "off", ["delay"], "off")
    assert off["saved_s"].tolist() == [pytest.approx(0.1)]
    # beside the commit the sentence costs nothing: model and sentence end as it comes
    on = streaming.bound(turns, "off", ["delay"], "llm")
    assert on["saved_s"].tolist() == [pytest.approx(0.0)]


def test_savings_stand_beside_the_bound() -> None:
    rows = [
        one(arm, 1.2 - saved, **{"preemptive.enabled": on})
        for on in (False, True)
        for arm, saved in (("default", 0.0), ("flushed", 0.1))
    ]
    points = streaming.against(pd.DataFrame(rows), "default", "delay")
    found = points.set_index(["preemption", "arm"])["saved_s"]
    assert found["preemption off", "flushed"] == pytest.approx(0.1)
    assert found["preemption off", streaming.BOUND] == pytest.approx(0.1)
    assert found["preemption on", streaming.BOUND] == pytest.approx(0.0)


def test_long_silences_are_counted() -> None:
    turns = pd.DataFrame(
        {
            "arm": "a",
            "call": [0, 1, 2],
            "reply_gap_s": [0.1, 0.7, float("nan")],
            "tts_requests": [1, 2, 0],
            "tts_characters": [10, 20, 0],
        }
    )
    table = streaming.gaps(turns, 0.5)
    assert table.loc["a", "the longest of all (ms)"] == "700"
    assert table.loc["a", "replies with one over 500 ms"].startswith("50.0%")
