"""The local end-of-turn model without a session: asked for what a session would ask."""

from __future__ import annotations

import asyncio
import inspect
import math

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import inference, vad
from livekit.agents.inference.eot.base import MIN_SILENCE_DURATION_MS

from labkit.engine.marked import MarkedTurn, spoken
from labkit.settings import Settings
from labkit.tunnel import detector
from labkit.tunnel.detector import Detector, asked_s
from labkit.world.clips import Pcm

HESITANT = Settings({"caller.persona": "hesitant"})


@pytest.fixture(scope="module")
def turns() -> list[MarkedTurn]:
    return list(spoken(HESITANT, 7, 0, 2))


def test_the_rules_are_the_sdks_defaults() -> None:
    defaults = inspect.signature(inference.VAD.__init__).parameters
    assert defaults["activation_threshold"].default == detector.ACTIVATION
    assert pytest.approx(defaults["activation_threshold"].default - 0.15) == detector.DEACTIVATION
    assert defaults["min_speech_duration"].default == detector.MIN_SPEECH_S
    assert defaults["min_silence_duration"].default == detector.MIN_SILENCE_S
    assert MIN_SILENCE_DURATION_MS / 1000 == detector.ASKS_AFTER_S


def sdk_asks_s(pcm: Pcm) -> list[float]:
    """When the SDK's own VAD stream reports the silence that a session acts on."""

    async def listen() -> list[float]:
        stream = inference.VAD().stream()
        for first in range(0, len(pcm) - 799, 800):
            part = pcm[first : first + 800]
            stream.push_frame(rtc.AudioFrame(part.tobytes(), 16_000, 1, len(part)))
        stream.end_input()
        asks, speaking, asked = [], False, False
        async for event in stream:
            if event.type == vad.VADEventType.START_OF_SPEECH:
                speaking, asked = True, False
            elif event.type == vad.VADEventType.END_OF_SPEECH:
                speaking = False
            elif event.type == vad.VADEventType.INFERENCE_DONE:
                if event.raw_accumulated_speech > 0 and speaking:
                    asked = False
                if event.raw_accumulated_silence >= 0.2 and speaking and not asked:
                    asked = True
                    asks.append(math.ceil(event.timestamp / 0.05 - 1e-9) * 0.05)
        return asks

    return asyncio.run(listen())


def test_it_is_asked_when_the_sdks_vad_has_heard_enough_silence(turns: list[MarkedTurn]) -> None:
    for turn in turns:
        ours, theirs = asked_s(turn.pcm), sdk_asks_s(turn.pcm)
        assert ours == pytest.approx(theirs)
        assert len(ours) >= 2, "at a pause and at the end"


def test_it_is_given_the_last_second_and_a_fifth(turns: list[MarkedTurn]) -> None:
    given: list[Pcm] = []

    class Listening(Detector):
        def _predict(self, window: Pcm) -> float:
            given.append(window)
            return 0.5

    asked = Listening()
    asked._memo = {}  # type: ignore[assignment]
    asked.score(turns[0].pcm, 2.0)
    asked.score(turns[0].pcm, 0.5)
    assert np.array_equal(given[0], turns[0].pcm[12_800:32_000])
    assert np.array_equal(given[1], turns[0].pcm[:8_000])


def test_a_known_answer_is_not_computed_again(
    turns: list[MarkedTurn], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Detector()
    value = first.score(turns[0].pcm, 3.0)
    first.keep()
    assert 0 < value < 1

    def refuse(self: Detector, window: Pcm) -> float:
        raise AssertionError("computed again")

    monkeypatch.setattr(Detector, "_predict", refuse)
    assert Detector().score(turns[0].pcm, 3.0) == value
    with pytest.raises(AssertionError, match="computed again"):
        Detector().score(turns[0].pcm, 3.01)
