"""A TTS behind ``/v1/audio/speech``, as many self-hosted ones are: a module like any other."""

from __future__ import annotations

import json

from aiohttp import web

from labkit.providers.server import RequestError
from labkit.providers.tts import Options, TTSEmulator


class FurtherEmulator(TTSEmulator):
    """``tts.further.example``."""

    name = "further"
    host = "tts.further.example"
    base_path = "/v1"

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/audio/speech", self._speech)]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return web.json_response({"error": {"message": error.message}}, status=error.status)

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        if not self.authorized(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            raise RequestError(401, "invalid API key")
        body = json.loads(await request.read())
        if body.get("model") not in self.profile.names("models"):
            raise RequestError(404, f"no model {body.get('model')!r}")
        options = Options(body["model"], rate_hz=24_000)
        return await self.speak(request, options, body["input"], {})
