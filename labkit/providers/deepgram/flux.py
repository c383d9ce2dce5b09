"""Deepgram's ``/v2/listen`` (Flux): recognition that also tells when the turn is over.

The confidence that a turn is over is worked out from what was heard: how long it has been silent,
and whether the words so far look complete. It never looks at words still to come, so it ends some
turns in the middle of a hesitation, as the true service does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from labkit.providers.bodies import NotJson, decoded
from labkit.providers.deepgram.requests import (
    FILLERS,
    BadQuery,
    FluxQuery,
    check_keyterms,
    configured,
)
from labkit.providers.deepgram.responses import bare
from labkit.providers.hearing import HeardWord, Hearing
from labkit.providers.outbox import encode
from labkit.providers.profile import Profile
from labkit.providers.server import shown
from labkit.providers.stt import Listening, STTEmulator
from labkit.randomness import Delay
from labkit.world.events import (
    EagerEndOfTurn,
    Event,
    Interim,
    SpeechStarted,
    Transcript,
    TurnResumed,
)

_REFERENCE = 0.7  # the threshold the profile's waits are given for
_EAGER = 0.4  # the threshold the profile's eager gain is given for
# Words that hardly ever end an English sentence, and so ask for more.
_OPEN_WORDS = frozenset(
    """
    a an the my your his her its our their this that these those of to in on at by for from with
    about into and or but so because if when while than as is are was were be been am i we they he
    she it's i'm i'd i'll can could will would should do does did have has had not very really like
    uh um er erm hmm well
    """.split()  # noqa: SIM905
)


def _logit(p: float) -> float:
    return math.inf if p >= 1 else math.log(p / (1 - p))


class TurnEnd:
    """The model of end-of-turn confidence.

    In every pause the confidence passes 0.7 after a wait drawn from one of three distributions,
    chosen by the last word heard: one that closes a sentence, one that asks for more (a filler, a
    comma, a function word), or neither. Around that point the confidence is a logistic function of
    the silence, flatter the longer the wait, so that lower thresholds are passed earlier.
    """

    def __init__(self, profile: Profile, model: str) -> None:
        at = ("models", model, "turn_end")
        self._waits = {
            kind: profile.delay(*at, kind) for kind in ("complete", "neutral", "incomplete")
        }
        self._gain_s = float(profile.value(*at, "eager_gain_s"))
        self._gain_slope = float(profile.value(*at, "eager_gain_slope"))

    @staticmethod
    def kind(text: str) -> str:
        """How the words look when the last one is ``text``."""
        word = bare(text)
        if word in FILLERS or text.endswith((",", "-", "–", "—", "…", "...")):
            return "incomplete"
        if text.endswith((".", "?", "!")):
            return "complete"
        return "incomplete" if word in _OPEN_WORDS else "neutral"

    def delay(self, text: str) -> Delay:
        """The wait until 0.7 is passed when ``text`` was the last word."""
        return self._waits[self.kind(text)]

    def _steepness(self, wait_s: float) -> float:
        gain_s = self._gain_s + self._gain_slope * wait_s
        return (_logit(_REFERENCE) - _logit(_EAGER)) / gain_s

    def confidence(self, silence_s: float, wait_s: float) -> float:
        """The confidence after ``silence_s`` of silence."""
        x = _logit(_REFERENCE) + self._steepness(wait_s) * (silence_s - wait_s)
        return 1 / (1 + math.exp(-max(min(x, 50.0), -50.0)))

    def crossing_s(self, threshold: float, wait_s: float) -> float:
        """The silence after which the confidence reaches ``threshold``; at least 0, maybe inf."""
        ahead = (_logit(threshold) - _logit(_REFERENCE)) / self._steepness(wait_s)
        return max(wait_s + ahead, 0.0)


class FluxListening(Listening):
    """One ``/v2/listen`` socket."""

    hearing: Hearing

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: FluxQuery
    ) -> None:
        super().__init__(service, ws, request_id, asked.model)
        self._asked = asked
        self.hearing = service.hearing(asked.sample_rate_hz)
        self._turn_end = TurnEnd(service.profile, asked.model)
        at = ("models", asked.model)
        self._every_s = float(self.profile.value(*at, "update_every_s"))
        self._idle_updates = bool(self.profile.value(*at, "updates_between_turns"))
        self._sequence = 0
        self._turn = 0
        self._from_s = 0.0  # where the turn's audio window begins
        self._next_update_s = self._every_s
        self._words: list[HeardWord] = []
        self._wait_s = math.inf  # this pause's wait, drawn at its last word
        self._eager_end_s = -math.inf  # end of the speech an EagerEndOfTurn was sent for

    def opened(self) -> None:
        self._post({"type": "Connected"})

    # -- audio -------------------------------------------------------------------------------

    def audio(self, data: bytes) -> None:
        hearing = self.hearing
        hearing.feed(self.whole(data))
        if self._eager_end_s >= 0 and hearing.speech_end_s > self._eager_end_s:
            self._eager_end_s = -math.inf
            self._event("TurnResumed", TurnResumed)
        new = hearing.take()
        if new:
            starting = not self._words
            self._words += new
            self._draw_wait()
            if starting:
                self._event("StartOfTurn", SpeechStarted)
                self._next_update_s = hearing.received_s + self._every_s
        if self._words:
            self._judge(hearing)
        if hearing.received_s >= self._next_update_s:
            self._next_update_s += self._every_s
            if self._words or self._idle_updates:
                self._event("Update", Interim if self._words else None)

    def _draw_wait(self) -> None:
        last, scene = self._words[-1], self.service.scene()
        name = (scene.call, last.turn, last.ordinal)
        delay = self._turn_end.delay(last.text)
        self._wait_s = delay.draw(scene.seed, "deepgram.flux.turn_end", *name)

    def _judge(self, hearing: Hearing) -> None:
        """Decides whether the silence so far ends the turn, or nearly does."""
        asked, silence_s = self._asked, hearing.silence_s
        if silence_s <= 0:
            return
        if silence_s >= self._turn_end.crossing_s(asked.eot_threshold, self._wait_s):
            self._end_turn("model")
        elif silence_s * 1000 >= asked.eot_timeout_ms:
            self._end_turn("timeout")
        elif asked.eager_eot_threshold is not None and self._eager_end_s < hearing.speech_end_s:
            if silence_s >= self._turn_end.crossing_s(asked.eager_eot_threshold, self._wait_s):
                self._eager_end_s = hearing.speech_end_s
                self._event("EagerEndOfTurn", EagerEndOfTurn)

    def _end_turn(self, trigger: str) -> None:
        self._event("EndOfTurn", partial(Transcript, speech_final=True), trigger=trigger)
        self._turn += 1
        self._from_s = self.hearing.received_s
        self._words = []
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
            confidence = self._turn_end.confidence(self.hearing.silence_s, self._wait_s)
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
            self.hearing.finish()
            self._words += self.hearing.take()
            if self._words:
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
