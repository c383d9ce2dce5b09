"""One utterance of the emulated Cartesia: how it sounds, and when it is sent."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import web

from labkit.providers.cartesia_request import Wanted
from labkit.providers.server import encode
from labkit.providers.voice import Pcm, TimedWord, Voice

_SENTENCE_END = (".", "?", "!")


@dataclass(frozen=True)
class Pace:
    """How an utterance is paced; seconds, and ``factor`` in seconds per second of audio."""

    first_audio_s: Callable[[int], float]
    """Delay of the first chunk of the n-th piece that finds the synthesis idle."""
    factor: float
    chunk_s: float
    leading_s: float
    gap_s: float


@dataclass(frozen=True)
class Piece:
    """The sound of one piece of text, silence before it included."""

    pcm: Pcm
    words: tuple[TimedWord, ...]


class Speech:
    """The sound of an utterance, made piece by piece."""

    def __init__(self, voice: Voice, wanted: Wanted, pace: Pace) -> None:
        self.voice, self.wanted, self.pace = voice, wanted, pace
        self.samples = 0

    def add(self, text: str) -> Piece:
        """The next piece; its words count from the start of the utterance, seconds."""
        rate_hz = self.wanted.rate_hz
        sound = self.voice.say(text, rate_hz)
        silence_s = self.pace.gap_s if self.samples else self.pace.leading_s
        silence = np.zeros(round(silence_s * rate_hz), np.int16)
        shift_s = (self.samples + len(silence)) / rate_hz
        pcm = np.concatenate((silence, sound.pcm))
        self.samples += len(pcm)
        words = tuple(
            TimedWord(w.text, round(w.start_s + shift_s, 3), round(w.end_s + shift_s, 3))
            for w in sound.words
        )
        return Piece(pcm, words)

    def chunks(self, pcm: Pcm) -> Iterator[Pcm]:
        """The samples in chunks of the profile's length."""
        size = round(self.pace.chunk_s * self.wanted.rate_hz)
        for i in range(0, len(pcm), size):
            yield pcm[i : i + size]


_FLUSH = "\0flush"


class Context:
    """One context on a WebSocket: takes text, sends audio on time.

    Attributes:
        expired: No text came for a while after the last audio, and none is taken any more.
    """

    def __init__(
        self,
        context_id: str,
        speech: Speech,
        ws: web.WebSocketResponse,
        log: Callable[..., None],
        expire_s: float,
    ) -> None:
        self.id = context_id
        self.expired = False
        self._speech = speech
        self._ws = ws
        self._log = log
        self._expire_s = expire_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, str]] = deque()  # arrival (loop time) and text
        self._buffer = ""
        self._release: asyncio.TimerHandle | None = None
        self._final = False
        self._wake: asyncio.Future[None] | None = None
        self._free_s = 0.0  # loop time at which the synthesis is through with its last piece
        self._flushes = 0
        self._pieces = 0
        self._sent = 0  # samples

    def push(self, text: str, *, final: bool, flush: bool) -> None:
        """Takes a piece of text; ``final`` if it is the last one."""
        self._buffer += text
        wait_s = self._speech.wanted.buffer_s
        whole = self._buffer.rstrip().endswith(_SENTENCE_END)
        if final or flush or whole or not wait_s:
            self._let_go()
        elif self._release is None and self._buffer.strip():
            self._release = self._loop.call_later(wait_s, self._let_go)
        if flush:
            self._queue.append((self._loop.time(), _FLUSH))
        self._final |= final
        self._notify()

    def cancel(self) -> None:
        """Drops the text whose synthesis has not begun."""
        self._queue.clear()
        self._buffer = ""
        self._final = True
        self._notify()

    def _let_go(self) -> None:
        if self._release is not None:
            self._release.cancel()
            self._release = None
        if self._buffer.strip():
            self._queue.append((self._loop.time(), self._buffer))
        self._buffer = ""
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def run(self) -> None:
        """Speaks until the text ends, the context expires or the socket closes."""
        rate_hz = self._speech.wanted.rate_hz
        try:
            while True:
                if self._queue:
                    arrived_s, text = self._queue.popleft()
                    if text == _FLUSH:
                        self._flushes += 1
                        await self._send("flush_done", flush_done=True, flush_id=self._flushes)
                    else:
                        await self._speak(arrived_s, text)
                elif self._final:
                    self._log("audio_done", context=self.id, seconds=self._sent / rate_hz)
                    await self._send("done", done=True)
                    return
                elif not await self._more():
                    self.expired = True
                    self._log("expired", context=self.id, seconds=self._sent / rate_hz)
                    return
        except ConnectionError:  # the client is gone
            self._log("audio_cut", context=self.id, seconds=self._sent / rate_hz)
        except asyncio.CancelledError:
            self._log("audio_cut", context=self.id, seconds=self._sent / rate_hz)
            raise
        finally:
            if self._release is not None:
                self._release.cancel()

    async def _more(self) -> bool:
        """Waits for text; false if the context expired meanwhile."""
        self._wake = self._loop.create_future()
        timer = None
        if self._pieces:
            left_s = max(self._free_s + self._expire_s - self._loop.time(), 0.0)
            timer = self._loop.call_later(left_s, self._notify)
        await self._wake
        self._wake = None
        if timer is not None:
            timer.cancel()
        return bool(self._queue or self._buffer or self._final)

    async def _speak(self, arrived_s: float, text: str) -> None:
        pace = self._speech.pace
        piece = self._speech.add(text)
        step_s = pace.chunk_s * pace.factor
        if self._pieces and arrived_s <= self._free_s:
            due_s = self._free_s + step_s
        else:
            due_s = arrived_s + pace.first_audio_s(self._pieces)
        self._pieces += 1
        stamped = not self._speech.wanted.timestamps
        for chunk in self._speech.chunks(piece.pcm):
            wait_s = due_s - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if self._ws.closed:
                raise ConnectionError
            data = base64.b64encode(self._speech.wanted.encode(chunk)).decode()
            await self._send("chunk", data=data, step_time=round(step_s * 1000, 3))
            if not self._sent:
                self._log("first_audio", context=self.id)
            self._sent += len(chunk)
            if not stamped:
                stamped = True
                await self._send_timestamps(piece.words)
            self._free_s = due_s
            due_s += step_s

    async def _send_timestamps(self, words: tuple[TimedWord, ...]) -> None:
        stamps = {
            "words": [w.text for w in words],
            "start": [w.start_s for w in words],
            "end": [w.end_s for w in words],
        }
        await self._send("timestamps", word_timestamps=stamps)

    async def _send(self, kind: str, *, done: bool = False, **fields: Any) -> None:
        message = {"type": kind, "done": done, "status_code": 206, "context_id": self.id, **fields}
        await self._ws.send_str(encode(message))
