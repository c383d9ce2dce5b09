"""The gateway's ``/v1/stt``: a session is created, audio comes in as JSON, transcripts go out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from labkit.providers.heed import heed
from labkit.providers.livekit.gateway import (
    REQUEST_ID,
    GatewayPart,
    error_of,
    message_of,
    models_of,
    number_of,
)
from labkit.providers.livekit.talk import Closing, Segments, Talk, Turns, UntilTold, Words
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.stt import STTEmulator
from labkit.world.events import Refused

_KINDS: dict[str, type[Talk]] = {
    "segments": Segments,
    "words": Words,
    "punctuation": Turns,
    "client": UntilTold,
}
"""By ``turns`` of the model in the profile."""


class GatewayHearing(GatewayPart, STTEmulator):
    """Speech recognition.

    The profile holds for each model what its kind of turns needs, and ``sockets`` and ``idle_s``
    under ``limits``.
    """

    draws_as = "deepgram"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/stt", self._listen)]

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        release = self.place(self.enter(request))
        try:
            ws, request_id = await self.upgrade(request, REQUEST_ID)
            if ws.prepared:
                try:
                    await self._session(ws, request_id, request.query.get("model", ""))
                except RequestError as error:
                    self.log(Refused(status=error.status, code=error.code, message=error.message))
                    if not ws.closed:
                        await ws.send_str(encode(error_of(error)))
                        await ws.close(code=1008)
            return ws
        finally:
            release()

    async def _session(self, ws: web.WebSocketResponse, request_id: str, asked: str) -> None:
        """Serves a socket from ``session.create`` on.

        Raises:
            RequestError: what the client sends cannot be served.
        """
        first = await ws.receive()
        if first.type is not WSMsgType.TEXT:
            return
        message = message_of(first.data)
        if message["type"] != "session.create":
            raise RequestError(400, f"session.create comes first, not {message['type'][:50]!r}")
        settings = message.get("settings")
        if not isinstance(settings, dict):
            raise RequestError(400, "session.create has no settings")
        if settings.get("encoding") != "pcm_s16le":
            raise RequestError(400, "encoding must be pcm_s16le")
        rate_hz = number_of(settings, "sample_rate", 8_000, 48_000)
        given, model = self.first_of(models_of(message, asked))
        extra = _extra(message, settings, given)
        await ws.send_str(encode({"type": "session.created"}))
        turns = self.profile.value("models", model, "turns")
        kind = _KINDS[turns]
        heed(self, f"livekit.stt.{turns}", extra)
        try:
            await kind.of(self, ws, request_id, model, rate_hz, extra).serve()
        except Closing as closing:
            raise closing.error from None


def _extra(message: dict[str, Any], settings: dict[str, Any], model: str) -> Mapping[str, Any]:
    """The further options of the model that answers."""
    found: Any = settings.get("extra")
    fallback = message.get("fallback")
    if model != message.get("model", model) and isinstance(fallback, dict):
        found = next((m.get("extra") for m in fallback["models"] if m.get("model") == model), {})
    return found if isinstance(found, dict) else {}
