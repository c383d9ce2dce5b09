"""What a recognition tells through the gateway, by how the model ends turns.

The models are those of :mod:`labkit.providers.deepgram`, which hears words, closes segments and
judges turns; here its messages become the gateway's.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from labkit.providers.deepgram.flux import FluxListening
from labkit.providers.deepgram.nova import NovaListening
from labkit.providers.deepgram.requests import BadQuery, FluxQuery, ListenQuery
from labkit.providers.livekit.gateway import message_of
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError
from labkit.providers.stt import Listening, STTEmulator
from labkit.providers.turn_end import TurnEnd

_TURN_EVENTS = {
    "StartOfTurn": "interim_transcript",
    "Update": "interim_transcript",
    "EagerEndOfTurn": "preflight_transcript",
    "TurnResumed": "interim_transcript",
    "EndOfTurn": "final_transcript",
}


class Closing(Exception):
    """A message that ends the session, with what the client is told."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


class Talk(Listening):
    """A session: takes the gateway's messages."""

    @classmethod
    def of(
        cls,
        service: STTEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
        rate_hz: int,
        extra: Mapping[str, Any],
    ) -> Talk:
        """A session with a model.

        Args:
            service: Whose it is.
            ws: The socket, open.
            request_id: Names the session in its messages.
            model: The model's name in the profile.
            rate_hz: Sample rate of the audio.
            extra: The model's further options, as the client gives them.

        Raises:
            RequestError: an option that the model does not take.
        """
        raise NotImplementedError

    def change(self, extra: Mapping[str, Any]) -> None:
        """Changes options while the session goes on; the model and the language stay.

        Raises:
            RequestError: an option that the model does not take.
        """

    def finalize(self) -> None:
        """The client says that the speech is over."""
        raise NotImplementedError

    async def control(self, text: str) -> bool:
        try:
            message = message_of(text)
            kind = message["type"]
            if kind == "input_audio":
                self.audio(_samples(message))
            elif kind == "session.finalize":
                self.finalize()
                self.out.post(0.0, encode({"type": "session.finalized"}))
            elif kind == "session.update":
                settings = message.get("settings")
                self.change(settings.get("extra") or {} if isinstance(settings, dict) else {})
            elif kind == "session.close":
                self.out.post(0.0, encode({"type": "session.closed"}))
                await self.out.drain()
                await self.ws.close(code=1000)
                return True
            else:
                raise RequestError(400, f"unknown type {kind[:50]!r}")
        except RequestError as error:
            await self.out.drain()
            raise Closing(error) from None
        return False

    def tell(
        self,
        kind: str,
        words: list[dict[str, Any]],
        due_s: float,
        sent: Callable[[], None] | None,
        confidence: float,
    ) -> None:
        """Sends a transcript of some words, which may be none."""
        start_s = words[0]["start"] if words else 0.0
        message = {
            "type": kind,
            "transcript": " ".join(w["word"] for w in words),
            "words": words,
            "start": start_s,
            "duration": round(words[-1]["end"] - start_s, 3) if words else 0.0,
            "language": "en",
            "confidence": confidence,
            "request_id": self.request_id,
        }
        self.out.post(due_s, encode(message), sent)


class Segments(Talk, NovaListening):
    """Finals come segment by segment."""

    @classmethod
    def of(
        cls,
        service: STTEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
        rate_hz: int,
        extra: Mapping[str, Any],
    ) -> Segments:
        return cls(service, ws, request_id, model, _listen_query(rate_hz, extra))

    def change(self, extra: Mapping[str, Any]) -> None:
        self._asked = _listen_query(self._asked.sample_rate_hz, extra, self._asked)

    def finalize(self) -> None:
        self._flush(from_finalize=True)

    def _post(
        self, message: dict[str, Any], due_s: float = 0.0, sent: Callable[[], None] | None = None
    ) -> None:
        if message["type"] != "Results":
            return
        heard = message["channel"]["alternatives"][0]
        words = [
            {
                "word": w.get("punctuated_word", w["word"]),
                "start": w["start"],
                "end": w["end"],
                "confidence": w["confidence"],
            }
            for w in heard["words"]
        ]
        if words:  # of silence the client hears nothing
            kind = "final_transcript" if message["is_final"] else "interim_transcript"
            self.tell(kind, words, due_s, sent, heard["confidence"])


class UntilTold(Segments):
    """Finals come when the client says that the speech is over."""

    def _draw_window(self) -> float:
        return math.inf


class Words(Talk, FluxListening):
    """One final for each turn, which the model ends by its words and the silence."""

    @classmethod
    def of(
        cls,
        service: STTEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
        rate_hz: int,
        extra: Mapping[str, Any],
    ) -> Words:
        eager = float(service.profile.value("models", model, "eager_eot_threshold"))
        talk = cls(service, ws, request_id, FluxQuery(model, rate_hz, eager_eot_threshold=eager))
        talk.change(extra)
        return talk

    def change(self, extra: Mapping[str, Any]) -> None:
        names = ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms")
        try:
            self._asked.change({name: extra[name] for name in names if name in extra})
        except BadQuery as error:
            raise RequestError(400, error.reason) from None

    def opened(self) -> None:
        """The client has been told."""

    def finalize(self) -> None:
        self.hearing.finish()
        self._words += self.hearing.take()
        if self._words:
            self._end_turn("manual")

    def _post(
        self, message: dict[str, Any], due_s: float = 0.0, sent: Callable[[], None] | None = None
    ) -> None:
        kind = _TURN_EVENTS.get(message.get("event", ""))
        if kind is not None and message["words"]:
            words = message["words"]
            mean = sum(w["confidence"] for w in words) / len(words)
            self.tell(kind, words, due_s, sent, round(mean, 4))


class Turns(Words):
    """One final for each turn, after a short silence if its words end a sentence, or a long one."""

    _short_s = _long_s = 0.0

    @classmethod
    def of(
        cls,
        service: STTEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
        rate_hz: int,
        extra: Mapping[str, Any],
    ) -> Turns:
        talk = cls(service, ws, request_id, FluxQuery(model, rate_hz))
        figure = service.profile.value
        talk._short_s = float(figure("models", model, "min_turn_silence_s"))
        talk._long_s = float(figure("models", model, "max_turn_silence_s"))
        talk.change(extra)
        return talk

    def change(self, extra: Mapping[str, Any]) -> None:
        for name in ("min_turn_silence", "min_end_of_turn_silence_when_confident"):
            self._short_s = _milliseconds(extra, name, self._short_s)
        self._long_s = _milliseconds(extra, "max_turn_silence", self._long_s)

    def _draw_wait(self) -> None:
        whole = TurnEnd.kind(self._words[-1].text) == "complete"
        self._wait_s = self._short_s if whole else max(self._long_s, self._short_s)

    def _over_after_s(self) -> float:
        return self._wait_s

    def _eager_after_s(self) -> float:
        return self._short_s

    def _confidence(self) -> float:
        return float(self.hearing.silence_s >= self._wait_s)


def _listen_query(
    rate_hz: int, extra: Mapping[str, Any], before: ListenQuery | None = None
) -> ListenQuery:
    """What the client's options ask of the model, on top of the gateway's defaults."""
    asked = before or ListenQuery(
        sample_rate_hz=rate_hz,
        interim_results=True,
        written=True,
        filler_words=True,
        endpointing_s=0.025,
    )
    changes: dict[str, Any] = {}
    for name in ("interim_results", "filler_words"):
        if isinstance(extra.get(name), bool):
            changes[name] = extra[name]
    if "punctuate" in extra or "smart_format" in extra:
        changes["written"] = bool(extra.get("punctuate", True) or extra.get("smart_format"))
    if "endpointing" in extra:
        changes["endpointing_s"] = _milliseconds(extra, "endpointing", 0.025)
    return replace(asked, **changes)


def _milliseconds(extra: Mapping[str, Any], name: str, default_s: float) -> float:
    """An option in milliseconds, as seconds."""
    given = extra.get(name)
    if given is None:
        return default_s
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 60_000:
        raise RequestError(400, f"{name} must be from 0 to 60000, got {str(given)[:50]!r}")
    return given / 1000


def _samples(message: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(message["audio"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise RequestError(400, "input_audio has no audio in base64") from None
