"""OpenAI's speech synthesis: ``POST /v1/audio/speech``, as bytes or as server-sent events."""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar, Literal, NotRequired

from aiohttp import web
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from labkit.providers import tokens
from labkit.providers.bodies import NotJson, checked, decoded, read_body
from labkit.providers.heed import heed
from labkit.providers.openai.access import bearer, error_response
from labkit.providers.openai.refusals import no_model, refusal_of, refused
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.tts import Options, SpeechEvents, TTSEmulator

_MOST_BYTES = 1 << 20
_AUDIO_TOKENS_PER_S = 20.8  # OpenAI, pricing: 12 USD per 1M tokens are about 0.015 USD a minute


@with_config(ConfigDict(extra="ignore", strict=True))
class SpeechBody(TypedDict):
    """A request for speech."""

    input: Annotated[str, Field(max_length=4096)]
    model: str
    voice: str | dict[str, Any]
    instructions: NotRequired[str | None]
    response_format: NotRequired[Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]]
    speed: NotRequired[Annotated[float, Field(ge=0.25, le=4.0)]]
    stream_format: NotRequired[Literal["audio", "sse"]]


_BODY: TypeAdapter[SpeechBody] = TypeAdapter(SpeechBody)


class OpenAISpeechEmulator(TTSEmulator):
    """``api.openai.com``, speech synthesis."""

    name = "openai"
    host = "api.openai.com"
    base_path = "/v1"
    rate_hz: ClassVar[int] = 24_000

    def routes(self) -> list[web.RouteDef]:
        return [web.post(f"{self.base_path}/audio/speech", self._speech)]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return error_response(error, self.identifier("request"))

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        bearer(self, request)
        too_large = RequestError(413, "Request body is too large.")
        try:
            given = decoded(await read_body(request, _MOST_BYTES, too_large))
        except NotJson:
            given = None
        if not isinstance(given, dict):
            raise RequestError(400, "We could not parse the JSON body of your request.")
        body = checked(_BODY, given, refusal_of)
        options = self._options(body)
        heed(self, "openai.tts", given)
        text = body["input"]
        if not text.strip():
            raise refused("Invalid 'input': empty string.", "input", "empty_string")
        headers = {"x-request-id": self.identifier("request")}
        events = self._events(body) if body.get("stream_format") == "sse" else None
        return await self.speak(request, options, text, headers, events)

    def _options(self, body: SpeechBody) -> Options:
        model, form = body["model"], body.get("response_format", "mp3")
        if model not in self.profile.names("models"):
            raise no_model(model)
        whole = bool(self.profile.value("models", model, "events"))
        if body.get("stream_format") == "sse" and not whole:
            text = f"'sse' is not supported for the model {model}."
            raise refused(text, "stream_format", "unsupported_value")
        speed = body.get("speed", 1.0)
        if form == "mp3":
            rate = int(self.profile.value("models", model, "mp3_bit_rate"))
            return Options(model, self.rate_hz, "mp3", bit_rate=rate, speed=speed)
        if form in ("wav", "pcm"):
            return Options(model, self.rate_hz, container=form.replace("pcm", "raw"), speed=speed)
        text = f"response_format '{form}' is not emulated here; ask for mp3, wav or pcm."
        raise refused(text, "response_format", "unsupported_value")

    @staticmethod
    def _events(body: SpeechBody) -> SpeechEvents:
        def told(**event: Any) -> bytes:
            return f"data: {encode(event)}\n\n".encode()

        def chunk(audio: bytes) -> bytes:
            return told(type="speech.audio.delta", audio=base64.b64encode(audio).decode())

        def end(seconds: float) -> bytes:
            given = tokens.count(body["input"]) + tokens.count(body.get("instructions") or "")
            made = round(seconds * _AUDIO_TOKENS_PER_S)
            usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
            return told(type="speech.audio.done", usage=usage)

        return SpeechEvents(chunk, end)
