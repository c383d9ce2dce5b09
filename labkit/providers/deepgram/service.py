"""An emulated Deepgram: ``/v1/listen`` (streaming and batch) and ``/v2/listen`` (Flux)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from labkit.providers.bodies import read_body
from labkit.providers.deepgram.access import DeepgramAccess, too_many
from labkit.providers.deepgram.flux import FluxListening
from labkit.providers.deepgram.nova import NovaListening
from labkit.providers.deepgram.requests import FluxQuery, ListenQuery
from labkit.providers.deepgram.responses import (
    alternative,
    fingerprint,
    general,
    model_info,
    model_uuid,
    spoken,
    summary,
    transcript,
)
from labkit.providers.heed import heed
from labkit.providers.recording import first_channel, read_wav
from labkit.providers.server import RequestError, shown
from labkit.providers.stt import Listening, STTEmulator
from labkit.world.events import Transcript

_MOST_BYTES = 64 << 20
"""Half an hour of ordinary audio; the true service accepts 2 GB, and works for minutes on it."""


class DeepgramEmulator(DeepgramAccess, STTEmulator):
    """``api.deepgram.com``; serves both recognition protocols on one port."""

    base_path = "/v1/listen"
    client = (
        "deepgram.DeepgramClient(environment=deepgram.environment.DeepgramClientEnvironment("
        'base="http://{at}", production="ws://{at}", agent="ws://{at}", agent_rest="http://{at}"), '
        'api_key="any")'
    )

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/listen", self._listen),
            web.post("/v1/listen", self._batch),
            web.get("/v2/listen", self._flux),
        ]

    def _general(self, asked: str) -> str:
        """The model in the profile whose figures one made for a use has, as nova-2-phonecall."""
        model = general(asked)
        fits = [m for m in self.profile.names("models") if model.startswith(m + "-")]
        return model if model in self.profile.names("models") else max(fits, key=len, default=model)

    def _take(self, key: str, limit: str, model: str, *, flux: bool = False) -> Callable[[], None]:
        """Takes one of the places that a key has under a limit, for a model; gives it back when
        called.

        Raises:
            RequestError: there is no such model, or no place.
        """
        known = [m for m in self.profile.names("models") if m.startswith("flux") == flux]
        if model not in known:
            message = (
                f"Bad Request: No such model/language/tier combination found ({shown(model)})."
            )
            raise RequestError(400, message, "Bad Request")
        release = self.slots.take(f"{key} {limit}", self.profile.value("limits", limit))
        if release is None:
            raise too_many()
        return release

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        key, asked = self.key(request), ListenQuery.parse(request.query)
        model = self._general(asked.model)
        heed(self, "deepgram.stt", request.query)
        return await self._open(
            request,
            self._take(key, "streaming", model),
            lambda ws, id_: NovaListening(self, ws, id_, model, asked),
        )

    async def _flux(self, request: web.Request) -> web.StreamResponse:
        key = self.key(request)
        asked = FluxQuery.parse(request.query, request.query.getall("keyterm", []))
        heed(self, "deepgram.flux", request.query)
        return await self._open(
            request,
            self._take(key, "streaming", asked.model, flux=True),
            lambda ws, id_: FluxListening(self, ws, id_, asked),
        )

    async def _open(
        self,
        request: web.Request,
        release: Callable[[], None],
        listening: Callable[[web.WebSocketResponse, str], Listening],
    ) -> web.StreamResponse:
        """Upgrades and serves one socket."""
        try:
            ws, request_id = await self.upgrade(request, "dg-request-id")
            if ws.prepared:
                await listening(ws, request_id).serve()
            return ws
        finally:
            release()

    # -- a whole recording at once -----------------------------------------------------------

    async def _batch(self, request: web.Request) -> web.Response:
        key, asked = self.key(request), ListenQuery.parse(request.query)
        model = self._general(asked.model)
        heed(self, "deepgram.stt", request.query)
        release = self._take(key, "batch", model)
        try:
            too_large = RequestError(413, "Payload too large.", "PAYLOAD_TOO_LARGE")
            body = await read_body(request, _MOST_BYTES, too_large)
            return await self._transcribe(asked, model, body)
        finally:
            release()

    async def _transcribe(self, asked: ListenQuery, model: str, body: bytes) -> web.Response:
        rate_hz, channels, pcm = asked.sample_rate_hz, asked.channels, body
        try:
            if not asked.raw:
                rate_hz, channels, pcm = read_wav(body)
            if len(pcm) < 2 * channels:
                raise ValueError("not a single sample")
        except ValueError:
            message = "Bad Request: failed to process audio: corrupt or unsupported data"
            raise RequestError(400, message, "Bad Request") from None
        heard, length_s = await self.hear_whole(first_channel(pcm, channels), rate_hz)
        words = spoken(heard, asked.filler_words)
        about = (words[-1].turn, words[-1].ordinal) if words else (-1, -1)
        batch = (*about, self.nth("batch", *about))
        await asyncio.sleep(self.draw("models", model, "batch", purpose="batch", key=batch))
        request_id = self.identifier("request")
        text = transcript(words, asked.written)
        self.log(Transcript(text=text, audio_end_s=length_s, speech_final=True))
        answer = {
            "metadata": summary(request_id, await fingerprint(body), length_s)
            | {"models": [model_uuid(model)], "model_info": {model_uuid(model): model_info(model)}},
            "results": {"channels": [{"alternatives": [alternative(words, asked.written)]}]},
        }
        return web.json_response(answer, headers={"dg-request-id": request_id})
