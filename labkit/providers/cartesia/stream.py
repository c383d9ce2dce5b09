"""Cartesia's ``/tts/websocket``: messages in, audio and timestamps out."""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web

from labkit.providers.cartesia.requests import (
    LONGEST_TRANSCRIPT,
    error_body,
    parse,
    read,
    refused,
    too_many,
)
from labkit.providers.contexts import Context, ContextSocket
from labkit.providers.heed import heed
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.tts import Speech, TTSEmulator
from labkit.world.clips import Word
from labkit.world.events import Refused


class CartesiaContext(Context):
    """One context as Cartesia's messages tell of it."""

    def __init__(
        self,
        service: TTSEmulator,
        context_id: str,
        speech: Speech,
        expire_s: float,
        ws: web.WebSocketResponse,
    ) -> None:
        super().__init__(service, context_id, speech, expire_s)
        self._ws = ws

    async def send_audio(self, audio: bytes, step_s: float) -> None:
        if self._ws.closed:
            raise ConnectionError
        data = base64.b64encode(audio).decode()
        await self._send("chunk", data=data, step_time=round(step_s * 1000, 3))

    async def send_words(self, words: tuple[Word, ...]) -> None:
        stamps = {
            "words": [w.text for w in words],
            "start": [w.start_s for w in words],
            "end": [w.end_s for w in words],
        }
        await self._send("timestamps", word_timestamps=stamps)

    async def send_flushed(self, nth: int) -> None:
        await self._send("flush_done", flush_done=True, flush_id=nth)

    async def send_done(self) -> None:
        await self._send("done", done=True)

    async def _send(self, kind: str, *, done: bool = False, **fields: Any) -> None:
        message = {"type": kind, "done": done, "status_code": 206, "context_id": self.id, **fields}
        await self._ws.send_str(encode(message))


class CartesiaSocket(ContextSocket):
    """One open WebSocket."""

    def __init__(self, service: TTSEmulator, ws: web.WebSocketResponse, key: str) -> None:
        super().__init__(service, ws)
        self._key = key

    async def take(self, data: str | bytes) -> None:
        context_id: str | None = None
        try:
            message = read(data)
            given = message.get("context_id")
            context_id = given if isinstance(given, str) and len(given) <= 256 else None
            if message.get("cancel"):
                await self._cancel(context_id)
            else:
                self._dispatch(message, context_id)
        except RequestError as error:
            self.service.log(Refused(status=error.status, code=error.code, message=error.message))
            body = {"type": "error", "done": True, "status_code": error.status}
            body |= error_body(error) | {"request_id": self.service.identifier("message")}
            if context_id is not None:
                body["context_id"] = context_id
            await self.ws.send_str(json.dumps(body))

    async def _cancel(self, context_id: str | None) -> None:
        """Ends a context; one that speaks says so when the piece it has begun is over."""
        context = self.contexts.get(context_id) if context_id else None
        if context is not None and not context.expired:
            context.cancel()
        elif context_id is not None:
            self.contexts.pop(context_id, None)
            done = {"type": "done", "done": True, "status_code": 206, "context_id": context_id}
            await self.ws.send_str(encode(done))

    def _dispatch(self, message: dict[str, Any], context_id: str | None) -> None:
        service, profile = self.service, self.service.profile
        options, body = parse(message, profile, streaming=True)
        transcript = body.get("transcript") or ""
        context = self.contexts.get(context_id) if context_id else None
        if context is not None and context.expired:
            del self.contexts[context.id]
            if profile.value("contexts", "after_expiry") == "error":
                raise refused(
                    400,
                    "context_expired",
                    "Invalid context",
                    "The context has expired; input on an expired context is not supported.",
                )
            context = None
        if context is not None and context.waiting + len(transcript) > LONGEST_TRANSCRIPT:
            text = f"More than {LONGEST_TRANSCRIPT} characters of the context wait to be spoken."
            raise refused(400, "invalid_transcript", "Invalid transcript", text)
        if context is None:
            context_id = context_id or service.identifier("context")
            release = service.slots.take(self._key, profile.value("limits", "contexts"))
            if release is None:
                raise too_many()
            heed(service, "cartesia.tts", message)
            speech = service.speech(options)
            expire_s = float(profile.value("contexts", "expire_s"))
            context = CartesiaContext(service, context_id, speech, expire_s, self.ws)
            self.begin(context, release)
        if transcript.strip():
            service.log_text(context.id, options.model, transcript)
        context.push(
            transcript,
            final=not body.get("continue"),
            flush=bool(body.get("flush")),
        )
