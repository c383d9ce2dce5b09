"""OpenAI's recognition: whole recordings, and the realtime socket for transcription alone."""

from __future__ import annotations

import asyncio
import base64
import binascii
from functools import partial
from typing import Any

from aiohttp import web

from labkit.errors import one_of
from labkit.providers import tokens
from labkit.providers.bodies import NotJson, decoded
from labkit.providers.hearing import HeardWord
from labkit.providers.heed import heed
from labkit.providers.openai.access import bearer, error_response
from labkit.providers.openai.refusals import no_model, refused
from labkit.providers.outbox import encode
from labkit.providers.recording import first_channel, read_form, read_wav
from labkit.providers.server import RequestError, shown
from labkit.providers.stt import STTEmulator
from labkit.providers.turn_listening import TurnListening
from labkit.world.events import Interim, SpeechStarted, Transcript

_MOST_BYTES = 25 << 20
_RATE_HZ = 24_000


class OpenAITranscriptionEmulator(STTEmulator):
    """``api.openai.com``, speech recognition."""

    name = "openai"
    host = "api.openai.com"
    base_path = "/v1"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{self.base_path}/audio/transcriptions", self._recording),
            web.get(f"{self.base_path}/realtime", self._realtime),
        ]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return error_response(error, self.identifier("request"))

    def known(self, model: str, *, realtime: bool) -> None:
        """Refuses a model that does not exist, or not here.

        Raises:
            RequestError: it does not.
        """
        if model not in self.profile.names("models"):
            raise no_model(model)
        if not realtime and self.profile.value("models", model, "realtime_only"):
            raise refused(f"Model '{model}' is served over the realtime API only.", "model")

    def billed_s(self, model: str, length_s: float) -> float:
        """How many seconds of a recording are paid for."""
        return length_s

    # -- a whole recording -------------------------------------------------------------------

    async def _recording(self, request: web.Request) -> web.Response:
        bearer(self, request)
        too_large = RequestError(413, f"Maximum content size limit ({_MOST_BYTES}) exceeded")
        no_form = refused("The request is not a multipart form.", "file", "invalid_value")
        fields, wav = await read_form(request, _MOST_BYTES, too_large, no_form)
        model = fields.get("model", "")
        if not model:
            text = "you must provide a model parameter"
            raise refused(text, "model", "missing_required_parameter")
        self.known(model, realtime=False)
        heed(self, "openai.stt", fields)
        form = fields.get("response_format", "json")
        if form not in (known := ("json", "text", "verbose_json")):
            text = f"response_format '{shown(form)}' is not emulated here: {one_of(form, known)}."
            raise refused(text, "response_format", "unsupported_value")
        try:
            rate_hz, channels, pcm = read_wav(wav)
        except ValueError:
            text = "Audio file might be corrupted or unsupported; only 16-bit WAV is decoded here."
            raise refused(text, "file", "invalid_value") from None
        words, length_s = await self.hear_whole(first_channel(pcm, channels), rate_hz)
        about = (words[-1].turn, words[-1].ordinal) if words else (-1, -1)
        key = (*about, self.nth("batch", *about))
        await asyncio.sleep(self.draw("models", model, "batch", purpose="batch", key=key))
        text = " ".join(w.text for w in words)
        price = float(self.profile.value("models", model, "usd_per_minute"))
        usd = self.billed_s(model, length_s) / 60 * price
        self.log(Transcript(text=text, audio_end_s=length_s, speech_final=True, usd=usd))
        headers = {"x-request-id": self.identifier("request")}
        if form == "text":
            return web.Response(text=text + "\n", headers=headers)
        body: dict[str, Any] = {"text": text, "usage": _usage(text, length_s)}
        if form == "verbose_json":
            body |= {"task": "transcribe", "language": "english", "duration": length_s}
            body |= {"segments": _segments(words)}
        return web.json_response(body, headers=headers)

    # -- realtime ----------------------------------------------------------------------------

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        bearer(self, request)
        if request.query.get("intent") != "transcription":
            text = "Only intent=transcription is emulated here; speech to speech is not."
            raise refused(text, "intent", "unsupported_value")
        model = request.query.get("model") or str(self.profile.value("default_model"))
        self.known(model, realtime=True)
        ws, request_id = await self.upgrade(request, "x-request-id")
        if ws.prepared:
            await RealtimeListening(self, ws, request_id, model).serve()
        return ws


def _usage(text: str, length_s: float) -> dict[str, Any]:
    heard = round(10 * length_s)  # a token of audio is a tenth of a second
    said = tokens.count(text)
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
        "output_tokens": said,
        "total_tokens": heard + said,
    }


def _segments(words: list[HeardWord]) -> list[dict[str, Any]]:
    if not words:
        return []
    text = " ".join(w.text for w in words)
    segment = {"id": 0, "seek": 0, "start": words[0].start_s, "end": words[-1].end_s, "text": text}
    segment |= {"tokens": [], "temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0}
    return [segment | {"no_speech_prob": 0.01}]


class RealtimeListening(TurnListening):
    """One socket for transcription: turns end after a silence, or when the client commits."""

    def __init__(
        self,
        service: OpenAITranscriptionEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
    ) -> None:
        super().__init__(service, ws, request_id, model, _RATE_HZ)
        self._transcriber = service
        self._silence_s: float | None = 0.5  # the service's default; None: the client commits
        self._item = ""
        self._gap_s = float(self.profile.value("endpointing", "min_gap_s"))

    def opened(self) -> None:
        self._post("session.created", session=self._session())

    def _session(self) -> dict[str, Any]:
        return {"type": "transcription", "id": self.request_id, "object": "realtime.session"}

    def _post(self, kind: str, due_s: float = 0.0, sent: Any = None, **fields: Any) -> None:
        event_id = f"event_{self.service.identifier('event')}"
        self.out.post(due_s, encode({"type": kind, "event_id": event_id, **fields}), sent)

    # -- what is heard -----------------------------------------------------------------------

    def heard(self, starting: bool) -> None:
        if starting:
            self._item = f"item_{self.service.identifier('item')}"
            if self._silence_s is not None:
                event = SpeechStarted(text="", audio_end_s=self._words[0].start_s)
                at_ms = round(1000 * self._words[0].start_s)
                self._post(
                    "input_audio_buffer.speech_started",
                    sent=partial(self.log, event),
                    audio_start_ms=at_ms,
                    item_id=self._item,
                )
        if bool(self.profile.value("models", self.model, "realtime_only")):
            last = self._words[-1]
            due_s = self.loop.time() + self._lag_s("partial")
            told = Interim(text=self._text(), audio_end_s=last.end_s)
            self._delta(last.text, due_s, partial(self.log, told))

    def judge(self, silence_s: float) -> None:
        if self._silence_s is not None and silence_s >= max(self._silence_s, self._gap_s):
            at_ms = round(1000 * self.hearing.speech_end_s)
            self._post("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=self._item)
            self._commit()

    def _text(self) -> str:
        return " ".join(w.text for w in self._words)

    def _lag_s(self, figure: str) -> float:
        last = self._words[-1]
        return self.service.draw(
            *("models", self.model, figure),
            purpose="realtime." + figure,
            key=(last.ordinal,),
            turn=last.turn,
        )

    def _delta(self, text: str, due_s: float, sent: Any = None) -> None:
        kind = "conversation.item.input_audio_transcription.delta"
        fields = {"item_id": self._item, "content_index": 0, "delta": text + " "}
        self._post(kind, due_s, sent, **fields)

    def _commit(self) -> None:
        text, last = self._text(), self._words[-1]
        due_s = self.loop.time() + self._lag_s("final")
        self._post("input_audio_buffer.committed", item_id=self._item, previous_item_id=None)
        if not self.profile.value("models", self.model, "realtime_only"):
            for word in self._words:
                self._delta(word.text, due_s)
        event = Transcript(text=text, audio_end_s=last.end_s, speech_final=True)
        length_s = self._words[-1].end_s - self._words[0].start_s
        self._post(
            "conversation.item.input_audio_transcription.completed",
            due_s,
            partial(self.log, event),
            item_id=self._item,
            content_index=0,
            transcript=text,
            usage=_usage(text, length_s),
        )
        self.next_turn()

    # -- control -----------------------------------------------------------------------------

    async def control(self, text: str) -> bool:
        try:
            message = decoded(text)
            if not isinstance(message, dict):
                raise NotJson("not an object")
            match message.get("type"):
                case "session.update":
                    self._update(message.get("session") or {})
                    self._post("session.updated", session=self._session())
                case "input_audio_buffer.append":
                    self.audio(base64.b64decode(str(message.get("audio", "")), validate=True))
                case "input_audio_buffer.commit":
                    if self.take_rest():
                        self._commit()
                case "input_audio_buffer.clear":
                    self._words = []
                case kind:
                    known = "session.update, input_audio_buffer.append, .commit or .clear"
                    raise refused(f"Invalid value: '{shown(kind)}'. Use {known}.", "type")
        except NotJson as error:
            self._fail(f"We could not parse the event: {error}.", "invalid_json")
        except binascii.Error:
            self._fail("Invalid 'audio': it is no base64.", "invalid_value")
        except RequestError as error:
            self._fail(error.message, error.code)
        return False

    def _update(self, session: dict[str, Any]) -> None:
        heed(self._transcriber, "openai.realtime", session)
        given = ((session.get("audio") or {}).get("input")) or {}
        transcription = given.get("transcription") or {}
        if model := transcription.get("model"):
            self._transcriber.known(str(model), realtime=True)
            self.model = str(model)
        if self.profile.value("models", self.model, "realtime_only"):
            self._silence_s = None
        elif "turn_detection" in given:
            wanted = given["turn_detection"]
            ms = (wanted or {}).get("silence_duration_ms", 500)
            if not isinstance(ms, (int, float)) or not 0 <= ms <= 10_000:
                text = f"silence_duration_ms={shown(ms)} must be from 0 to 10000."
                raise refused(text, "session.audio.input.turn_detection")
            self._silence_s = None if wanted is None else ms / 1000

    def _fail(self, message: str, code: str | None) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message}
        self._post("error", error=error)
