"""Deepgram's speech synthesis (Aura): ``/v1/speak``, over a socket and over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from aiohttp import web
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from labkit.errors import one_of
from labkit.providers.bodies import Flaw, NotJson, checked, decoded, read_body
from labkit.providers.contexts import Context, ContextSocket
from labkit.providers.deepgram.access import DeepgramAccess, too_many
from labkit.providers.deepgram.requests import BadQuery
from labkit.providers.deepgram.responses import model_uuid
from labkit.providers.heed import heed
from labkit.providers.outbox import encode
from labkit.providers.profile import Profile
from labkit.providers.server import RequestError, shown
from labkit.providers.tts import Options, Speech, TTSEmulator
from labkit.world.events import Refused

_MOST_BYTES = 1 << 20
_LONGEST = 2000  # characters of a request and of a message
_RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)
_ENCODINGS = {"linear16": "pcm_s16le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
_config = with_config(ConfigDict(extra="ignore", strict=True))


@_config
class Body(TypedDict):
    """A request for one recording."""

    text: Annotated[str, Field(min_length=1, max_length=_LONGEST)]


@_config
class Message(TypedDict):
    """A message on the socket."""

    type: str
    text: NotRequired[Annotated[str, Field(max_length=_LONGEST)]]


_BODY: TypeAdapter[Body] = TypeAdapter(Body)
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def _read(raw: bytes | str, schema: TypeAdapter[Any]) -> Any:
    def refusal_of(flaw: Flaw) -> RequestError:
        code = "INPUT_TEXT_TOO_LONG" if flaw.kind == "string_too_long" else "PAYLOAD_ERROR"
        at = shown(".".join(map(str, flaw.at)) or "message")
        return RequestError(413 if "LONG" in code else 400, f"{at}: {flaw.text}", code)

    try:
        return checked(schema, decoded(raw), refusal_of)
    except NotJson as error:
        raise RequestError(400, f"Invalid JSON submitted: {error}", "INVALID_JSON") from None


def options(query: Mapping[str, str], profile: Profile, *, streaming: bool) -> Options:
    """How the speech shall sound.

    Raises:
        RequestError: with the reason the service would give.
    """
    known, voice = profile.names("models"), query.get("model", "aura-asteria-en")
    fits = [name for name in known if re.fullmatch(rf"{re.escape(name)}-[a-z]+-[a-z]+", voice)]
    if not fits:
        message = f"No such model/version combination found: {shown(voice)} must be "
        forms = " or ".join(f"{name}-VOICE-LANGUAGE" for name in known)
        raise RequestError(400, message + forms, "INVALID_MODEL")
    encoding, rate = query.get("encoding", "linear16"), query.get("sample_rate", "24000")
    if encoding not in _ENCODINGS:
        known = [*_ENCODINGS]
        raise BadQuery(f"encoding `{shown(encoding)}` is not emulated: {one_of(encoding, known)}")
    if rate not in map(str, _RATES_HZ):
        raise BadQuery(f"sample_rate {shown(rate)} must be one of {_RATES_HZ}")
    container = query.get("container", "none" if streaming else "wav")
    if container not in ("none", "wav") or (container == "wav" and encoding != "linear16"):
        raise BadQuery(f"container `{shown(container)}` of `{encoding}` is not emulated")
    try:
        speed = float(query.get("speed", "1"))
    except ValueError:
        speed = 0.0
    if not 0.7 <= speed <= 1.5:
        raise BadQuery(f"speed {shown(query['speed'])} must be from 0.7 to 1.5")
    return Options(
        model=max(fits, key=len),
        rate_hz=int(rate),
        encoding=_ENCODINGS[encoding],
        container="wav" if container == "wav" else "raw",
        buffer_s=float(profile.value("contexts", "buffer_s")),
        speed=speed,
    )


class DeepgramSpeechEmulator(DeepgramAccess, TTSEmulator):
    """``api.deepgram.com``, speech synthesis."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/speak", self._socket), web.post("/v1/speak", self._recording)]

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        key = self.key(request)
        asked = options(request.query, self.profile, streaming=True)
        heed(self, "deepgram.tts", request.query)
        release = self.slots.take(key, self.profile.value("limits", "streaming"))
        if release is None:
            raise too_many()
        try:
            ws, request_id = await self.upgrade(request, "dg-request-id")
            if ws.prepared:
                voice = request.query.get("model", "aura-asteria-en")
                await SpeakSocket(self, ws, asked).speak(request_id, voice)
            return ws
        finally:
            release()

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        key = self.key(request)
        asked = options(request.query, self.profile, streaming=False)
        heed(self, "deepgram.tts", request.query)
        too_large = RequestError(413, "Payload too large.", "PAYLOAD_TOO_LARGE")
        text = _read(await read_body(request, _MOST_BYTES, too_large), _BODY)["text"]
        if not text.strip():
            raise RequestError(400, "Input text is empty.", "PAYLOAD_ERROR")
        release = self.slots.take(f"{key} rest", self.profile.value("limits", "rest"))
        if release is None:
            raise too_many()
        try:
            headers = {"dg-request-id": self.identifier("request"), "dg-model-name": asked.model}
            return await self.speak(request, asked, text, headers)
        finally:
            release()


class SpeakContext(Context):
    """The text between two flushes."""

    def __init__(
        self, service: TTSEmulator, context_id: str, speech: Speech, ws: web.WebSocketResponse
    ) -> None:
        super().__init__(service, context_id, speech)
        self._ws, self.cleared = ws, False

    async def send_audio(self, audio: bytes, step_s: float) -> None:
        if self._ws.closed or self.cleared:
            raise ConnectionError
        await self._ws.send_bytes(audio)

    async def send_flushed(self, nth: int) -> None:
        if not self._ws.closed:
            await self._ws.send_str(encode({"type": "Flushed", "sequence_id": int(self.id)}))


class SpeakSocket(ContextSocket):
    """One open WebSocket: text in, and audio as binary messages out."""

    def __init__(
        self, service: DeepgramSpeechEmulator, ws: web.WebSocketResponse, asked: Options
    ) -> None:
        super().__init__(service, ws)
        self._asked = asked
        self._open: SpeakContext | None = None  # takes text
        self._n = 0

    async def speak(self, request_id: str, voice: str) -> None:
        """Serves the socket until it closes."""
        told = {"type": "Metadata", "request_id": request_id, "model_name": voice}
        told |= {"model_version": "emulated", "model_uuid": model_uuid(voice)}
        await self.ws.send_str(encode(told))
        await self.serve(model=self._asked.model, request_id=request_id)

    async def take(self, data: str | bytes) -> None:
        try:
            message: Message = _read(data, _MESSAGE)
            match message["type"]:
                case "Speak":
                    self._say(message.get("text", ""))
                case "Flush":
                    await self._flush()
                case "Clear":
                    await self._clear()
                case "Close":
                    await self._flush()
                    self._closing = self._loop.create_task(self._finish())
                case kind:
                    text = f"Unknown message type {shown(kind)}: use Speak, Flush, Clear or Close."
                    raise RequestError(400, text, "UNPARSABLE_CLIENT_MESSAGE")
        except RequestError as error:
            self.service.log(Refused(status=error.status, code=error.code, message=error.message))
            told = {"type": "Error", "err_code": error.code, "err_msg": error.message}
            await self.ws.send_str(encode(told))
            await self.ws.close(code=1008, message=(error.code or "").encode())

    def _say(self, text: str) -> None:
        if self._open is None:
            speech = self.service.speech(self._asked)
            self._open = SpeakContext(self.service, str(self._n), speech, self.ws)
            self._n += 1
            before = [task for task in self._tasks if not task.done()]
            if before:
                self._after(before, self._open)
            else:
                self.begin(self._open)
        if text.strip():
            self.service.log_text(self._open.id, self._asked.model, text)
        self._open.push(text)

    def _after(self, before: list[asyncio.Task[None]], context: SpeakContext) -> None:
        """One utterance is spoken after the other, as they share the socket."""
        left = len(before)

        def done(_: asyncio.Task[None]) -> None:
            nonlocal left
            left -= 1
            if not left and not self.ws.closed:
                self.begin(context)

        for task in before:
            task.add_done_callback(done)

    async def _flush(self) -> None:
        context, self._open = self._open, None
        if context is not None:
            context.push("", flush=True, final=True)
        elif not self.ws.closed:
            await self.ws.send_str(encode({"type": "Flushed", "sequence_id": self._n}))

    async def _clear(self) -> None:
        for context in (*self.contexts.values(), self._open):
            if isinstance(context, SpeakContext):
                context.cleared = True
                context.cancel()
        self._open = None
        await self.ws.send_str(encode({"type": "Cleared", "sequence_id": self._n}))

    async def _finish(self) -> bool:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)
        return await self.ws.close(code=1000)
