"""An emulated Cartesia: speech synthesis over ``/tts/websocket`` and ``/tts/bytes``."""

from __future__ import annotations

import re

from aiohttp import web

from labkit.providers.bodies import read_body
from labkit.providers.cartesia.requests import error_body, parse, read, refused, too_many
from labkit.providers.cartesia.stream import CartesiaSocket
from labkit.providers.server import RequestError
from labkit.providers.tts import TTSEmulator

_STRUCTURED_SINCE = "2026-03-01"  # older API versions get errors as plain text
_MOST_BYTES = 4 << 20  # as a message on a socket
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


class CartesiaEmulator(TTSEmulator):
    """``api.cartesia.ai``, speech synthesis."""

    name = "cartesia"
    host = "api.cartesia.ai"
    client = (
        'cartesia.Cartesia(base_url="http://{at}", websocket_base_url="ws://{at}", api_key="any")'
    )

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/tts/websocket", self._socket),
            web.post("/tts/bytes", self._bytes),
        ]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        request_id = self.identifier("request")
        headers = {"X-Request-Id": request_id}
        if _version(request) < _STRUCTURED_SINCE:
            text = f"{error.fields.get('title', 'Error')}: {error.message}"
            return web.Response(text=text, status=error.status, headers=headers)
        body = error_body(error) | {"request_id": request_id}
        return web.json_response(body, status=error.status, headers=headers)

    def _check(self, request: web.Request) -> str:
        """The caller's API key.

        Raises:
            RequestError: the key or the API version is not acceptable.
        """
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = request.headers.get("X-API-Key") or bearer or request.query.get("api_key", "")
        key = key or request.query.get("access_token") or ""
        if not self.authorized(key):
            raise refused(401, "unauthorized", "Unauthorized", "The API key is missing or invalid.")
        if not _VERSION.fullmatch(_version(request)):
            raise refused(
                400,
                "version_invalid",
                "Invalid Cartesia version",
                "Give the API version as YYYY-MM-DD in the Cartesia-Version header or in the "
                "cartesia_version query parameter.",
            )
        return key

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        """One recording per request."""
        key = self._check(request)
        too_large = refused(413, "request_too_large", "Invalid request", "The body is too large.")
        message = read(await read_body(request, _MOST_BYTES, too_large))
        options, body = parse(message, self.profile, streaming=False)
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
        key, limit = self._check(request), self.profile.value
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


def _version(request: web.Request) -> str:
    return request.query.get("cartesia_version") or request.headers.get("Cartesia-Version") or ""
