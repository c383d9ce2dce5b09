"""A filler is the first sound, the answer comes later, and neither is the hook's."""

from __future__ import annotations

import math

import pytest
from by_hand import call, message, reply, row, turn

from labkit.world.events import Completed, EventLog, FirstAudio, FirstToken, Request, Role, Text

FILLER, ANSWER = "One moment please.", "It is on its way."


def record(answered: bool = True):
    """Said at 4.0 s; decided on at 4.5; a tool called at 5.0 says a filler at 5.1, heard at 5.7."""
    log = EventLog()

    def llm(t_s, event):
        log.add(event, t_s, Role.LLM, "llm")

    def tts(t_s, event):
        log.add(event, t_s, Role.TTS, "tts")

    for n, (t_s, text) in enumerate(((4.6, ""), (8.0, ANSWER))[: 1 + answered]):
        name = {"id": f"r{n}", "model": "m"}
        llm(t_s, Request(**name, prompt_tokens=1, cached_tokens=0, last_user="", stream=True,
                         request_role="reply", connection_requests=2, kind="", dialogue="",
                         tools=("t",), service_tier=""))  # fmt: skip
        llm(t_s + 0.3, FirstToken(id=f"r{n}", tokens=1, pace=()))
        calls = () if text else ({"name": "t", "arguments": {}},)
        llm(t_s + 0.4, Completed(id=f"r{n}", output_tokens=1, text=text, tool_calls=calls))
    for context, t_s, text in (("a", 5.1, FILLER), ("b", 8.5, ANSWER))[: 1 + answered]:
        tts(t_s, Text(context=context, text=text, characters=1))
        tts(t_s + 0.2, FirstAudio(context=context))
    said = {"event": "speech", "source": "say", "t_s": 5.1}
    segments = [reply(5.7, 7.0), reply(9.1, 10.0)][: 1 + answered]
    session = [message("Hi.", 4.5, 4.0, 0.5), said]
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
