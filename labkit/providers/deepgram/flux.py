"""Deepgram's ``/v2/listen`` (Flux): recognition that also tells when the turn is over.

How confident it is that a turn is over: :mod:`labkit.providers.turn_end`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from labkit.providers.bodies import NotJson, decoded
from labkit.providers.deepgram.requests import (
    BadQuery,
    FluxQuery,
    check_keyterms,
    configured,
)
from labkit.providers.outbox import encode
from labkit.providers.server import shown
from labkit.providers.stt import STTEmulator
from labkit.providers.turn_end import TurnEnd
from labkit.providers.turn_listening import TurnListening
from labkit.world.events import (
    EagerEndOfTurn,
    Event,
    Interim,
    SpeechStarted,
    Transcript,
    TurnResumed,
)


class FluxListening(TurnListening):
    """One ``/v2/listen`` socket."""

    _turn_end: TurnEnd

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: FluxQuery
    ) -> None:
        super().__init__(service, ws, request_id, asked.model, asked.sample_rate_hz)
        self._asked = asked
        if "turn_end" in service.profile.table["models"][asked.model]:
            self._turn_end = TurnEnd(service.profile, asked.model)
        at = ("models", asked.model)
        self._every_s = float(self.profile.value(*at, "update_every_s"))
        self._idle_updates = bool(self.profile.value(*at, "updates_between_turns"))
        self._sequence = 0
        self._from_s = 0.0  # where the turn's audio window begins
        self._next_update_s = self._every_s
        self._wait_s = math.inf  # this pause's wait, drawn at its last word
        self._eager_end_s = -math.inf  # end of the speech an EagerEndOfTurn was sent for

    def opened(self) -> None:
        self._post({"type": "Connected"})

    # -- audio -------------------------------------------------------------------------------

    def fed(self) -> None:
        if self._eager_end_s >= 0 and self.hearing.speech_end_s > self._eager_end_s:
            self._eager_end_s = -math.inf
            self._event("TurnResumed", TurnResumed)

    def heard(self, starting: bool) -> None:
        self._draw_wait()
        if starting:
            self._event("StartOfTurn", SpeechStarted)
            self._next_update_s = self.hearing.received_s + self._every_s

    def passed(self) -> None:
        if self.hearing.received_s >= self._next_update_s:
            self._next_update_s += self._every_s
            if self._words or self._idle_updates:
                self._event("Update", Interim if self._words else None)

    def _draw_wait(self) -> None:
        last, scene = self._words[-1], self.service.scene()
        name = (scene.call, last.turn, last.ordinal)
        delay = self._turn_end.delay(last.text)
        self._wait_s = delay.draw(scene.seed, "deepgram.flux.turn_end", *name)

    def judge(self, silence_s: float) -> None:
        asked, speech_end_s = self._asked, self.hearing.speech_end_s
        if silence_s >= self._over_after_s():
            self._end_turn("model")
        elif silence_s * 1000 >= asked.eot_timeout_ms:
            self._end_turn("timeout")
        elif self._eager_end_s < speech_end_s and silence_s >= self._eager_after_s():
            self._eager_end_s = speech_end_s
            self._event("EagerEndOfTurn", EagerEndOfTurn)

    def _over_after_s(self) -> float:
        """The silence after which the turn is over, seconds."""
        return self._turn_end.crossing_s(self._asked.eot_threshold, self._wait_s)

    def _eager_after_s(self) -> float:
        """The silence after which it is probably over; inf if nobody wants to know."""
        threshold = self._asked.eager_eot_threshold
        return math.inf if threshold is None else self._turn_end.crossing_s(threshold, self._wait_s)

    def _confidence(self) -> float:
        return self._turn_end.confidence(self.hearing.silence_s, self._wait_s)

    def _end_turn(self, trigger: str) -> None:
        self._event("EndOfTurn", partial(Transcript, speech_final=True), trigger=trigger)
        self.next_turn()
        self._from_s = self.hearing.received_s
        self._eager_end_s = -math.inf
        self._next_update_s = self._from_s + self._every_s

    # -- messages ----------------------------------------------------------------------------

    def _post(
        self, message: dict[str, Any], due_s: float = 0.0, sent: Callable[[], None] | None = None
    ) -> None:
        body = {**message, "request_id": self.request_id, "sequence_id": self._sequence}
        self._sequence += 1
        self.out.post(due_s, encode(body), sent)

    def _event(self, name: str, logged: Callable[..., Event] | None, **extra: Any) -> None:
        last = self._words[-1] if self._words else None
        text = " ".join(w.text for w in self._words)
        end_s = self.hearing.received_s
        confidence = 0.0
        if last is not None:
            confidence = self._confidence()
        key = (name, last.ordinal) if last else (name, int(end_s))
        lag_s = self.service.draw(
            "models",
            self.model,
            "event",
            purpose="v2.event",
            key=key,
            turn=last.turn if last else None,
        )
        message = {
            "type": "TurnInfo",
            "event": name,
            "turn_index": self._turn,
            "audio_window_start": round(self._from_s, 3),
            "audio_window_end": round(end_s, 3),
            "transcript": text,
            "words": [
                {
                    "word": w.text,
                    "confidence": w.confidence,
                    "start": round(w.start_s, 3),
                    "end": round(w.end_s, 3),
                }
                for w in self._words
            ],
            "end_of_turn_confidence": round(confidence, 4),
            **extra,
        }
        sent = None
        if logged is not None:
            heard_s = last.end_s if last else end_s
            event = logged(text=text, audio_end_s=heard_s, confidence=confidence)
            sent = partial(self.log, event)
        self._post(message, self.loop.time() + lag_s, sent)

    # -- control -----------------------------------------------------------------------------

    async def control(self, text: str) -> bool:
        try:
            message = decoded(text)
        except NotJson:
            message = None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind is None:
            return await self._fail("UNPARSABLE_CLIENT_MESSAGE", "The message is not understood.")
        if kind == "Configure":
            self._configure(message)
        elif kind == "ForceEndTurn":
            if self._words:
                self._end_turn("manual")
        elif kind == "CloseStream":
            if self.take_rest():
                self._end_turn("manual")
            await self.out.drain()
            await self.ws.close(code=1000)
            return True
        else:
            return await self._fail("UNPARSABLE_CLIENT_MESSAGE", f"Unknown type `{shown(kind)}`.")
        return False

    def _configure(self, message: dict[str, Any]) -> None:
        asked = self._asked
        try:
            change = configured(message)
            check_keyterms(change.get("keyterms", []))
            asked.change({**change.get("thresholds", {})})
        except BadQuery as e:
            self._post(
                {"type": "ConfigureFailure", "code": "INVALID_CONFIG", "description": e.reason}
            )
            return
        asked.keyterms = change.get("keyterms", asked.keyterms)
        thresholds = {
            "eager_eot_threshold": asked.eager_eot_threshold,
            "eot_threshold": asked.eot_threshold,
            "eot_timeout_ms": int(asked.eot_timeout_ms),
        }
        self._post(
            {"type": "ConfigureSuccess", "thresholds": thresholds, "keyterms": asked.keyterms}
        )

    async def _fail(self, code: str, description: str) -> bool:
        """A fatal error: says so and closes."""
        self._post({"type": "Error", "code": code, "description": description})
        await self.out.drain()
        await self.ws.close(code=1008)
        return True
