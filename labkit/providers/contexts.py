"""Utterances on a WebSocket: contexts that take text in pieces and send audio on time.

A provider overrides :meth:`ContextSocket.take`, which reads its messages, and the ``send_…``
methods of :class:`Context`, which write them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from labkit.providers.tts import Speech, TTSEmulator, in_pieces
from labkit.world.clips import Word
from labkit.world.events import (
    AudioCut,
    AudioDone,
    Connected,
    ContextExpired,
    Disconnected,
    FirstAudio,
    Voiced,
)

_SENTENCE_END = (".", "?", "!")
_FLUSH = "\0flush"
_MOST_CONTEXTS = 200


class Context:
    """One utterance on a WebSocket: takes text, sends audio on time.

    A provider overrides the ``send_…`` methods; they raise ConnectionError if the client is gone.

    Attributes:
        id: Names it on its socket.
        expired: No text came for a while after the last audio, and none is taken any more.
    """

    def __init__(
        self,
        service: TTSEmulator,
        context_id: str,
        speech: Speech,
        expire_s: float = float("inf"),
    ) -> None:
        """Makes a context.

        Args:
            service: Whose log takes down what happens.
            context_id: Names it.
            speech: How it sounds.
            expire_s: How long after its last audio it still takes text, seconds.
        """
        self.id = context_id
        self.expired = False
        self._speech = speech
        self._log = service.log
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
        self._heard = False

    # -- what a provider says of it ----------------------------------------------------------

    def will_say(self, words: tuple[Word, ...]) -> None:
        """Learns the times of a piece's words, before the piece's first chunk."""

    async def send_audio(self, audio: bytes, step_s: float) -> None:
        """Sends a chunk that took ``step_s`` seconds to make."""
        raise NotImplementedError

    async def send_words(self, words: tuple[Word, ...]) -> None:
        """Sends the times of a piece's words, after the piece's first chunk."""

    async def send_flushed(self, nth: int) -> None:
        """Says that all text before the ``nth`` flush has been spoken."""

    async def send_done(self) -> None:
        """Says that there will be no more audio."""

    @property
    def sent_s(self) -> float:
        """How much audio has been sent, seconds."""
        return self._sent / self._speech.options.rate_hz

    # -- text in -----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Characters whose synthesis has not begun."""
        return len(self._buffer) + sum(len(text) for _, text in self._queue)

    def push(self, text: str, *, final: bool = False, flush: bool = False) -> None:
        """Takes a piece of text; ``final`` if it is the last one."""
        self._buffer += text
        wait_s = self._speech.options.buffer_s
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
        for piece in in_pieces(self._buffer):
            self._queue.append((self._loop.time(), piece))
        self._buffer = ""
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # -- audio out ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Speaks until the text ends, the context expires or the socket closes."""
        try:
            while True:
                if self._queue:
                    arrived_s, text = self._queue.popleft()
                    if text == _FLUSH:
                        self._flushes += 1
                        await self.send_flushed(self._flushes)
                    else:
                        await self._speak(arrived_s, text)
                elif self._final:
                    self._log(AudioDone(context=self.id, audio_s=self.sent_s))
                    await self.send_done()
                    return
                elif not await self._more():
                    self.expired = True
                    self._log(ContextExpired(context=self.id, audio_s=self.sent_s))
                    return
        except ConnectionError:  # the client is gone
            self._log(AudioCut(context=self.id, audio_s=self.sent_s))
        except asyncio.CancelledError:
            self._log(AudioCut(context=self.id, audio_s=self.sent_s))
            raise
        finally:
            if self._release is not None:
                self._release.cancel()

    async def _more(self) -> bool:
        """Waits for text; false if the context expired meanwhile."""
        self._wake = self._loop.create_future()
        timer = None
        if self._pieces and self._expire_s < float("inf"):
            left_s = max(self._free_s + self._expire_s - self._loop.time(), 0.0)
            timer = self._loop.call_later(left_s, self._notify)
        await self._wake
        self._wake = None
        if timer is not None:
            timer.cancel()
        return bool(self._queue or self._buffer or self._final)

    async def _speak(self, arrived_s: float, text: str) -> None:
        pcm, words = self._speech.add(text)
        self.will_say(words)
        self._log(Voiced(context=self.id, words=words))
        pace = self._speech.pace
        step_s = pace.chunk_s * pace.factor
        if self._pieces and arrived_s <= self._free_s:
            due_s = self._free_s + step_s
        else:
            due_s = arrived_s + pace.first_audio_s(self._pieces)
        self._pieces += 1
        stamped = not self._speech.options.timestamps
        for samples, chunk in self._speech.chunks(pcm):
            wait_s = due_s - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if chunk:
                await self.send_audio(chunk, step_s)
                if not self._heard:
                    self._heard = True
                    self._log(FirstAudio(context=self.id))
            self._sent += samples
            if not stamped:
                stamped = True
                await self.send_words(words)
            self._free_s = due_s
            due_s += step_s


class ContextSocket:
    """One open WebSocket and the contexts on it; a provider overrides :meth:`take`.

    The profile holds ``idle_s`` under ``limits``: a socket that is not used so long is closed.
    """

    def __init__(self, service: TTSEmulator, ws: web.WebSocketResponse) -> None:
        self.service, self.ws = service, ws
        self.contexts: dict[str, Context] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle_s = float(service.profile.value("limits", "idle_s"))
        self._used_s = self._loop.time()
        self._closing: asyncio.Task[bool] | None = None

    async def take(self, data: str | bytes) -> None:
        """Handles one message."""
        raise NotImplementedError

    async def serve(self, **connected: Any) -> None:
        """Serves the socket until it closes; ``connected`` are fields of the logged event."""
        self.service.log(Connected(**connected))
        self._timer = self._loop.call_later(self._idle_s, self._check_idle)
        try:
            async for message in self.ws:
                self._used_s = self._loop.time()
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self.take(message.data)
        finally:
            self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._closing is not None:
                await self._closing
            self.service.log(Disconnected(code=self.ws.close_code))

    def begin(self, context: Context, ended: Callable[[], None] = lambda: None) -> None:
        """Lets a context speak; ``ended`` is called when it no longer does."""
        self.contexts[context.id] = context
        if len(self.contexts) > _MOST_CONTEXTS:  # those that have expired are only remembered
            oldest = next((name for name, c in self.contexts.items() if c.expired), context.id)
            if oldest != context.id:
                del self.contexts[oldest]
        task = self._loop.create_task(context.run())
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            ended()
            self._tasks.discard(task)
            self._used_s = self._loop.time()
            if self.contexts.get(context.id) is context and not context.expired:
                del self.contexts[context.id]

        task.add_done_callback(done)

    def _check_idle(self) -> None:
        self._used_s = self._loop.time() if self._tasks else self._used_s
        left_s = self._used_s + self._idle_s - self._loop.time()
        if left_s > 1e-6:
            self._timer = self._loop.call_later(left_s, self._check_idle)
        else:
            self._closing = self._loop.create_task(self.ws.close(code=1000, message=b"idle"))
