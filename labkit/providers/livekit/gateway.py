"""What all parts of the gateway share: who may enter, which models there are, what lies behind it.

A part answers as if the model sat in the gateway, but later by the way to the model and back
(``behind`` in the profile). Each event is logged at the moment it happens at the model: what comes
in is there a little later than here, and what goes out left it a little earlier.

The service publishes neither the text nor the codes of its errors; its client reads the HTTP status
and the ``code``, and those are here what they are elsewhere on the web.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Callable
from typing import Any, ClassVar

from aiohttp import web

from labkit.providers.bodies import NotJson, decoded
from labkit.providers.nearest import nearest
from labkit.providers.server import Emulator, RequestError, shown
from labkit.world.events import AudioCut, Cancelled, Event, Request, Role, Scored, Text

_INWARDS = (Request, Text, Cancelled, AudioCut, Scored)
_ANSWERS = ("first_token", "first_audio", "final", "finalize", "interim", "event", "inference")
"""Delays between what is sent to a model and what it answers."""
REQUEST_ID = "X-LiveKit-Request-Id"


class GatewayPart(Emulator):
    """Base of the parts.

    The profile holds, besides what the part itself needs: ``rtt_s`` and ``message_s`` under
    ``behind``; ``providers`` and ``usual`` under ``names``; ``unavailable`` under ``limits``.
    """

    name: ClassVar[str] = "livekit"
    host: ClassVar[str] = "agent-gateway.livekit.cloud"
    base_path: ClassVar[str] = "/v1"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        figure = self.profile.value
        self.behind_s = figure("behind", "rtt_s") / 2 + float(figure("behind", "message_s"))

    # -- time --------------------------------------------------------------------------------

    def draw(self, *parts: str, **how: Any) -> float:
        """A delay of the profile, seconds; of an answer with the way to the model and back."""
        own_s = super().draw(*parts, **how)
        return own_s + 2 * self.behind_s if parts[-1] in _ANSWERS else own_s

    def logger(self, role: Role | None = None) -> Callable[[Event], None]:
        """Writes events into the log of the present call, at the time they happen at the model."""
        log, loop, way_s = self.scene().log, asyncio.get_running_loop(), self.behind_s

        def write(event: Event) -> None:
            sign = 1 if isinstance(event, _INWARDS) else -1
            log.add(event, loop.time() + sign * way_s, role or self.role, self.name)

        return write

    # -- who may enter -----------------------------------------------------------------------

    def enter(self, request: web.Request) -> str:
        """The project whose token a request carries. Any key pair is accepted.

        Raises:
            RequestError: there is no token, or it is not of the form that the service wants.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise RequestError(401, "no authorization header with a bearer token")
        return _issuer(token)

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        body = {"type": "error", "code": error.code or error.status, "message": error.message}
        headers = {REQUEST_ID: self.identifier("request")} | error.headers
        return web.json_response({"error": body}, status=error.status, headers=headers)

    def place(self, project: str) -> Callable[[], None]:
        """Takes one of a project's sockets; gives it back when called.

        Raises:
            RequestError: all are taken.
        """
        release = self.slots.take(project, self.profile.value("limits", "sockets"))
        if release is None:
            raise RequestError(429, "the project's limit of concurrent sessions is reached")
        return release

    # -- models ------------------------------------------------------------------------------

    def model(self, asked: str) -> str:
        """The model of the profile that answers for ``asked``: itself, or the nearest.

        Raises:
            RequestError: the gateway knows no such provider.
        """
        known = self.profile.names("models")
        if asked in known:
            return asked
        figure = self.profile.value
        provider = asked.partition("/")[0]
        if provider not in figure("names", "providers") and asked != "auto":
            providers = ", ".join(figure("names", "providers"))
            raise RequestError(
                404, f"unknown model {shown(asked)!r}; it begins with one of: {providers}"
            )
        near = [name for name in known if name.startswith(provider + "/")]
        return nearest(self, asked, near, str(figure("names", "usual")))

    def available(self, asked: str) -> bool:
        """Whether a model is not among those that are set to fail."""
        failing = str(self.profile.value("limits", "unavailable")).split(",")
        return asked not in map(str.strip, failing)

    def first_of(self, asked: list[str]) -> tuple[str, str]:
        """The first model that answers: as asked for, and as the profile knows it.

        Raises:
            RequestError: that of the first, if none answers.
        """
        first: RequestError | None = None
        for name in asked:
            try:
                if not self.available(name):
                    raise RequestError(503, f"the provider of {shown(name)} is unavailable")
                return name, self.model(name)
            except RequestError as error:
                first = first or error
        raise first or RequestError(400, "no model is named")


def message_of(data: str | bytes) -> dict[str, Any]:
    """A message on a socket.

    Raises:
        RequestError: it is no JSON object with a ``type``.
    """
    try:
        message = decoded(data)
    except NotJson as error:
        raise RequestError(400, f"not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise RequestError(400, "a message is a JSON object with a type")
    return message


def models_of(message: dict[str, Any], asked: str) -> list[str]:
    """The models that a ``session.create`` names: the first choice, then those to fall back on."""
    fallback = message.get("fallback")
    rest = fallback.get("models") if isinstance(fallback, dict) else None
    names = [m.get("model") for m in rest or () if isinstance(m, dict)]
    return [str(name) for name in (message.get("model") or asked, *names) if name]


def number_of(message: dict[str, Any], name: str, low: int, high: int) -> int:
    """A whole number of a message, which the client sends as text.

    Raises:
        RequestError: it is none, or out of range.
    """
    text = str(message.get(name, ""))
    if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high:
        raise RequestError(400, f"{name} must be from {low} to {high}, got {shown(text)!r}")
    return int(text)


def error_of(error: RequestError) -> dict[str, Any]:
    """An error as a message on a socket."""
    return {"type": "error", "code": error.code or error.status, "message": error.message}


def _issuer(token: str) -> str:
    """The key that a token was made with, if it grants inference now."""
    try:
        head, body, signature = (_part(p) for p in token.split("."))
        algorithm = json.loads(head)["alg"]
        claims = json.loads(body)
        issuer, until_s = str(claims["iss"]), float(claims["exp"])
        granted = bool(claims["inference"]["perform"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise RequestError(401, "the token is not a JSON web token that grants inference") from None
    if algorithm != "HS256" or len(signature) != 32 or not issuer:
        raise RequestError(401, "the token must be signed with HS256 and name its issuer")
    if not granted:
        raise RequestError(403, "the token does not grant inference")
    if until_s < time.time():
        raise RequestError(401, "the token has expired")
    return issuer


def _part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
