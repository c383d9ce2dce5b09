"""Who may ask, and how OpenAI refuses, whatever is asked for."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.server import Emulator, RequestError


def error_response(error: RequestError, request_id: str) -> web.Response:
    """An error in the service's form."""
    fields = {"type": "invalid_request_error", "param": None, "code": error.code} | error.fields
    headers = {"x-request-id": request_id} | error.headers
    body = {"error": {"message": error.message, **fields}}
    return web.json_response(body, status=error.status, headers=headers)


def bearer(service: Emulator, request: web.Request) -> str:
    """The key of an ``Authorization: Bearer`` header.

    Raises:
        RequestError: there is none, or it is not accepted.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not key:
        text = (
            "You didn't provide an API key. You need to provide your API key in an "
            "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        raise RequestError(401, text)
    if not service.authorized(key):
        shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
        text = (
            f"Incorrect API key provided: {shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )
        raise RequestError(401, text, "invalid_api_key")
    return key
