"""A caller's track made to order, and a client that plays it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from livekit import rtc
from livekit.agents import APIConnectOptions

from labkit.providers.server import Emulator, listening
from labkit.world.scene import SAMPLE_RATE_HZ, CallerTrack, SpokenWord

Timed = Sequence[tuple[str, float, float]]


def make_track(
    words: Timed, duration_s: float, *, tone: int = 8, turns: Sequence[int] = ()
) -> CallerTrack:
    """A track with a burst of noise for every word over room tone of ``tone`` steps."""
    rng = np.random.default_rng(7)
    count = round(duration_s * SAMPLE_RATE_HZ)
    pcm = rng.integers(-tone, tone + 1, count).astype(np.float64)
    track = CallerTrack()
    for i, (text, start_s, end_s) in enumerate(words):
        a, b = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        white = rng.standard_normal(b - a + 7)
        pcm[a:b] += 3000 * np.convolve(white, np.ones(8) / 8, "valid") * 2
        turn = turns[i] if turns else 0
        track.words.append(SpokenWord(text, start_s, end_s, turn))
    track.pcm += np.clip(pcm, -32768, 32767).astype(np.int16).tobytes()
    return track


HELLO: Timed = (
    ("Hello,", 0.50, 0.85),
    ("I'd", 1.00, 1.15),
    ("like", 1.15, 1.40),
    ("to", 1.40, 1.50),
    ("move", 1.50, 1.80),
    ("my", 1.80, 1.95),
    ("appointment.", 1.95, 2.70),
)


def frames(pcm: bytes, frame_s: float = 0.05, rate_hz: int = SAMPLE_RATE_HZ) -> list[bytes]:
    """The samples in frames."""
    size = round(frame_s * rate_hz) * 2
    return [bytes(pcm[i : i + size]) for i in range(0, len(pcm), size)]


class Stream:
    """A client's WebSocket: plays audio at its own speed, keeps what arrives with its time."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.loop = asyncio.get_running_loop()
        self.began_s = self.loop.time()
        self.got: list[dict[str, Any]] = []
        """Every message with ``t_s``, seconds since the stream began."""
        self._reader = self.loop.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.ws:
            got = json.loads(message.data)
            self.got.append(got | {"t_s": self.loop.time() - self.began_s})

    async def play(self, chunks: list[bytes], frame_s: float = 0.05) -> None:
        """Sends each chunk when its last sample has been spoken."""
        self.began_s = self.loop.time()
        for i, chunk in enumerate(chunks):
            await asyncio.sleep(self.began_s + (i + 1) * frame_s - self.loop.time())
            await self.ws.send_bytes(chunk)

    async def end(self, **message: Any) -> int | None:
        """Sends a last message, if any, and waits until the server has closed."""
        if message:
            await self.ws.send_json(message)
        await self._reader
        return self.ws.close_code

    def of(self, **fields: Any) -> list[dict[str, Any]]:
        """The messages with these fields."""
        return [m for m in self.got if all(m.get(k) == v for k, v in fields.items())]


@asynccontextmanager
async def opened(
    emulator: Emulator, path: str, headers: dict[str, str], **query: Any
) -> AsyncIterator[Stream]:
    """An emulator on loopback and one WebSocket to it."""
    async with listening(emulator) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}{path}"
        params = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in query.items()}
        async with session.ws_connect(url, headers=headers, params=params) as ws:
            yield Stream(ws)


def sdk_environment(port: int) -> Any:
    """Where Deepgram's own client finds an emulator; older releases know fewer services."""
    from deepgram.environment import DeepgramClientEnvironment as Environment

    names = [name for name in inspect.signature(Environment).parameters if name != "self"]
    http = ("base", "agent_rest")
    return Environment(**{n: f"{'http' if n in http else 'ws'}://127.0.0.1:{port}" for n in names})


async def lengths_of(tts: Any, texts: Sequence[str], stop_after: int) -> list[float]:
    """The length of each text as a plugin hears it, seconds, or of its first frames."""
    lengths = []
    for text in texts:
        n, seconds = 0, 0.0
        async with tts.synthesize(text, conn_options=APIConnectOptions(max_retry=0)) as stream:
            async for audio in stream:
                n, seconds = n + 1, seconds + audio.frame.duration
                if n >= stop_after:
                    break
        lengths.append(seconds)
    return lengths


async def told_by(
    stream: Any, pcm: bytes, act: Callable[[Any], None], after: int
) -> list[tuple[str, str]]:
    """What a plugin's stream tells of a track that it is fed; ``act`` comes ``after`` a frame."""

    async def feed() -> None:
        for i, chunk in enumerate(frames(pcm)):
            await asyncio.sleep(0.05)
            stream.push_frame(rtc.AudioFrame(chunk, SAMPLE_RATE_HZ, 1, len(chunk) // 2))
            if i == after:
                act(stream)
        stream.end_input()

    feeding = asyncio.create_task(feed())
    try:
        return [
            (e.type.value, e.alternatives[0].text if e.alternatives else "") async for e in stream
        ]
    finally:
        feeding.cancel()
        await stream.aclose()
