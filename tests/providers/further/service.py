"""A TTS behind ``/v1/audio/speech``, as many self-hosted ones are: a module like any other."""

from __future__ import annotations

import json

from aiohttp import web

from labkit.providers.tts import Options, TTSEmulator
from labkit.world.events import Refused


class FurtherEmulator(TTSEmulator):
    """``tts.further.example``."""

    name = "further"
    host = "tts.further.example"
    base_path = "/v1"

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/audio/speech", self._speech)]

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        if not self.authorized(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            return self._refuse(401, "invalid API key")
        body = json.loads(await request.read())
        if body.get("model") not in self.profile.names("models"):
            return self._refuse(404, f"no model {body.get('model')!r}")
        options = Options(body["model"], rate_hz=24_000)
        return await self.speak(request, options, body["input"], {})

    def _refuse(self, status: int, message: str) -> web.Response:
        self.log(Refused(status=status, message=message))
        return web.json_response({"error": {"message": message}}, status=status)
