"""Who may ask, and how ElevenLabs refuses, whatever is asked for."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.elevenlabs.requests import refused
from labkit.providers.server import Emulator, RequestError

TRACE = "x-trace-id"


class ElevenLabsAccess(Emulator):
    """What the emulators of both roles of ``api.elevenlabs.io`` share."""

    name = "elevenlabs"
    host = "api.elevenlabs.io"
    base_path = "/v1"

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        trace = self.identifier("request")
        detail = {"type": "error", "code": error.code, "status": error.code}
        detail |= {"message": error.message, "request_id": trace}
        headers = {TRACE: trace}
        return web.json_response({"detail": detail}, status=error.status, headers=headers)

    def key(self, request: web.Request) -> str:
        """The caller's API key.

        Raises:
            RequestError: it is not accepted.
        """
        key = request.headers.get("xi-api-key") or request.query.get("token", "")
        if not self.authorized(key):
            raise refused(401, "invalid_api_key", "Invalid API key")
        return key
