"""Gemini's speech synthesis: ``streamGenerateContent`` with audio for an answer."""

from __future__ import annotations

import base64
import re
from typing import Any

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.bodies import NotJson, checked, decoded, read_body
from labkit.providers.google.requests import (
    GENERATE,
    body_of,
    in_camel_case,
    key_of,
    no_model,
    refusal_of,
    refused,
)
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.tts import Options, SpeechEvents, TTSEmulator

_MOST_BYTES = 1 << 20
_RATE_HZ = 24_000
_AUDIO_TOKENS_PER_S = 25.0  # Gemini API, tokens guide: audio is 25 tokens a second
_TOLD_HOW = re.compile(r'\A[^"]*:\s*"(.*)"\s*\Z', re.DOTALL)
"""Directions before the words themselves, which stand in quotation marks."""


class GoogleSpeechEmulator(TTSEmulator):
    """``generativelanguage.googleapis.com``, the models whose names end in ``tts``."""

    name = "google"
    host = "generativelanguage.googleapis.com"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"/{version}/models/{{model:[^:/]*-tts[^:/]*}}:{{verb:[a-zA-Z]+}}", self._make)
            for version in ("v1", "v1beta")
        ]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return body_of(error)

    async def _make(self, request: web.Request) -> web.StreamResponse:
        key_of(self, request)
        too_large = RequestError(400, "Request payload size exceeds the limit: 20971520 bytes.")
        try:
            given = decoded(await read_body(request, _MOST_BYTES, too_large))
        except NotJson as error:
            raise refused(f"Invalid JSON payload received. {error}") from None
        body = checked(GENERATE, in_camel_case(given), refusal_of)
        asked = request.match_info["model"]
        model = asked if asked in self.profile.names("models") else ""
        if not model:
            raise no_model(asked)
        if "AUDIO" not in (body.get("generationConfig") or {}).get("responseModalities", ()):
            raise refused(
                "The requested combination of response modalities (TEXT) is not supported by the "
                "model."
            )
        if (
            request.match_info["verb"] != "streamGenerateContent"
            or request.query.get("alt") != "sse"
        ):
            raise refused("Only streams of server-sent events are emulated: add ?alt=sse.")
        parts = [part for turn in body.get("contents") or () for part in turn.get("parts", ())]
        text = " ".join(filter(None, (_words(part.get("text", "")) for part in parts)))
        if not text:
            raise refused("Unable to submit request because it must have a text parameter.")
        head = {"modelVersion": model, "responseId": self.identifier("response")}
        return await self.speak(request, Options(model, _RATE_HZ), text, {}, _events(text, head))


def _words(text: str) -> str:
    told = _TOLD_HOW.match(text)
    return (told[1] if told else text.strip().strip('"')).strip()


def _events(text: str, head: dict[str, Any]) -> SpeechEvents:
    def told(candidate: dict[str, Any], **more: Any) -> bytes:
        body = {"candidates": [{**candidate, "index": 0}], **more, **head}
        return f"data: {encode(body)}\r\n\r\n".encode()

    def chunk(audio: bytes) -> bytes:
        data = {
            "mimeType": f"audio/L16;codec=pcm;rate={_RATE_HZ}",
            "data": base64.b64encode(audio).decode(),
        }
        return told({"content": {"parts": [{"inlineData": data}], "role": "model"}})

    def end(seconds: float) -> bytes:
        given, made = tokens.count(text), round(seconds * _AUDIO_TOKENS_PER_S)
        usage = {
            "promptTokenCount": given,
            "candidatesTokenCount": made,
            "totalTokenCount": given + made,
        }
        return told({"finishReason": "STOP"}, usageMetadata=usage)

    return SpeechEvents(chunk, end)
