"""ElevenLabs' ``multi-stream-input``: one socket, and a context for each reply on it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from labkit.providers.contexts import Context, ContextSocket
from labkit.providers.elevenlabs.requests import Message, at_speed, message, refused
from labkit.providers.heed import heed
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.tts import Options, Speech, TTSEmulator
from labkit.world.clips import Word
from labkit.world.events import Refused

_SENTENCE_END = (".", "?", "!")
_SCHEDULE = (120, 160, 250, 290)  # characters, the service's default
_FULL = "Maximum simultaneous contexts per WebSocket connection exceeded ({}). Please close an "
_FULL += "existing context before opening a new one."


@dataclass(frozen=True)
class Gathering:
    """How much text is gathered before it is spoken.

    Attributes:
        sentences: Each whole sentence is spoken at once (``auto_mode``).
        schedule: Else the characters after which the first, the second … piece is spoken; the
            last figure counts for all that follow.
    """

    sentences: bool = False
    schedule: tuple[int, ...] = _SCHEDULE


class ElevenLabsContext(Context):
    """One context as ElevenLabs' messages tell of it."""

    def __init__(
        self,
        service: TTSEmulator,
        context_id: str,
        speech: Speech,
        expire_s: float,
        ws: web.WebSocketResponse,
        gathering: Gathering,
    ) -> None:
        super().__init__(service, context_id, speech, expire_s)
        self._ws, self._gathering = ws, gathering
        self._gathered, self._spoken = "", 0
        self._chars: list[tuple[str, int, int]] = []  # not told of yet: start and length, ms

    def gather(self, text: str, *, flush: bool = False, final: bool = False) -> None:
        """Takes text, and lets go of it when there is enough."""
        self._gathered += text
        if self._gathering.sentences:
            enough = self._gathered.rstrip().endswith(_SENTENCE_END)
        else:
            schedule = self._gathering.schedule
            enough = len(self._gathered) >= schedule[min(self._spoken, len(schedule) - 1)]
        if flush or final or enough:
            text, self._gathered = self._gathered, ""
            self._spoken += bool(text.strip())
            self.push(text, final=final)

    def will_say(self, words: tuple[Word, ...]) -> None:
        for i, word in enumerate(words):
            after_s = words[i + 1].start_s if i + 1 < len(words) else word.end_s
            each_s = (word.end_s - word.start_s) / len(word.text)
            starts = [word.start_s + k * each_s for k in range(len(word.text))]
            ends = [*starts[1:], word.end_s]
            self._chars += [
                (char, round(1000 * a), round(1000 * b) - round(1000 * a))
                for char, a, b in zip(word.text, starts, ends, strict=True)
            ]
            end_ms = round(1000 * word.end_s)
            self._chars.append((" ", end_ms, round(1000 * after_s) - end_ms))

    async def send_audio(self, audio: bytes, step_s: float) -> None:
        if self._ws.closed:
            raise ConnectionError
        until_ms = 1000 * (self.sent_s + self._speech.pace.chunk_s)
        n = sum(1 for _, start_ms, _ in self._chars if start_ms < until_ms)
        told, self._chars = self._chars[:n], self._chars[n:]
        await self._send(base64.b64encode(audio).decode(), told, None)

    async def send_done(self) -> None:
        await self._send(None, self._chars, True)

    async def _send(
        self, audio: str | None, told: list[tuple[str, int, int]], final: bool | None
    ) -> None:
        aligned: dict[str, Any] | None = None
        if told and self._speech.options.timestamps:
            chars, starts, lengths = zip(*told, strict=True)
            aligned = {"chars": chars, "charStartTimesMs": starts, "charDurationsMs": lengths}
        body: dict[str, Any] = {"audio": audio, "isFinal": final, "contextId": self.id}
        body |= {"normalizedAlignment": aligned, "alignment": aligned}
        await self._ws.send_str(encode(body))


class ElevenLabsSocket(ContextSocket):
    """One open WebSocket."""

    def __init__(
        self,
        service: TTSEmulator,
        ws: web.WebSocketResponse,
        key: str,
        options: Options,
        gathering: Gathering,
        idle_s: float,
    ) -> None:
        super().__init__(service, ws)
        self._key, self._options, self._gathering = key, options, gathering
        self._idle_s = idle_s

    async def take(self, data: str | bytes) -> None:
        context_id: str | None = None
        try:
            body = message(data)
            context_id = body.get("context_id") or "default"
            if body.get("close_socket"):
                await self.ws.close(code=1000)
            elif body.get("close_context"):
                if (open_ := self.contexts.get(context_id)) is not None:
                    assert isinstance(open_, ElevenLabsContext)
                    open_.gather("", final=True)
            else:
                self._say(body, context_id)
        except RequestError as error:
            self.service.log(Refused(status=error.status, code=error.code, message=error.message))
            told: dict[str, Any] = {"message": error.message, "error": error.code, "code": 1008}
            await self.ws.send_str(encode(told | {"contextId": context_id}))
            await self.ws.close(code=1008, message=(error.code or "").encode())

    def _say(self, body: Message, context_id: str) -> None:
        context = self.contexts.get(context_id)
        if context is not None and context.expired:
            del self.contexts[context_id]
            context = None
        if context is None:
            context = self._open(body, context_id)
        assert isinstance(context, ElevenLabsContext)
        text = body.get("text") or ""
        if text.strip():
            self.service.log_text(context_id, self._options.model, text)
        context.gather(text, flush=bool(body.get("flush")))

    def _open(self, body: Message, context_id: str) -> ElevenLabsContext:
        limits, model = self.service.profile.value, self._options.model
        most = int(limits("limits", "contexts"))
        if sum(not c.expired for c in self.contexts.values()) >= most:
            raise refused(429, "max_active_conversations", _FULL.format(most))
        release = self.service.slots.take(
            f"{self._key} {model}", limits("models", model, "concurrent")
        )
        if release is None:
            raise too_many()
        schedule = (body.get("generation_config") or {}).get("chunk_length_schedule")
        gathering = self._gathering
        if schedule:
            gathering = Gathering(gathering.sentences, tuple(schedule))
        heed(self.service, "elevenlabs.tts", body)
        speech = self.service.speech(at_speed(self._options, body.get("voice_settings")))
        context = ElevenLabsContext(
            self.service, context_id, speech, self._idle_s, self.ws, gathering
        )
        self.begin(context, ended=release)
        return context


def too_many() -> RequestError:
    """More at once than the plan allows."""
    return refused(
        429,
        "too_many_concurrent_requests",
        "Too many concurrent requests. Your current subscription is associated with a maximum "
        "number of concurrent requests.",
    )
