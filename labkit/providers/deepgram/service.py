"""An emulated Deepgram: ``/v1/listen`` (streaming and batch) and ``/v2/listen`` (Flux)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from labkit.providers.deepgram.flux import FluxListening
from labkit.providers.deepgram.nova import NovaListening
from labkit.providers.deepgram.requests import BadQuery, FluxQuery, ListenQuery
from labkit.providers.deepgram.responses import (
    alternative,
    first_channel,
    general,
    model_info,
    model_uuid,
    read_wav,
    shown,
    summary,
    transcript,
)
from labkit.providers.stt import Listening, STTEmulator
from labkit.world.events import Refused, Transcript


class DeepgramEmulator(STTEmulator):
    """``api.deepgram.com``; serves both recognition protocols on one port."""

    name = "deepgram"
    host = "api.deepgram.com"
    base_path = "/v1/listen"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/listen", self._listen),
            web.post("/v1/listen", self._batch),
            web.get("/v2/listen", self._flux),
        ]

    # -- answers before a socket is open -----------------------------------------------------

    def refuse(self, status: int, code: str, message: str) -> web.Response:
        """An error in the service's form."""
        request_id = self.identifier("request")
        self.log(Refused(status=status, code=code, message=message))
        return web.json_response(
            {"err_code": code, "err_msg": message, "request_id": request_id},
            status=status,
            headers={"dg-request-id": request_id, "dg-error": message},
        )

    def _key(self, request: web.Request) -> str:
        """The API key; browsers send it as a WebSocket subprotocol."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() in ("token", "bearer"):
            return key.strip()
        protocols = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        return protocols[1].strip() if protocols[0].strip() == "token" and protocols[1:] else ""

    def _check(self, request: web.Request, model: str, flux: bool) -> web.Response | None:
        if not self.authorized(self._key(request)):
            return self.refuse(401, "INVALID_AUTH", "Invalid credentials.")
        known = [m for m in self.profile.names("models") if m.startswith("flux") == flux]
        if model not in known:
            message = f"Bad Request: No such model/language/tier combination found ({model})."
            return self.refuse(400, "Bad Request", message)
        return None

    async def _open(
        self,
        request: web.Request,
        model: str,
        listening: Callable[[web.WebSocketResponse, str], Listening],
    ) -> web.StreamResponse:
        """Checks, upgrades and serves one socket."""
        refused = self._check(request, model, flux=request.path.startswith("/v2"))
        if refused is not None:
            return refused
        release = self.slots.take(self._key(request), self.profile.value("limits", "streaming"))
        if release is None:
            return self.refuse(
                429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later"
            )
        try:
            ws, request_id = await self.upgrade(request, "dg-request-id")
            if ws.prepared:
                await listening(ws, request_id).serve()
            return ws
        finally:
            release()

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = ListenQuery.parse(request.query)
        except BadQuery as e:
            return self._bad_query(request, e)
        model = general(asked.model)
        return await self._open(
            request, model, lambda ws, id_: NovaListening(self, ws, id_, model, asked)
        )

    async def _flux(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = FluxQuery.parse(request.query, request.query.getall("keyterm", []))
        except BadQuery as e:
            return self._bad_query(request, e)
        return await self._open(
            request, asked.model, lambda ws, id_: FluxListening(self, ws, id_, asked)
        )

    def _bad_query(self, request: web.Request, error: BadQuery) -> web.Response:
        if not self.authorized(self._key(request)):
            return self.refuse(401, "INVALID_AUTH", "Invalid credentials.")
        message = f"Failed to deserialize query parameters: {error}"
        return self.refuse(400, "INVALID_QUERY_PARAMETER", message)

    # -- a whole recording at once -----------------------------------------------------------

    async def _batch(self, request: web.Request) -> web.Response:
        try:
            asked = ListenQuery.parse(request.query)
        except BadQuery as e:
            return self._bad_query(request, e)
        model = general(asked.model)
        refused = self._check(request, model, flux=False)
        if refused is not None:
            return refused
        release = self.slots.take(
            self._key(request) + " batch", self.profile.value("limits", "batch")
        )
        if release is None:
            return self.refuse(
                429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later"
            )
        try:
            return await self._transcribe(asked, model, await request.read())
        finally:
            release()

    async def _transcribe(self, asked: ListenQuery, model: str, body: bytes) -> web.Response:
        rate_hz, channels, pcm = asked.sample_rate_hz, asked.channels, body
        if not asked.raw:
            try:
                rate_hz, channels, pcm = read_wav(body)
            except ValueError:
                message = "Bad Request: failed to process audio: corrupt or unsupported data"
                return self.refuse(400, "Bad Request", message)
        heard, length_s = self.hear_whole(first_channel(pcm, channels), rate_hz)
        words = shown(heard, asked.filler_words)
        await asyncio.sleep(
            self.draw("models", model, "batch", purpose="batch", key=(self.nth("batch"),))
        )
        request_id = self.identifier("request")
        text = transcript(words, asked.written)
        self.log(Transcript(text=text, audio_end_s=length_s, speech_final=True))
        answer = {
            "metadata": summary(request_id, body, length_s)
            | {"models": [model_uuid(model)], "model_info": {model_uuid(model): model_info(model)}},
            "results": {"channels": [{"alternatives": [alternative(words, asked.written)]}]},
        }
        return web.json_response(answer, headers={"dg-request-id": request_id})
