"""An emulated Cartesia: speech synthesis over ``/tts/websocket`` and ``/tts/bytes``."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.bodies import read_body
from labkit.providers.cartesia.access import CartesiaAccess
from labkit.providers.cartesia.requests import parse, read, refused, too_many
from labkit.providers.cartesia.stream import CartesiaSocket
from labkit.providers.heed import heed
from labkit.providers.tts import TTSEmulator

_MOST_BYTES = 4 << 20  # as a message on a socket


class CartesiaEmulator(CartesiaAccess, TTSEmulator):
    """``api.cartesia.ai``, speech synthesis."""

    client = (
        'cartesia.Cartesia(base_url="http://{at}", websocket_base_url="ws://{at}", api_key="any")'
    )

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/tts/websocket", self._socket),
            web.post("/tts/bytes", self._bytes),
        ]

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        """One recording per request."""
        key = self.key(request)
        too_large = refused(413, "request_too_large", "Invalid request", "The body is too large.")
        message = read(await read_body(request, _MOST_BYTES, too_large))
        options, body = parse(message, self.profile, streaming=False)
        heed(self, "cartesia.tts", message)
        text = body.get("transcript") or ""
        if not text.strip():
            raise refused(400, "transcript_empty", "Invalid transcript", "It is empty.")
        release = self.slots.take(key, self.profile.value("limits", "contexts"))
        if release is None:
            raise too_many()
        try:
            headers = {"X-Request-Id": self.identifier("request")}
            return await self.speak(request, options, text, headers)
        finally:
            release()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        key, limit = self.key(request), self.profile.value
        most = limit("limits", "contexts") * limit("limits", "sockets_per_context")
        release = self.slots.take(key + " sockets", most)
        if release is None:
            raise too_many()
        try:
            ws, _ = await self.upgrade(request, "X-Request-Id")
            if ws.prepared:
                await CartesiaSocket(self, ws, key).serve()
            return ws
        finally:
            release()
