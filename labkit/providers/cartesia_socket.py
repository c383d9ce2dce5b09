"""One WebSocket of the emulated Cartesia and the contexts on it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from labkit.providers.cartesia_context import Context
from labkit.providers.cartesia_request import Refused, Wanted, too_many

if TYPE_CHECKING:
    from labkit.providers.cartesia import CartesiaEmulator


class Socket:
    """One open WebSocket and the contexts on it."""

    def __init__(self, service: CartesiaEmulator, ws: web.WebSocketResponse, key: str) -> None:
        self._service = service
        self._ws = ws
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._contexts: dict[str, Context] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle_s = float(service.profile.value("limits", "idle_s"))
        self._used_s = self._loop.time()
        self._closing: asyncio.Task[bool] | None = None

    async def serve(self) -> None:
        """Serves the socket until it closes."""
        self._service.log("open")
        self._timer = self._loop.call_later(self._idle_s, self._check_idle)
        try:
            async for message in self._ws:
                self._used_s = self._loop.time()
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
        finally:
            self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._closing is not None:
                await self._closing
            self._service.log("close", code=self._ws.close_code)

    async def _take(self, text: str) -> None:
        context_id: str | None = None
        try:
            try:
                message = json.loads(text)
                context_id = message.get("context_id")
            except (ValueError, AttributeError):
                raise Refused(
                    400, "invalid_json", "Invalid JSON", "The message is not a JSON object."
                ) from None
            self._dispatch(message, context_id)
        except Refused as refused:
            self._service.log("refused", status=refused.status, code=refused.code)
            body = {"type": "error", "done": True, "status_code": refused.status}
            body |= refused.body() | {"request_id": self._service.identifier("message")}
            if context_id is not None:
                body["context_id"] = context_id
            await self._ws.send_str(json.dumps(body))

    def _dispatch(self, message: dict[str, Any], context_id: str | None) -> None:
        context = self._contexts.get(context_id) if context_id else None
        if message.get("cancel"):
            if context is not None:
                context.cancel()
            return
        wanted = Wanted.parse(message, self._service.profile, streaming=True)
        if context is not None and context.expired:
            del self._contexts[context.id]
            if self._service.profile.value("contexts", "after_expiry") == "error":
                raise Refused(
                    400,
                    "context_expired",
                    "Invalid context",
                    "The context has expired; input on an expired context is not supported.",
                )
            context = None
        if context is None:
            context = self._begin(wanted, context_id or self._service.identifier("context"))
        transcript = str(message.get("transcript") or "")
        if transcript.strip():
            self._service.log_text(context.id, wanted, transcript)
        context.push(
            transcript,
            final=not message.get("continue", False),
            flush=bool(message.get("flush", False)),
        )

    def _begin(self, wanted: Wanted, context_id: str) -> Context:
        limit = self._service.profile.value("limits", "contexts")
        release = self._service.slots.take(self._key, limit)
        if release is None:
            raise too_many()
        speech = self._service.speech(wanted, "context")
        expire_s = float(self._service.profile.value("contexts", "expire_s"))
        context = Context(context_id, speech, self._ws, self._service.log, expire_s)
        self._contexts[context_id] = context
        task = self._loop.create_task(context.run())
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            release()
            self._tasks.discard(done)
            self._used_s = self._loop.time()
            if self._contexts.get(context_id) is context and not context.expired:
                del self._contexts[context_id]

        task.add_done_callback(ended)
        return context

    def _check_idle(self) -> None:
        self._used_s = self._loop.time() if self._tasks else self._used_s
        left_s = self._used_s + self._idle_s - self._loop.time()
        if left_s > 1e-6:
            self._timer = self._loop.call_later(left_s, self._check_idle)
        else:
            self._closing = self._loop.create_task(self._ws.close(code=1000, message=b"idle"))
