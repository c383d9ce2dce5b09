"""What all emulated STT share: an ear on the call, and a socket that takes audio.

What an STT reports follows from the audio that reaches it (:mod:`labkit.providers.hearing`); when
it reports follows from the profile. Messages on one socket never overtake each other. A provider
subclasses :class:`Listening` for each of its streaming protocols.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from labkit.providers.alignment import Find
from labkit.providers.hearing import Acuity, HeardWord, Hearing
from labkit.providers.outbox import Outbox
from labkit.providers.server import Emulator
from labkit.world.events import Connected, Disconnected, Role
from labkit.world.scene import CallerTrack

_FRAME = 1600  # bytes per step when a whole recording is fed at once
_AT_ONCE = 50  # frames; more of them would keep others waiting
_SLICE = 32_000  # bytes of a message on a socket that are heard at once: a second of audio


class STTEmulator(Emulator):
    """Base of the emulated STT.

    The profile holds the figures of :class:`~labkit.providers.hearing.Acuity` under ``hearing``,
    ``endpointing.min_gap_s``, and ``usd_per_minute`` of every model.
    """

    role = Role.STT

    _find: Find | None = None

    def understand(self, find: Find) -> None:
        self._find = find

    def hearing(self, sample_rate_hz: int) -> Hearing:
        """A fresh ear on the call in progress."""
        scene = self.scene()
        return Hearing(
            scene.track if self._find is None else CallerTrack(),
            sample_rate_hz,
            Acuity.from_profile(self.profile),
            seed=scene.seed,
            key=(scene.call,),
            gap_s=self.profile.value("endpointing", "min_gap_s"),
            find=self._find,
        )

    async def hear_whole(self, pcm: bytes, sample_rate_hz: int) -> tuple[list[HeardWord], float]:
        """The words of a whole recording, and its length in seconds; half a sample is left out."""
        hearing = self.hearing(sample_rate_hz)
        for i in range(0, len(pcm) & ~1, _FRAME):
            hearing.feed(pcm[i : min(i + _FRAME, len(pcm) & ~1)])
            if i // _FRAME % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        hearing.finish()
        return hearing.take(), hearing.received_s


class Listening:
    """One open WebSocket that takes audio.

    Attributes:
        hearing: The ear on it; ``None`` until the format of the audio is known.
        out: Sends messages in order and on time.
        log: Writes events into the log of the call in which the socket was opened.
    """

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, model: str
    ) -> None:
        self.service, self.profile = service, service.profile
        self.ws, self.request_id, self.model = ws, request_id, model
        self.loop = asyncio.get_running_loop()
        self.log = service.logger()
        self.out = Outbox(ws)
        self.hearing: Hearing | None = None
        self._rest = b""

    def opened(self) -> None:
        """Called when the socket is open."""

    def arrived(self, data: bytes) -> None:
        """Looks at a whole message with audio before it is heard."""

    def audio(self, data: bytes) -> None:
        """Takes a message with audio, or a second of it."""
        raise NotImplementedError

    async def control(self, text: str) -> bool:
        """Takes a text message; true if it ended the stream."""
        raise NotImplementedError

    async def empty(self) -> bool:
        """Takes a message without audio; true if it ended the stream."""
        return False

    async def closed(self) -> None:
        """Called when the socket is closed."""

    def whole(self, pcm: bytes) -> bytes:
        """Whole 16-bit samples: an odd byte is kept for the next message."""
        if self._rest or len(pcm) & 1:
            pcm = self._rest + pcm
            size = len(pcm) & ~1
            pcm, self._rest = pcm[:size], pcm[size:]
        return pcm

    async def serve(self) -> None:
        """Serves the socket until it closes."""
        opened_s = self.loop.time()
        price = float(self.profile.value("models", self.model, "usd_per_minute"))
        self.log(Connected(model=self.model, request_id=self.request_id, usd_per_minute=price))
        self.opened()
        try:
            async for message in self.ws:
                over = False
                if message.type is WSMsgType.BINARY:
                    self.arrived(message.data)
                    for i in range(0, len(message.data), _SLICE):
                        self.audio(message.data[i : i + _SLICE])
                        await self.out.room()
                    if not message.data:
                        over = await self.empty()
                elif message.type is WSMsgType.TEXT:
                    over = await self.control(message.data)
                if over:
                    break
        finally:
            await self.out.stop()
            await self.closed()
            audio_s = self.hearing.received_s if self.hearing is not None else 0.0
            open_s, code = self.loop.time() - opened_s, self.ws.close_code
            self.log(Disconnected(code=code, audio_s=audio_s, open_s=open_s))
