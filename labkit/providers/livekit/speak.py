"""The gateway's ``/v1/tts``: sentences in, audio out, one synthesis at a time on a socket."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import WSCloseCode, web

from labkit.providers.contexts import Context, ContextSocket
from labkit.providers.heed import heed
from labkit.providers.livekit.gateway import (
    REQUEST_ID,
    GatewayPart,
    error_of,
    message_of,
    models_of,
    number_of,
)
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.tts import Options, Speech, TTSEmulator, speed_of
from labkit.world.clips import Word
from labkit.world.events import Refused

_LONGEST = 20_000
"""Characters of a sentence, and of a synthesis that waits; the service publishes no limit."""


class GatewaySpeech(GatewayPart, TTSEmulator):
    """Speech."""

    draws_as = "cartesia"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/tts", self._speak)]

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        release = self.place(self.enter(request))
        try:
            ws, request_id = await self.upgrade(request, REQUEST_ID)
            if ws.prepared:
                asked = request.query.get("model", "")
                await SpeechSocket(self, ws, request_id, asked).serve()
            return ws
        finally:
            release()


class SpeechContext(Context):
    """A synthesis, as the gateway's messages tell of it."""

    def __init__(
        self,
        service: TTSEmulator,
        context_id: str,
        speech: Speech,
        ws: web.WebSocketResponse,
        session_id: str,
        blanks: bool,
    ) -> None:
        super().__init__(service, context_id, speech)
        self._ws, self._session_id, self._blanks = ws, session_id, blanks

    async def send_audio(self, audio: bytes, step_s: float) -> None:
        if self._ws.closed:
            raise ConnectionError
        await self._send("output_audio", audio=base64.b64encode(audio).decode())

    async def send_words(self, words: tuple[Word, ...]) -> None:
        blank = " " if self._blanks else ""
        stamps = [{"word": w.text + blank, "start": w.start_s, "end": w.end_s} for w in words]
        await self._send("output_alignment", words=stamps)

    async def send_done(self) -> None:
        await self._send("done")

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._ws.send_str(encode({"type": kind, "session_id": self._session_id, **fields}))


class SpeechSocket(ContextSocket):
    """One open WebSocket."""

    service: GatewaySpeech

    def __init__(
        self, service: GatewaySpeech, ws: web.WebSocketResponse, session_id: str, asked: str
    ) -> None:
        super().__init__(service, ws)
        self._session_id, self._asked = session_id, asked
        self._options: Options | None = None
        self._blanks = False  # whether the client wants them after words
        self._context: Context | None = None
        self._n = 0

    async def take(self, data: str | bytes) -> None:
        try:
            message = message_of(data)
            await self._handle(message["type"], message)
        except RequestError as error:
            self.service.log(Refused(status=error.status, code=error.code, message=error.message))
            await self.ws.send_str(encode(error_of(error)))
            await self.ws.close(code=WSCloseCode.POLICY_VIOLATION)

    async def _handle(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "session.create":
            self._create(message)
            created = {"type": "session.created", "session_id": self._session_id}
            await self.ws.send_str(encode(created))
        elif kind == "session.close":
            await self.ws.close(code=1000)
        elif self._options is None:
            raise RequestError(400, f"session.create comes first, not {kind[:50]!r}")
        elif kind == "input_transcript":
            self._say(self._options, message.get("transcript"))
        elif kind == "session.flush":
            self._speaking(self._options).push("", final=True)
            self._context = None
        else:
            raise RequestError(400, f"unknown type {kind[:50]!r}")

    def _create(self, message: dict[str, Any]) -> None:
        if message.get("encoding") != "pcm_s16le":
            raise RequestError(400, "encoding must be pcm_s16le")
        rate_hz = number_of(message, "sample_rate", 8_000, 48_000)
        given, model = self.service.first_of(models_of(message, self._asked))
        extra = message.get("extra")
        wanted = extra if isinstance(extra, dict) else {}
        stamps = bool(wanted.get("add_timestamps") or wanted.get("timestamp_type"))
        speed = speed_of(wanted.get("speed"), 0.25, 4)
        as_said = {**wanted, "speed": None} if speed is not None else wanted
        heed(self.service, "livekit.tts", as_said)
        self._options = Options(model, rate_hz, timestamps=stamps, speed=speed or 1.0)
        self._blanks = not given.startswith("cartesia/")  # for those the client adds them

    def _speaking(self, options: Options) -> Context:
        """The synthesis that is open, or a new one."""
        if self._context is None:
            self._n += 1
            context_id, speech = f"{self._session_id}.{self._n}", self.service.speech(options)
            self._context = SpeechContext(
                self.service, context_id, speech, self.ws, self._session_id, self._blanks
            )
            self.begin(self._context)
        return self._context

    def _say(self, options: Options, transcript: Any) -> None:
        if not isinstance(transcript, str) or len(transcript) > _LONGEST:
            raise RequestError(400, f"transcript must be a text of at most {_LONGEST} characters")
        context = self._speaking(options)
        if context.waiting + len(transcript) > _LONGEST:
            raise RequestError(400, f"more than {_LONGEST} characters wait to be spoken")
        if transcript.strip():
            self.service.log_text(context.id, options.model, transcript)
        context.push(transcript)
