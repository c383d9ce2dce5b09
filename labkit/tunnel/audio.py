"""The agent's audio ends: a microphone that the caller feeds and a speaker heard at the ear.

Both are ordinary ``livekit.agents.voice.io`` ends, as a room's or the console's are. Input comes in
50 ms frames like a room's. Output is played in real time from the moment it arrives; it can be
paused, resumed and cleared, and what is already on its way to the ear is still heard.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from livekit import rtc
from livekit.agents.voice import io

from labkit.callers.caller import Mouth
from labkit.callers.device import Device
from labkit.callers.ear import Ear, Heard, Segment
from labkit.callers.g711 import G711
from labkit.callers.line import Line
from labkit.world.scene import SAMPLE_RATE_HZ

FRAME_S = 0.05
"""The frame length of a room's audio input in livekit-agents (``frame_size_ms``)."""
OUTPUT_RATE_HZ = 24_000
KEPT_S = 1.2
"""How much is kept of what the agent heard last: what an end-of-turn model takes."""


class Microphone(io.AudioInput):
    """What the agent hears of the caller, one 50 ms frame at a time.

    Attributes:
        heard: The frames that were heard last.
        overheard: Told of every frame, int16, whether the session's ears are open or not.
    """

    def __init__(self, mouth: Mouth, line: Line, now: Callable[[], float]) -> None:
        super().__init__(label="tunnel")
        self._device = Device(mouth, line.coder(SAMPLE_RATE_HZ))
        self._line, self._now = line, now
        self._frame = 0
        self.heard: deque[bytes] = deque(maxlen=round(KEPT_S / FRAME_S))
        self._size = round(FRAME_S * SAMPLE_RATE_HZ)
        self._attached = True
        self.overheard: Callable[[np.ndarray], None] = lambda pcm: None

    def on_attached(self) -> None:
        self._attached = True

    def on_detached(self) -> None:
        self._attached = False

    async def __anext__(self) -> rtc.AudioFrame:
        while True:
            due_s = (self._frame + 1) * FRAME_S + self._line.up_s
            wait_s = due_s - self._now()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            pcm = self._device.emit(self._size)
            first = self._frame * self._size
            pcm = self._line.carry("up", first, pcm, SAMPLE_RATE_HZ, self._device.mouth.turn)
            self._frame += 1
            self.overheard(pcm)
            # as in a room, what arrives while the agent has its ears closed is gone
            if self._attached:
                self.heard.append(pcm.tobytes())
                return rtc.AudioFrame(self.heard[-1], SAMPLE_RATE_HZ, 1, self._size)


class Captions(io.TextOutput):
    """Takes the text of the reply being played, so that an interrupted one can be cut.

    A room's transcript follows the audio, and the history keeps only what the caller heard. The
    SDK estimates how far the speech had come from its speaking rate; here the proportion of the
    audio that was played is known, and as much of the words is kept.
    """

    CHARACTERS_PER_S = 15.0

    def __init__(self) -> None:
        super().__init__(label="tunnel", next_in_chain=None)
        self._text = ""

    async def capture_text(self, text: str) -> None:
        self._text += text

    def flush(self) -> None:
        pass

    def take(self, played_s: float, pushed_s: float, complete: bool) -> str:
        """The text of the segment that ends now, up to where it was heard."""
        text, self._text = self._text, ""
        if complete and played_s >= pushed_s:
            return text
        length_s = pushed_s if complete else max(pushed_s, len(text) / self.CHARACTERS_PER_S)
        kept = text[: round(len(text) * played_s / length_s)] if length_s else ""
        return kept.rsplit(" ", 1)[0] if len(kept) < len(text) else text


class Speaker(io.AudioOutput):
    """Plays the agent's audio to the caller's ear."""

    def __init__(
        self,
        ear: Ear,
        captions: Captions,
        line: Line,
        now: Callable[[], float],
        turn: Callable[[], int],
    ) -> None:
        super().__init__(
            label="tunnel",
            capabilities=io.AudioOutputCapabilities(pause=True),
            sample_rate=OUTPUT_RATE_HZ,
        )
        self._ear, self.captions, self._line = ear, captions, line
        self._now, self._turn = now, turn
        self._counted = (-1, 0)  # the turn that is answered, and the first sample of that
        self._segment: Segment | None = None
        self._end_s = 0.0  # when all that is scheduled has been played
        self._sent: list[tuple[float, np.ndarray]] = []  # what is scheduled, and when it leaves
        self._held: list[np.ndarray] | None = None  # what waits while paused
        self._coder: G711 | None = None
        self._begun_s, self._coded = -1.0, 0  # sent without a break since then; samples coded of it
        self._pushed_s = 0.0
        self._lost_s = 0.0
        self._flushed = False
        self._finish: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        pcm = np.frombuffer(frame.data, dtype=np.int16)
        self._pushed_s += frame.duration
        if self._held is not None:
            self._held.append(pcm)
        else:
            self._play(pcm)

    def _play(self, pcm: np.ndarray) -> None:
        now = self._now()
        start_s = max(now, self._end_s)
        if self._segment is None:
            self._segment = self._ear.begin(start_s)
            self.on_playback_started(created_at=time.time() + start_s - now)
        self._sent.append((start_s, pcm))
        at_s, coded = self._code(start_s, pcm)
        first, turn = round(at_s * OUTPUT_RATE_HZ), self._turn()
        if turn != self._counted[0]:
            self._counted = (turn, first)
        heard = self._line.carry("down", first, coded, OUTPUT_RATE_HZ, self._counted)
        self._ear.add(self._segment, Heard(at_s + self._line.down_s, heard, OUTPUT_RATE_HZ))
        self._end_s = start_s + len(pcm) / OUTPUT_RATE_HZ

    def _code(self, start_s: float, pcm: np.ndarray) -> tuple[float, np.ndarray]:
        """What the codec makes of the next samples, and when the first of those is sent."""
        if self._line.codec == "opus":
            return start_s, pcm
        if self._coder is None or start_s > self._end_s:
            self._coder = self._line.coder(OUTPUT_RATE_HZ)
            self._begun_s, self._coded = start_s, 0
        assert self._coder is not None
        at_s = self._begun_s + self._coded / OUTPUT_RATE_HZ
        coded = self._coder.carry(pcm)
        self._coded += len(coded)
        return at_s, coded

    def flush(self) -> None:
        super().flush()
        if self._pushed_s and not self._flushed:
            self._flushed = True
            self._schedule_finish()

    def _schedule_finish(self) -> None:
        if self._finish is not None:
            self._finish.cancel()
            self._finish = None
        if self._flushed and not self._held:
            delay_s = max(self._end_s - self._now(), 0.0)
            loop = asyncio.get_running_loop()
            self._finish = loop.call_later(delay_s, self._finished, False)

    def clear_buffer(self) -> None:
        if not self._pushed_s:
            return
        self._lost_s += self._take_back(self._now())
        self._held = None if self._held is None else []
        self._finished(True)

    def pause(self) -> None:
        super().pause()
        if self._held is None:
            self._held = self._unplayed(self._now())
            self._take_back(self._now())
            self._schedule_finish()

    def resume(self) -> None:
        super().resume()
        held, self._held = self._held or [], None
        for pcm in held:
            self._play(pcm)
        self._schedule_finish()

    def _unplayed(self, now: float) -> list[np.ndarray]:
        """What is scheduled but has not left yet."""
        rest = []
        for start_s, pcm in self._sent:
            done = round((now - start_s) * OUTPUT_RATE_HZ)
            if done < len(pcm):
                rest.append(pcm[max(done, 0) :])
        return rest

    def _take_back(self, now: float) -> float:
        """Unschedules what has not left yet; returns its length, seconds."""
        back_s = max(self._end_s - now, 0.0)
        if self._segment is not None and back_s:
            self._ear.cut(self._segment, now + self._line.down_s)
        self._sent, self._coder = [], None
        self._end_s = min(self._end_s, now)
        return back_s + sum(len(p) for p in self._held or ()) / OUTPUT_RATE_HZ

    def _finished(self, interrupted: bool) -> None:
        if self._finish is not None:
            self._finish.cancel()
            self._finish = None
        position_s = max(self._pushed_s - self._lost_s, 0.0) if interrupted else self._pushed_s
        if self._segment is not None:
            self._segment.interrupted = interrupted
            self._segment.finished_s = self._now()
        self._segment, self._sent = None, []
        heard = self.captions.take(position_s, self._pushed_s, self._flushed)
        self._pushed_s = self._lost_s = 0.0
        self._flushed = False
        self.on_playback_finished(
            playback_position=position_s,
            interrupted=interrupted,
            synchronized_transcript=heard if interrupted else None,
        )
