"""Who may ask, and how Cartesia refuses, whatever is asked for."""

from __future__ import annotations

import re

from aiohttp import web

from labkit.providers.cartesia.requests import error_body, refused
from labkit.providers.server import Emulator, RequestError

_STRUCTURED_SINCE = "2026-03-01"  # older API versions get errors as plain text
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


class CartesiaAccess(Emulator):
    """What the emulators of both roles of ``api.cartesia.ai`` share."""

    name = "cartesia"
    host = "api.cartesia.ai"

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        request_id = self.identifier("request")
        headers = {"X-Request-Id": request_id}
        if _version(request) < _STRUCTURED_SINCE:
            text = f"{error.fields.get('title', 'Error')}: {error.message}"
            return web.Response(text=text, status=error.status, headers=headers)
        body = error_body(error) | {"request_id": request_id}
        return web.json_response(body, status=error.status, headers=headers)

    def key(self, request: web.Request) -> str:
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


def _version(request: web.Request) -> str:
    return request.query.get("cartesia_version") or request.headers.get("Cartesia-Version") or ""
