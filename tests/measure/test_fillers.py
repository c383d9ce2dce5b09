"""A filler is the first sound, the answer comes later, and neither is the hook's."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from by_hand import call, message, reply, row, turn

from labkit.engine.tables import Results
from labkit.evidence.summary import metrics
from labkit.world.clips import Word
from labkit.world.events import (
    AudioDone,
    Completed,
    EventLog,
    FirstAudio,
    FirstToken,
    Request,
    Role,
    Text,
    Voiced,
)

FILLER, ANSWER = "One moment please.", "It is on its way."


def timed(text: str) -> tuple[Word, ...]:
    """The words of a text, one every 0.2 s, after 0.2 s of silence."""
    return tuple(Word(w, 0.2 * n, 0.2 * n + 0.2) for n, w in enumerate(text.split(), 1))


def record(answered: bool = True):
    """Said at 4.0 s; decided on at 4.5; a tool called at 5.0 says a filler at 5.1, heard at 5.7."""
    log = EventLog()

    def llm(t_s, event):
        log.add(event, t_s, Role.LLM, "llm")

    def tts(t_s, event):
        log.add(event, t_s, Role.TTS, "tts")

    for n, (t_s, text) in enumerate(((4.54, ""), (8.0, ANSWER))[: 1 + answered]):
        name = {"id": f"r{n}", "model": "m"}
        llm(t_s, Request(**name, prompt_tokens=1, cached_tokens=0, last_user="", stream=True,
                         request_role="reply", connection_requests=2, kind="", dialogue="",
                         tools=("t",), service_tier=""))  # fmt: skip
        llm(t_s + 0.3, FirstToken(id=f"r{n}", tokens=1, pace=()))
        calls = () if text else ({"name": "t", "arguments": {}},)
        llm(t_s + 0.4, Completed(id=f"r{n}", output_tokens=1, text=text, tool_calls=calls))
    for context, t_s, text in (("a", 5.1, FILLER), ("b", 8.5, ANSWER))[: 1 + answered]:
        tts(t_s, Text(context=context, text=text, characters=1))
        tts(t_s + 0.2, Voiced(context=context, words=timed(text)))
        tts(t_s + 0.2, FirstAudio(context=context))
    said = {"event": "speech", "source": "say", "t_s": 5.1, "id": "s"}
    segments = [
        reply(5.7, 7.0, runs=((0.0, 5.5), (1.5, 7.0))),
        reply(9.1, 10.0, runs=((0.0, 8.9), (1.1, 10.0))),
    ][: 1 + answered]
    plays = {"event": "plays", "t_s": segments[0].left_s, "id": "s"}
    session = [message("Hi.", 4.5, 4.0, 0.5), said, plays]
    return call([turn()], segments, session, log.recorded(0.0, {"llm": 0.0, "tts": 0.0}))


def test_the_answer_is_heard_after_the_filler() -> None:
    found = row(record())
    assert found["response_latency_s"] == pytest.approx(1.7)
    assert found["answer_latency_s"] == pytest.approx(5.1)


def test_a_filler_without_an_answer_is_none() -> None:
    assert math.isnan(row(record(answered=False))["answer_latency_s"])


def test_the_hook_had_returned() -> None:
    found = row(record())
    assert found["at_hook_done_s"] == pytest.approx(4.5)
    assert found["hook_s"] == pytest.approx(0.0)
    assert found["residual_s"] == pytest.approx(0.0, abs=1e-9)


def test_without_a_filler_both_are_the_same() -> None:
    found = row(call([turn()], [reply(5.7, 7.0)], [message("Hi.", 4.5, 4.0, 0.5)]))
    assert found["answer_latency_s"] == found["response_latency_s"] == pytest.approx(1.7)


def one_speech(*utterances: str) -> dict:
    """A row of one stretch of speech, heard from 5.6 s on, with a pause of 1 s behind 0.9 s of it.

    Its utterances follow each other, a second of sound each; the model wrote ``ANSWER``.
    """
    log = EventLog()
    name = {"id": "r", "model": "m"}
    events = [
        (
            4.54,
            Role.LLM,
            Request(**name, prompt_tokens=1, cached_tokens=0, connection_requests=2),
        ),
        (4.8, Role.LLM, FirstToken(id="r")),
        (4.9, Role.LLM, Completed(id="r", output_tokens=1, text=ANSWER)),
    ]
    for n, text in enumerate(utterances):
        place = {"context": f"c{n}"}
        events += [
            (5.0 + n / 2, Role.TTS, Text(**place, text=text, characters=1)),
            (5.1 + n / 2, Role.TTS, Voiced(**place, words=timed(text))),
            (5.2 + n / 2, Role.TTS, FirstAudio(**place)),
            (5.9 + n / 2, Role.TTS, AudioDone(**place, audio_s=1.0)),
        ]
    for t_s, role, event in events:
        log.add(event, t_s, role, role.value)
    n = len(utterances)
    heard = reply(
        5.8, 7.6 + n, left_s=5.5, voiced=((5.8, 6.5), (7.5, 7.6 + n)),
        runs=((0.0, 5.6), (0.9, 7.5), (float(n), 6.6 + n)),
    )  # fmt: skip
    session = [message("Hi.", 4.5, 4.0, 0.5)]
    return row(call([turn()], [heard], session, log.recorded(0.0, {})))


def test_an_answer_behind_a_filler_in_one_utterance_is_found_by_its_words() -> None:
    found = one_speech(f"{FILLER} {ANSWER}")  # the fourth word, at 0.8 s of the sound
    assert found["response_latency_s"] == pytest.approx(1.8)
    assert found["answer_latency_s"] == pytest.approx(5.6 + 0.8 - 4.0)


def test_an_answer_in_a_later_utterance_of_the_same_speech_begins_where_that_one_does() -> None:
    found = one_speech(FILLER, ANSWER)  # at 1.2 s of the sound, behind a pause of 1 s
    assert found["answer_latency_s"] == pytest.approx(7.5 + 0.3 - 4.0)


def test_an_answer_that_was_cut_off_before_it_sounded_was_not_heard() -> None:
    found = one_speech(FILLER, FILLER, f"{FILLER} {FILLER} {ANSWER}")
    assert math.isnan(found["answer_latency_s"]), "it is 1.4 s into a piece of 1 s"
    assert found["response_latency_s"] == pytest.approx(1.8)


def test_the_summary_takes_both_medians_alike_and_counts_fillers() -> None:
    plain = row(call([turn()], [reply(5.7, 7.0)], [message("Hi.", 4.5, 4.0, 0.5)]))
    rows = [plain, {**plain, "turn": 1, "response_latency_s": 3.0, "answer_latency_s": 3.0}]
    calls = pd.DataFrame([{"call": 0, "status": "ok", "error": "", "replay": "",
                           "simulated_s": 1.0, "wall_s": 0.1}])  # fmt: skip
    found = metrics(Results(pd.DataFrame(rows), calls))
    assert found["answer_p50_s"] == found["p50_s"] == pytest.approx(1.7)
    assert found["fillers"] == 0
    found = metrics(Results(pd.DataFrame([row(record())]), calls))
    assert found["fillers"] == 1 and found["answer_p50_s"] == pytest.approx(5.1)
