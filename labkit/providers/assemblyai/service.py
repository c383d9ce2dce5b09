"""An emulated AssemblyAI: streaming recognition over ``/v3/ws``."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.assemblyai.listening import ProListening, UniversalListening, refuse
from labkit.providers.assemblyai.requests import TOO_MANY, UNAUTHORIZED, Asked, closing
from labkit.providers.heed import heed
from labkit.providers.server import RequestError
from labkit.providers.stt import STTEmulator
from labkit.world.events import Refused


class AssemblyAIEmulator(STTEmulator):
    """``streaming.assemblyai.com``. What it refuses it refuses on the open socket."""

    name = "assemblyai"
    host = "streaming.assemblyai.com"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v3/ws", self._socket)]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return web.json_response({"error": error.message}, status=error.status)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        ws, request_id = await self.upgrade(request, "x-request-id")
        if not ws.prepared:
            return ws
        release = None
        try:
            key = request.headers.get("Authorization") or request.query.get("token", "")
            if not self.authorized(key):
                raise closing(UNAUTHORIZED, "Unauthorized Connection: Invalid API key")
            asked = Asked.parse(request.query, self.profile)
            heed(self, "assemblyai.stt", request.query)
            release = self.slots.take(key, self.profile.value("limits", "streaming"))
            if release is None:
                raise closing(TOO_MANY, "Unauthorized Connection: Too many concurrent sessions")
            newer = self.profile.value("models", asked.model, "newer")
            kind = ProListening if newer else UniversalListening
            await kind(self, ws, request_id, asked).serve()
        except RequestError as error:
            self.log(Refused(status=error.status, code=error.code, message=error.message))
            await refuse(ws, error)
        finally:
            if release is not None:
                release()
        return ws
