"""The caller's side of joining: a microphone that is open before the agent hears it.

An app opens the microphone the moment the caller asks for the agent. Until the agent has joined,
after the handshake, nobody hears it. With a pre-connect buffer the app records meanwhile and
sends the recording as a byte stream once the agent is there; what is said then comes after it.

What receives the recording is the SDK's own ``PreConnectAudioHandler``, with its time-out and
maximum age, and it is waited for where ``RoomIO`` waits: before the first live frame. The room that
carries the stream is not emulated; the recording is sent whole, and takes one way through the line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc

from labkit.callers.caller import Mouth
from labkit.callers.line import Line
from labkit.tunnel import sdk
from labkit.tunnel.audio import Microphone
from labkit.world.scene import SAMPLE_RATE_HZ

TIMEOUT_S = 3.0
"""``pre_connect_audio_timeout`` of a room's audio input in livekit-agents 1.8."""
TRACK = "TR_caller"


class EarlyMicrophone(Microphone):
    """A microphone that is opened before the session hears it.

    Args:
        mouth: The caller.
        line: The way to the agent.
        now: The call's clock, seconds.
        buffered: Whether the app keeps what is said before the agent has joined.
    """

    def __init__(self, mouth: Mouth, line: Line, now: Callable[[], float], buffered: bool) -> None:
        super().__init__(mouth, line, now)
        self._buffered = buffered
        self._recorded: list[rtc.AudioFrame] = []
        self._live: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()
        self._early: deque[rtc.AudioFrame] | None = None
        self._recorder: asyncio.Task[None] | None = None
        self._room = _Room()
        self._handler = sdk.early_audio_handler(self._room, TIMEOUT_S)

    def open(self) -> None:
        """The caller asks for the agent."""
        self._handler.register()
        self._recorder = asyncio.create_task(self._record(), name="caller's microphone")

    def on_attached(self) -> None:
        super().on_attached()
        if self._early is None:
            self._early = deque()
            if self._buffered:
                self._room.send(self._recorded, self._line.rtt_s / 2)

    def close(self) -> None:
        """The caller hangs up."""
        if self._recorder is not None:
            self._recorder.cancel()

    async def _record(self) -> None:
        while True:
            frame = await super().__anext__()
            if self._early is None:
                self._recorded.append(frame)
            else:
                self._live.put_nowait(frame)

    async def __anext__(self) -> rtc.AudioFrame:
        if self._buffered:
            self._buffered = False
            assert self._early is not None
            # as in RoomIO: without a recording in time it goes on with what is live
            with contextlib.suppress(TimeoutError):
                self._early.extend(await self._handler.wait_for_data(TRACK))
        return self._early.popleft() if self._early else await self._live.get()


@dataclass
class _Info:
    attributes: dict[str, str]
    mime_type: str = "audio/pcm"


@dataclass
class _Stream:
    """A byte stream, as the receiving end of a room gives it to its handler."""

    frames: list[rtc.AudioFrame]
    delay_s: float
    info: _Info = field(
        default_factory=lambda: _Info(
            {"trackId": TRACK, "sampleRate": str(SAMPLE_RATE_HZ), "channels": "1"}
        )
    )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(self.delay_s)
        for frame in self.frames:
            yield bytes(frame.data)


class _Room:
    """As much of a room as a handler of byte streams needs."""

    def __init__(self) -> None:
        self._receive: Callable[[Any, str], None] | None = None

    def isconnected(self) -> bool:
        return False

    def register_byte_stream_handler(self, topic: str, handler: Callable[[Any, str], None]) -> None:
        self._receive = handler

    def unregister_byte_stream_handler(self, topic: str) -> None:
        self._receive = None

    def send(self, frames: list[rtc.AudioFrame], delay_s: float) -> None:
        assert self._receive is not None
        self._receive(_Stream(frames, delay_s), "caller")
