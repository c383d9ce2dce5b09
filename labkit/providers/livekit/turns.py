"""The gateway's detectors: ``/v1/eot``, is a turn over; ``/v1/bargein``, is this to interrupt."""

from __future__ import annotations

from typing import ClassVar

from aiohttp import web

from labkit.providers.livekit.bargein import BargeIn
from labkit.providers.livekit.eot import EndOfTurn
from labkit.providers.livekit.gateway import REQUEST_ID, GatewayPart
from labkit.world.events import Role


class GatewayTurns(GatewayPart):
    """Detectors of turns.

    The profile holds what :class:`EndOfTurn` needs under ``eot`` and what :class:`BargeIn` needs
    under ``bargein``.
    """

    role: ClassVar[Role] = Role.TURNS

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/eot", self._eot), web.get("/v1/bargein", self._bargein)]

    async def _eot(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, EndOfTurn)

    async def _bargein(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, BargeIn)

    async def _serve(
        self, request: web.Request, kind: type[EndOfTurn | BargeIn]
    ) -> web.StreamResponse:
        release = self.place(self.enter(request))
        try:
            ws, request_id = await self.upgrade(request, REQUEST_ID)
            if ws.prepared:
                await kind(self, ws, request_id).serve()
            return ws
        finally:
            release()
