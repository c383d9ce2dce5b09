"""Adaptive interruption: does a caller who speaks over the agent mean to stop it.

The true model judges sound. Here it is told which words were begun: sounds of listening are taken
for an interruption as often as was measured, and all other speech once enough of it was heard.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from aiohttp import WSMsgType, web

from labkit.providers.livekit.gateway import GatewayPart, message_of
from labkit.providers.livekit.overheard import Overheard, Touched
from labkit.providers.outbox import Outbox, encode
from labkit.providers.server import RequestError
from labkit.randomness import uniform
from labkit.world.events import Assumed, Connected, Disconnected, Overlap
from labkit.world.scene import SAMPLE_RATE_HZ

_HEADER = struct.Struct("<Q")
_MODEL = "adaptive interruption"
_LISTENING = frozenset(
    [
        "mhm",
        "mm-hmm",
        "mmhmm",
        "hm",
        "hmm",
        "uh-huh",
        "uhuh",
        "yeah",
        "yep",
        "yes",
        "right",
        "okay",
        "ok",
        "sure",
        "aha",
        "oh",
        "ah",
        "i",
        "see",
    ]
)
"""Sounds of listening, which ask for no answer."""
_TAIL = 640
"""Bytes by which a window is found in the one that follows it."""
_PAUSE_NS = 400_000_000
"""The client sends a window every 0.1 s of overlap; after a longer pause it is another overlap."""
_LONGEST_S = 3.0


class BargeIn:
    """One ``/v1/bargein`` socket.

    The profile holds under ``bargein``: ``inference``, ``threshold``, ``decides_after_s``,
    ``frame_s``, ``listening_taken``, ``sure`` and ``unsure``.
    """

    def __init__(self, service: GatewayPart, ws: web.WebSocketResponse, request_id: str) -> None:
        self.service, self.ws, self.request_id = service, ws, request_id
        self._loop = asyncio.get_running_loop()
        self._log = service.logger()
        self._out = Outbox(ws)
        self._heard = Overheard(service.scene().track)
        self._before, self._sent_ns = b"", -_PAUSE_NS
        self._told = False
        self._threshold = float(self._figure("threshold"))
        self._min_frames = 1
        self._frame = round(float(self._figure("frame_s")) * SAMPLE_RATE_HZ)

    def _figure(self, name: str) -> Any:
        return self.service.profile.value("bargein", name)

    async def serve(self) -> None:
        """Serves the socket until it closes."""
        self._log(Connected(model=_MODEL, request_id=self.request_id))
        try:
            async for message in self.ws:
                try:
                    if message.type is WSMsgType.BINARY:
                        self._judge(message.data)
                    elif message.type is WSMsgType.TEXT and await self._control(message.data):
                        break
                except RequestError as error:
                    await self._fail(error)
                    break
        finally:
            await self._out.stop()
            self._log(Disconnected(code=self.ws.close_code))

    async def _control(self, text: str) -> bool:
        message = message_of(text)
        if message["type"] == "session.close":
            self._out.post(0.0, encode({"type": "session.closed"}))
            await self._out.drain()
            await self.ws.close(code=1000)
            return True
        if message["type"] != "session.create":
            raise RequestError(400, f"unknown type {message['type'][:50]!r}")
        given = message.get("settings")
        settings: dict[str, Any] = given if isinstance(given, dict) else {}
        wanted = {"sample_rate": SAMPLE_RATE_HZ, "num_channels": 1, "encoding": "s16le"}
        for name, value in wanted.items():
            if settings.get(name) != value:
                raise RequestError(400, f"{name} must be {value}")
        self._threshold = float(settings.get("threshold") or self._threshold)
        self._min_frames = max(int(settings.get("min_frames") or 1), 1)
        self._log(
            Assumed(
                text=f"{_MODEL}: told from the words that were begun, and sounds of listening are "
                f"taken for an interruption in {float(self._figure('listening_taken')):.1%} of "
                "cases"
            )
        )
        default = float(self._figure("threshold"))
        self._out.post(0.0, encode({"type": "session.created", "default_threshold": default}))
        return False

    def _judge(self, data: bytes) -> None:
        """Answers one window of sound."""
        if len(data) < _HEADER.size or len(data) % 2:
            raise RequestError(400, "a window has a header of 8 bytes and samples of 2")
        (sent_ns,), pcm = _HEADER.unpack_from(data), data[_HEADER.size :]
        if len(pcm) > 2 * SAMPLE_RATE_HZ * _LONGEST_S:
            raise RequestError(400, f"a window has at most {_LONGEST_S:g} s")
        if sent_ns - self._sent_ns >= _PAUSE_NS:
            self._heard.forget()
            self._before, self._told = b"", False
        at = pcm.rfind(self._before[-_TAIL:]) if self._before else -1
        self._heard.feed(pcm[at + len(self._before[-_TAIL:]) :] if at >= 0 else pcm)
        self._before, self._sent_ns = pcm, sent_ns
        likely = self._interrupts()
        frames = len(pcm) // 2 // self._frame
        sure = float(self._figure("sure" if likely else "unsure"))
        unsure = float(self._figure("unsure"))
        last = min(max(self._min_frames, 2), frames)
        probabilities = [unsure] * (frames - last) + [sure] * last
        taken = likely and sure >= self._threshold and frames >= self._min_frames
        took_s = self.service.draw(
            "bargein", "inference", purpose="bargein", key=(self.service.nth("bargein"),)
        )
        answer = {
            "type": "bargein_detected" if taken else "inference_done",
            "created_at": sent_ns,
            "prediction_duration": round(took_s - 2 * self.service.behind_s, 6),
            "probabilities": probabilities,
        }
        self._out.post(self._loop.time() + took_s, encode(answer))
        if taken and not self._told:
            self._told = True
            text = " ".join(t.word.text for t in self._heard.words)
            self._log(Overlap(text=text, interrupts=True))

    def _interrupts(self) -> bool:
        """Whether the words of this overlap are taken for an interruption by now."""
        words = self._heard.words
        if not words:
            return False
        first = words[0]
        spoken_s = sum(t.heard_s for t in words)
        if all(_bare(t.word.text) in _LISTENING for t in words):
            if not self._taken(first):
                return False
        key = (first.ordinal,)
        after_s = self.service.draw(
            "bargein", "decides_after_s", purpose="bargein.decides", key=key, turn=first.word.turn
        )
        return spoken_s >= min(after_s, self._whole_s(words))

    def _taken(self, first: Touched) -> bool:
        """Whether a sound of listening is mistaken for more, which is the same in every arm."""
        scene = self.service.scene()
        name = (scene.call, first.word.turn, first.ordinal)
        return uniform(scene.seed, "livekit.bargein.taken", *name) < float(
            self._figure("listening_taken")
        )

    @staticmethod
    def _whole_s(words: list[Touched]) -> float:
        """How long the words are: one short word may be all there is."""
        return sum(t.word.end_s - t.word.start_s for t in words) - 1e-6

    async def _fail(self, error: RequestError) -> None:
        body = {"type": "error", "code": error.status, "message": error.message}
        self._out.post(0.0, encode(body | {"session_id": self.request_id}))
        await self._out.drain()
        await self.ws.close(code=1008)


def _bare(text: str) -> str:
    return text.strip(".,?!;:").lower()
