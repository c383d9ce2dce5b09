"""Sentences spoken once by the session's TTS and kept, to be played without waiting for it."""

from collections.abc import AsyncIterator, Iterable

import numpy as np
from livekit import rtc
from livekit.agents import NOT_GIVEN, Agent, StopResponse, llm, tts

_QUIET = 100
"""16-bit samples up to this level are silence (-50 dBFS)."""


class SpokenLines:
    """Audio by text.

    Have them spoken before the first call and keep them on disk in production; a caller should
    not have to wait for it.
    """

    def __init__(self) -> None:
        self._audio: dict[str, rtc.AudioFrame] = {}

    async def learn(self, speech: tts.TTS, lines: Iterable[str]) -> None:
        """Has lines spoken that are not known yet, and cuts the silence at their head."""
        for line in lines:
            if line not in self._audio:
                spoken = [event.frame async for event in speech.synthesize(line)]
                self._audio[line] = _without_head(rtc.combine_audio_frames(spoken))

    def audio(self, line: str) -> AsyncIterator[rtc.AudioFrame] | None:
        """What ``session.say(line, audio=…)`` takes; None if the line is not known."""
        frame = self._audio.get(line)
        return None if frame is None else _one(frame)


async def say_instead(
    agent: Agent, line: str, lines: SpokenLines, new_message: llm.ChatMessage
) -> None:
    """Answers the caller's turn with a line, in place of the LLM's reply; for the turn's hook."""
    agent.session.interrupt()  # the reply of preemptive generation is not wanted
    history = agent.chat_ctx.copy()
    history.insert(new_message)  # StopResponse would leave it out
    await agent.update_chat_ctx(history)
    # not awaited: the next turn's hook would have to wait for the end of the speech
    agent.session.say(line, audio=lines.audio(line) or NOT_GIVEN)
    raise StopResponse()


def _without_head(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    samples = np.frombuffer(frame.data, dtype=np.int16)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _QUIET)
    first = int(loud[0]) // frame.num_channels * frame.num_channels if len(loud) else 0
    kept = samples[first:]
    channels = frame.num_channels
    return rtc.AudioFrame(kept.tobytes(), frame.sample_rate, channels, len(kept) // channels)


async def _one(frame: rtc.AudioFrame) -> AsyncIterator[rtc.AudioFrame]:
    yield frame
