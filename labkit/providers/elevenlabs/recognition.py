"""ElevenLabs' speech recognition (Scribe): whole recordings, and the realtime socket."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from labkit.errors import one_of
from labkit.providers.bodies import NotJson, decoded
from labkit.providers.elevenlabs.access import TRACE, ElevenLabsAccess
from labkit.providers.elevenlabs.requests import refused
from labkit.providers.elevenlabs.stream import too_many
from labkit.providers.hearing import HeardWord
from labkit.providers.heed import heed
from labkit.providers.outbox import encode
from labkit.providers.profile import Profile
from labkit.providers.recording import first_channel, read_form, read_wav
from labkit.providers.server import shown
from labkit.providers.stt import STTEmulator
from labkit.providers.turn_listening import TurnListening
from labkit.world.events import Interim, Refused, Transcript

_MOST_BYTES = 64 << 20  # the true service takes 3 GB, and works for minutes on them
_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
_LEAST_COMMIT_S = 0.3


@dataclass(frozen=True)
class Asked:
    """The query of the realtime socket.

    Attributes:
        model: The model's name in the profile.
        rate_hz: Sample rate of the audio.
        silence_s: Silence after which what was heard is committed; None if the client commits.
        twice: Whether a commit is told of a second time, with words, their times and the language.
    """

    model: str
    rate_hz: int
    silence_s: float | None
    twice: bool

    @classmethod
    def parse(cls, query: Mapping[str, str], profile: Profile) -> Asked:
        """Reads a query.

        Raises:
            RequestError: something in it is not as it should be.
        """
        model = query.get("model_id", "scribe_v2_realtime")
        known = [m for m in profile.names("models") if profile.value("models", m, "realtime")]
        if model not in known:
            raise refused(
                400, "model_not_found", f"model_id {shown(model)}: {one_of(model, known)}"
            )
        form = query.get("audio_format", "pcm_16000")
        forms = [f"pcm_{rate}" for rate in _RATES_HZ]
        if form not in forms:
            text = f"audio_format {shown(form)} is not emulated here: {one_of(form, forms)}"
            raise refused(400, "invalid_audio_format", text)
        strategy = query.get("commit_strategy", "manual")
        if strategy not in ("manual", "vad"):
            text = f"commit_strategy {shown(strategy)}: {one_of(strategy, ('manual', 'vad'))}"
            raise refused(400, "invalid_commit_strategy", text)
        wanted = ("include_timestamps", "include_language_detection")
        return cls(
            model=model,
            rate_hz=int(form[4:]),
            silence_s=_silence_s(query) if strategy == "vad" else None,
            twice=any(query.get(name, "false") == "true" for name in wanted),
        )


def _silence_s(query: Mapping[str, str]) -> float:
    given = query.get("vad_silence_threshold_secs", "1.5")
    try:
        silence_s = float(given)
    except ValueError:
        silence_s = 0.0
    if not 0.3 <= silence_s <= 3.0:
        text = f"vad_silence_threshold_secs {shown(given)} must be from 0.3 to 3.0"
        raise refused(400, "invalid_vad_silence_threshold_secs", text)
    return silence_s


class ElevenLabsScribeEmulator(ElevenLabsAccess, STTEmulator):
    """``api.elevenlabs.io``, speech recognition."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/speech-to-text", self._recording),
            web.get("/v1/speech-to-text/realtime", self._realtime),
        ]

    async def _recording(self, request: web.Request) -> web.Response:
        self.key(request)
        too_large = refused(413, "file_too_large", "The file is too large.")
        no_form = refused(422, "invalid_request", "The request is not a multipart form.")
        fields, wav = await read_form(request, _MOST_BYTES, too_large, no_form)
        model, known = fields.get("model_id", ""), self.profile.names("models")
        whole = [m for m in known if not self.profile.value("models", m, "realtime")]
        if model not in whole:
            text = f"'{shown(model)}' is not a valid model_id: {one_of(model, whole)}"
            raise refused(400, "invalid_model_id", text)
        try:
            rate_hz, channels, pcm = read_wav(wav)
        except ValueError:
            text = "The file cannot be read as audio; only 16-bit WAV is decoded here."
            raise refused(400, "invalid_content", text) from None
        heed(self, "elevenlabs.stt", fields)
        words, length_s = await self.hear_whole(first_channel(pcm, channels), rate_hz)
        about = (words[-1].turn, words[-1].ordinal) if words else (-1, -1)
        key = (*about, self.nth("batch", *about))
        await asyncio.sleep(self.draw("models", model, "batch", purpose="batch", key=key))
        text = " ".join(w.text for w in words)
        usd = length_s / 60 * float(self.profile.value("models", model, "usd_per_minute"))
        self.log(Transcript(text=text, audio_end_s=length_s, speech_final=True, usd=usd))
        body = {"language_code": "eng", "language_probability": 1.0, "text": text}
        body |= {"words": _words(words)}
        return web.json_response(body, headers={TRACE: self.identifier("request")})

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        key, asked = self.key(request), Asked.parse(request.query, self.profile)
        heed(self, "elevenlabs.stt", request.query)
        release = self.slots.take(key, self.profile.value("limits", "streaming"))
        if release is None:
            raise too_many()
        try:
            ws, request_id = await self.upgrade(request, TRACE)
            if ws.prepared:
                await ScribeListening(self, ws, request_id, asked).serve()
            return ws
        finally:
            release()


def _words(words: list[HeardWord]) -> list[dict[str, Any]]:
    return [
        {
            "text": w.text,
            "start": round(w.start_s, 3),
            "end": round(w.end_s, 3),
            "type": "word",
            "speaker_id": "speaker_0",
            "logprob": round(w.confidence - 1, 4),
        }
        for w in words
    ]


class ScribeListening(TurnListening):
    """One open socket: what was heard is committed by the client, or after a silence."""

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: Asked
    ) -> None:
        super().__init__(service, ws, request_id, asked.model, asked.rate_hz)
        self._asked = asked
        self._committed_s = 0.0  # where the audio of the next commit begins
        self._n = 0

    def opened(self) -> None:
        config = {"sample_rate": self._asked.rate_hz, "model_id": self.model}
        self._post("session_started", session_id=self.request_id, config=config)

    def _post(self, kind: str, due_s: float = 0.0, sent: Any = None, **fields: Any) -> None:
        self.out.post(due_s, encode({"message_type": kind, **fields}), sent)

    def heard(self, starting: bool) -> None:
        text, last = self._text(), self._words[-1]
        event = Interim(text=text, audio_end_s=last.end_s)
        due_s = self.loop.time() + self._lag_s("partial")
        self._post("partial_transcript", due_s, partial(self.log, event), text=text)

    def judge(self, silence_s: float) -> None:
        if self._asked.silence_s is not None and silence_s >= self._asked.silence_s:
            self._commit()

    def _text(self) -> str:
        return " ".join(w.text for w in self._words)

    def _lag_s(self, figure: str) -> float:
        last = self._words[-1] if self._words else None
        self._n += last is None
        return self.service.draw(
            *("models", self.model, figure),
            purpose="scribe." + figure,
            key=(last.ordinal,) if last else ("none", self._n),
            turn=last.turn if last else None,
        )

    def _commit(self) -> None:
        text, due_s = self._text(), self.loop.time() + self._lag_s("final")
        sent = None
        if self._words:
            end_s = self._words[-1].end_s
            sent = partial(self.log, Transcript(text=text, audio_end_s=end_s, speech_final=True))
        self._post("committed_transcript", due_s, sent, text=text)
        if self._asked.twice:
            kind = "committed_transcript_with_timestamps"
            words = _words(self._words)
            self._post(kind, due_s, text=text, language_code="en", words=words)
        self._committed_s = self.hearing.received_s
        self.next_turn()

    async def control(self, text: str) -> bool:
        try:
            message = decoded(text)
            if not isinstance(message, dict) or message.get("message_type") != "input_audio_chunk":
                raise NotJson("no input_audio_chunk message")
            pcm = base64.b64decode(str(message.get("audio_base_64", "")), validate=True)
        except (NotJson, binascii.Error) as error:
            return await self._fail("input_error", f"The message is not understood: {error}")
        if pcm:
            self.audio(pcm)
        if message.get("commit"):
            if self.hearing.received_s - self._committed_s < _LEAST_COMMIT_S - 1e-6:
                text = f"Commit needs at least {_LEAST_COMMIT_S} s of audio since the last one."
                return await self._fail("input_error", text)
            self.take_rest()
            self._commit()
        return False

    async def _fail(self, kind: str, text: str) -> bool:
        """A fatal error: says so and closes."""
        self.log(Refused(status=400, code=kind, message=text))
        self._post(kind, error=text)
        await self.out.drain()
        await self.ws.close(code=1008)
        return True
