"""Who may ask, and how Deepgram refuses, whatever is asked for."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.server import Emulator, RequestError, header_text


class DeepgramAccess(Emulator):
    """What the emulators of all roles of ``api.deepgram.com`` share."""

    name = "deepgram"
    host = "api.deepgram.com"

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        request_id = self.identifier("request")
        return web.json_response(
            {"err_code": error.code, "err_msg": error.message, "request_id": request_id},
            status=error.status,
            headers={"dg-request-id": request_id, "dg-error": header_text(error.message)},
        )

    def key(self, request: web.Request) -> str:
        """The API key; browsers send it as a WebSocket subprotocol.

        Raises:
            RequestError: it is not accepted.
        """
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("token", "bearer"):
            protocols = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
            key = protocols[1] if protocols[0].strip() == "token" and protocols[1:] else ""
        if not self.authorized(key.strip()):
            raise RequestError(401, "Invalid credentials.", "INVALID_AUTH")
        return key.strip()


def too_many() -> RequestError:
    """More at once than the plan allows."""
    return RequestError(429, "Too many requests. Please try again later", "TOO_MANY_REQUESTS")
