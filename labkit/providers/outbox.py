"""Sending messages on a WebSocket in order and on time."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable

from aiohttp import web

encode = json.JSONEncoder(separators=(",", ":")).encode
"""JSON as the services write it, without blanks."""

_MOST_PENDING = 1_000


class Outbox:
    """Sends messages on one WebSocket at their due times, in the order they were posted."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[float, str | bytes, Callable[[], None] | None]] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._last_due_s = 0.0
        self._task = self._loop.create_task(self._run())

    def post(
        self, due_s: float, text: str | bytes, sent: Callable[[], None] | None = None
    ) -> float:
        """Sends ``text`` at the loop time ``due_s``, or right after what was posted before it.

        Args:
            due_s: Loop time, seconds; the past means now.
            text: The message, binary if it is bytes.
            sent: Called once the message has been written.

        Returns:
            The loop time at which it will be sent, seconds.
        """
        self._last_due_s = max(self._last_due_s, due_s, self._loop.time())
        self._pending.append((self._last_due_s, text, sent))
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return self._last_due_s

    async def _run(self) -> None:
        while True:
            if not self._pending:
                if self._drained is not None and not self._drained.done():
                    self._drained.set_result(None)
                self._wake = self._loop.create_future()
                await self._wake
                self._wake = None
            due_s, text, sent = self._pending[0]
            wait_s = due_s - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if self._ws.closed:
                return
            try:
                if isinstance(text, str):
                    await self._ws.send_str(text)
                else:
                    await self._ws.send_bytes(text)
            except ConnectionError:  # the client is gone; its reader ends the connection
                return
            self._pending.popleft()
            if sent is not None:
                sent()

    async def room(self) -> None:
        """Waits while a client that sends much reads too little of what it is told."""
        if len(self._pending) > _MOST_PENDING:
            await self.drain()

    async def drain(self) -> None:
        """Waits until everything posted so far has been sent or the socket is gone."""
        if self._pending and not self._task.done():
            done = self._loop.create_future()
            self._drained = done
            await asyncio.wait((done, self._task), return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Drops what has not been sent and ends the sender."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
