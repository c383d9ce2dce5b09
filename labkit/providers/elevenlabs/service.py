"""An emulated ElevenLabs: speech synthesis over one socket for all replies, and over HTTP."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.bodies import decoded, read_body
from labkit.providers.elevenlabs.access import TRACE, ElevenLabsAccess
from labkit.providers.elevenlabs.requests import (
    at_speed,
    check_voice,
    generate,
    options,
    refused,
)
from labkit.providers.elevenlabs.stream import ElevenLabsSocket, Gathering, too_many
from labkit.providers.heed import heed
from labkit.providers.tts import TTSEmulator

_MOST_BYTES = 4 << 20  # as a message on a socket


class ElevenLabsEmulator(ElevenLabsAccess, TTSEmulator):
    """``api.elevenlabs.io``, speech synthesis."""

    client = 'elevenlabs.ElevenLabs(base_url="http://{at}", api_key="any")'

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/text-to-speech/{voice}/multi-stream-input", self._socket),
            web.post("/v1/text-to-speech/{voice}/stream", self._recording),
            web.post("/v1/text-to-speech/{voice}", self._recording),
            web.get("/v1/voices", self._voices),
        ]

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        key, query = self.key(request), request.query
        check_voice(request.match_info["voice"])
        model = query.get("model_id", "eleven_multilingual_v2")
        asked = options(query, model, self.profile)
        heed(self, "elevenlabs.tts", query)
        most_s = self.profile.value("limits", "inactivity_most_s")
        given = query.get("inactivity_timeout", "20")
        if not (given.isascii() and given.isdigit() and 0 < int(given[:9]) <= most_s):
            raise refused(
                400, "invalid_inactivity_timeout", f"inactivity_timeout must be 1 to {most_s:g}"
            )
        ws, _ = await self.upgrade(request, TRACE)
        if ws.prepared:
            gathering = Gathering(sentences=query.get("auto_mode", "false") == "true")
            socket = ElevenLabsSocket(self, ws, key, asked, gathering, float(given))
            await socket.serve(model=model)
        return ws

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        """One recording per request, sent while it is made."""
        key = self.key(request)
        check_voice(request.match_info["voice"])
        too_large = refused(413, "request_too_large", "The body is too large.")
        raw = await read_body(request, _MOST_BYTES, too_large)
        body = generate(raw)
        heed(self, "elevenlabs.tts", {**request.query, **decoded(raw)})
        model = body.get("model_id", "eleven_multilingual_v2")
        asked = options(request.query, model, self.profile)
        asked = at_speed(asked, body.get("voice_settings"))
        if not body["text"].strip():
            raise refused(400, "invalid_text", "The text is empty.")
        limit = self.profile.value("models", model, "concurrent")
        release = self.slots.take(f"{key} {model}", limit)
        if release is None:
            raise too_many()
        try:
            headers = {TRACE: self.identifier("request")}
            return await self.speak(request, asked, body["text"], headers)
        finally:
            release()

    async def _voices(self, request: web.Request) -> web.Response:
        self.key(request)
        voices = [{"voice_id": "hpp4J3VqNfWAUOO0d1Us", "name": "Bella", "category": "premade"}]
        return web.json_response({"voices": voices})
