"""An emulated Cartesia: speech synthesis over ``/tts/websocket`` and ``/tts/bytes``.

A context is one utterance whose text arrives in pieces. Its first audio comes after a drawn delay;
then chunks come at the profile's synthesis speed, and a piece that arrives in time continues
without a second delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import wave
from collections.abc import Callable

import numpy as np
from aiohttp import web

from labkit.providers.cartesia_context import Pace, Speech
from labkit.providers.cartesia_request import Refused, Wanted, too_many
from labkit.providers.cartesia_socket import Socket
from labkit.providers.profile import Profile
from labkit.providers.server import Emulator, websocket
from labkit.providers.voice import Voice
from labkit.world.scene import Scene

_STRUCTURED_SINCE = "2026-03-01"  # older API versions get errors as plain text
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


class CartesiaEmulator(Emulator):
    """``api.cartesia.ai``, speech synthesis."""

    name = "cartesia"
    host = "api.cartesia.ai"

    def __init__(
        self,
        profile: Profile,
        scene: Callable[[], Scene],
        *,
        api_keys: frozenset[str] | None = None,
        voice: Voice | None = None,
    ) -> None:
        """Makes an emulator.

        Args:
            profile: Delays, limits and prices.
            scene: Gives the call in progress now.
            api_keys: Keys that are accepted; ``None`` accepts any key that is not empty.
            voice: Speaks; by default the corpus' sentences, and a hum for any other.
        """
        super().__init__(profile, scene, api_keys=api_keys)
        self.voice = voice or Voice()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/tts/websocket", self._socket),
            web.post("/tts/bytes", self._bytes),
        ]

    # -- answers before anything is spoken ---------------------------------------------------

    def refuse(self, request: web.Request, refused: Refused) -> web.Response:
        """An error in the form of the API version asked for."""
        self.log("refused", status=refused.status, code=refused.code)
        request_id = self.identifier("request")
        headers = {"X-Request-Id": request_id}
        if _version(request) < _STRUCTURED_SINCE:
            text = f"{refused.title}: {refused.message}"
            return web.Response(text=text, status=refused.status, headers=headers)
        body = refused.body() | {"request_id": request_id}
        return web.json_response(body, status=refused.status, headers=headers)

    def _check(self, request: web.Request) -> str:
        """The caller's API key.

        Raises:
            Refused: the key or the API version is not acceptable.
        """
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = request.headers.get("X-API-Key") or bearer or request.query.get("api_key", "")
        key = key or request.query.get("access_token") or ""
        if not self.authorized(key):
            raise Refused(401, "unauthorized", "Unauthorized", "The API key is missing or invalid.")
        if not _VERSION.fullmatch(_version(request)):
            raise Refused(
                400,
                "version_invalid",
                "Invalid Cartesia version",
                "Give the API version as YYYY-MM-DD in the Cartesia-Version header or in the "
                "cartesia_version query parameter.",
            )
        return key

    def log_text(self, context: str, wanted: Wanted, text: str) -> None:
        """Takes down text that is to be spoken, and what it costs."""
        price = float(self.profile.value("models", wanted.model, "usd_per_1k_characters"))
        usd = len(text) * price / 1000
        self.log("text", context=context, text=text, characters=len(text), usd=usd)

    def speech(self, wanted: Wanted, purpose: str) -> Speech:
        """A fresh utterance with its luck."""
        nth = self.nth("utterance", purpose)

        def first_audio_s(piece: int) -> float:
            key = (purpose, nth, piece)
            return self.draw("models", wanted.model, "first_audio", purpose="first_audio", key=key)

        pace = Pace(
            first_audio_s=first_audio_s,
            factor=float(self.profile.value("models", wanted.model, "real_time_factor")),
            chunk_s=float(self.profile.value("audio", "chunk_s")),
            leading_s=self.draw(
                "audio", "leading_silence", purpose="leading_silence", key=(purpose, nth)
            ),
            gap_s=float(self.profile.value("audio", "sentence_gap_s")),
        )
        return Speech(self.voice, wanted, pace)

    # -- one recording per request -----------------------------------------------------------

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        release: Callable[[], None] | None = None
        try:
            key = self._check(request)
            try:
                message = json.loads(await request.read())
            except ValueError:
                raise Refused(
                    400, "invalid_json", "Invalid JSON", "The body is not JSON."
                ) from None
            wanted = Wanted.parse(message, self.profile, streaming=False)
            text = str(message.get("transcript") or "")
            if not text.strip():
                raise Refused(400, "transcript_empty", "Invalid transcript", "It is empty.")
            release = self.slots.take(key, self.profile.value("limits", "contexts"))
            if release is None:
                raise too_many()
            return await self._speak(request, wanted, text)
        except Refused as refused:
            return self.refuse(request, refused)
        finally:
            if release is not None:
                release()

    async def _speak(self, request: web.Request, wanted: Wanted, text: str) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        self.log_text("", wanted, text)
        speech = self.speech(wanted, "bytes")
        due_s = loop.time() + speech.pace.first_audio_s(0)
        pcm = speech.add(text).pcm
        response = web.StreamResponse(headers={"X-Request-Id": self.identifier("request")})
        response.content_type = "audio/wav" if wanted.container == "wav" else "audio/pcm"
        await asyncio.sleep(due_s - loop.time())
        await response.prepare(request)
        self.log("first_audio", context="")
        if wanted.container == "wav":
            await response.write(_wav_head(wanted, len(pcm)))
        for chunk in speech.chunks(pcm):
            await asyncio.sleep(due_s - loop.time())
            await response.write(wanted.encode(chunk))
            due_s += len(chunk) / wanted.rate_hz * speech.pace.factor
        await response.write_eof()
        self.log("audio_done", context="", seconds=len(pcm) / wanted.rate_hz)
        return response

    # -- the WebSocket -----------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        try:
            key = self._check(request)
            limits = self.profile
            most = limits.value("limits", "contexts") * limits.value(
                "limits", "sockets_per_context"
            )
            release = self.slots.take(key + " sockets", most)
            if release is None:
                raise too_many()
        except Refused as refused:
            return self.refuse(request, refused)
        try:
            nth = (self.nth("upgrade"),)
            await asyncio.sleep(self.draw("upgrade", "server", purpose="upgrade", key=nth))
            ws = websocket()
            ws.headers["X-Request-Id"] = self.identifier("request")
            with contextlib.suppress(ConnectionResetError):  # the client has left meanwhile
                await ws.prepare(request)
            if not ws.prepared:
                return ws
            await Socket(self, ws, key).serve()
            return ws
        finally:
            release()


def _version(request: web.Request) -> str:
    return request.query.get("cartesia_version") or request.headers.get("Cartesia-Version") or ""


def _wav_head(wanted: Wanted, samples: int) -> bytes:
    head = io.BytesIO()
    with wave.open(head, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(wanted.rate_hz)
        f.writeframes(np.zeros(samples, np.int16).tobytes())
    return head.getvalue()[:44]
