"""The API of the LiveKit server: Twirp over HTTP, as ``ctx.api`` and ``api.LiveKitAPI`` speak it.

Each request is told to the room's ``note``. What it does and what is answered stands in
:mod:`labkit.tunnel.room_answers`; anything else is refused by name, as a route that is not there.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from livekit import api

from labkit.tunnel.room_answers import TABLE, ApiError, Server


class RoomApi:
    """The API of the server that holds the call's room.

    Args:
        server: The server.
        secret: The API key and secret that are accepted; None for any.
    """

    def __init__(self, server: Server, secret: tuple[str, str] | None = None) -> None:
        self._server, self._secret = server, secret

    def app(self) -> web.Application:
        """A fresh web application."""
        app = web.Application()
        app.add_routes([web.route("*", r"/{path:[\s\S]*}", self._serve)])
        return app

    async def _serve(self, request: web.Request) -> web.Response:
        name = request.path.removeprefix("/twirp/livekit.")
        try:
            entry = TABLE.get(name)
            if entry is None or request.method != "POST":
                known = ", ".join(sorted(TABLE))
                raise ApiError(
                    "bad_route",
                    f"the tunnel's LiveKit server has no {request.method} {request.path}; it has: "
                    f"{known}", 404,
                )  # fmt: skip
            self._authorize(request.headers.get("Authorization", ""))
            kind, answer = entry
            asked = self._parsed(kind, request.content_type, await request.read())
            await asyncio.sleep(self._server.draw("answer", name))
            given = json_format.MessageToDict(asked, preserving_proto_field_name=True)
            self._server.room.note("api", method=name, request=given)
            result = answer(self._server, asked)
            if asyncio.iscoroutine(result):
                result = await result
        except ApiError as e:
            self._server.room.note("api", method=name, refused=str(e))
            body = json.dumps({"code": e.code, "msg": str(e)})
            return web.Response(status=e.status, text=body, content_type="application/json")
        if request.content_type == "application/json":
            text = json_format.MessageToJson(result, preserving_proto_field_name=True)
            return web.Response(text=text, content_type="application/json")
        return web.Response(body=result.SerializeToString(), content_type="application/protobuf")

    def _authorize(self, header: str) -> None:
        token = header.removeprefix("Bearer ").strip()
        try:
            if self._secret is not None:
                api.TokenVerifier(*self._secret).verify(token)
        except Exception as e:  # the library raises its own kinds and PyJWT's
            raise ApiError("unauthenticated", f"invalid API key or secret: {e}", 401) from None
        if not token:
            raise ApiError("unauthenticated", "no access token", 401)

    @staticmethod
    def _parsed(kind: type[Any], content_type: str, body: bytes) -> Any:
        try:
            if content_type == "application/json":
                return json_format.Parse(body, kind())
            return kind.FromString(body)
        except (DecodeError, json_format.ParseError) as e:
            raise ApiError("malformed", f"no {kind.__name__}: {e}", 400) from None
