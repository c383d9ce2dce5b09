"""AssemblyAI's ``/v3/ws``: turns, as its older and its newer models tell of them.

The older ones (universal-streaming) say each word as they hear it, and take a turn for over when
they are confident of it. The newer ones (Universal-3) say what they have heard once early, then in
pauses, and take a turn for over when what they have written ends with a full stop. Both end it
after the longest silence allowed.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any

from aiohttp import web

from labkit.providers.assemblyai.requests import DURATION, EXPIRED, INVALID, Asked, closing
from labkit.providers.bodies import NotJson, decoded
from labkit.providers.hearing import HeardWord
from labkit.providers.outbox import encode
from labkit.providers.server import RequestError, shown
from labkit.providers.stt import STTEmulator
from labkit.providers.turn_end import TurnEnd, bare
from labkit.providers.turn_listening import TurnListening
from labkit.randomness import uniform
from labkit.world.events import (
    EagerEndOfTurn,
    Interim,
    Refused,
    SpeechStarted,
    Transcript,
    TurnResumed,
)

_LONGEST_MESSAGE_S = 1.0
_AGAIN_S = 3.0  # between the continuous partials of a long turn
_REFERENCE, _LOWER = 0.56, 0.21  # the thresholds of the published row that the waits are fitted to


class AssemblyListening(TurnListening):
    """One open WebSocket."""

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: Asked
    ) -> None:
        super().__init__(service, ws, request_id, asked.model, asked.sample_rate_hz)
        self._asked = asked
        self._opened_s = self.loop.time()
        self._gap_s = float(self.profile.value("endpointing", "min_gap_s"))
        self._paused_s = -math.inf  # end of the speech whose pause has been told of

    def opened(self) -> None:
        left_s = float(self.profile.value("limits", "session_s"))
        expires_at = int(self._opened_s + left_s)
        self._post({"type": "Begin", "id": self.request_id, "expires_at": expires_at})
        self._timer = self.loop.call_later(left_s, self._expire)
        self._expiring: asyncio.Task[None] | None = None

    def _expire(self) -> None:
        error = closing(EXPIRED, "Session Expired: Maximum session duration exceeded")
        self._expiring = self.loop.create_task(refuse(self.ws, error))

    async def closed(self) -> None:
        self._timer.cancel()
        if self._expiring is not None:
            await self._expiring

    # -- audio -------------------------------------------------------------------------------

    def arrived(self, data: bytes) -> None:
        length_s = len(data) / 2 / self._asked.sample_rate_hz
        if length_s > _LONGEST_MESSAGE_S:
            raise closing(
                DURATION,
                f"Input duration violation: {1000 * length_s:.1f} ms. "
                "Expected between 50 and 1000 ms",
            )

    def judge(self, silence_s: float) -> None:
        asked = self._asked
        if silence_s < self._gap_s:
            return
        if silence_s >= asked.max_silence_s or (
            silence_s >= asked.min_silence_s and self.over(silence_s)
        ):
            self._end_turn()
        elif silence_s >= asked.min_silence_s and self._paused_s < self.hearing.speech_end_s:
            self._paused_s = self.hearing.speech_end_s
            self.paused()

    def over(self, silence_s: float) -> bool:
        """Whether the words so far, and the silence after them, look like a whole turn."""
        raise NotImplementedError

    def paused(self) -> None:
        """Called once in a pause that does not end the turn."""
        raise NotImplementedError

    def _end_turn(self) -> None:
        self.ended()
        self.next_turn()

    def ended(self) -> None:
        """Tells of the end of the turn."""
        raise NotImplementedError

    # -- messages ----------------------------------------------------------------------------

    def _post(self, message: dict[str, Any]) -> None:
        self.out.post(0.0, encode(message))

    def lag_s(self, figure: str, *key: str) -> float:
        """The delay of a message about the words so far, named by the last of them."""
        last = self._words[-1] if self._words else None
        return self.service.draw(
            *("models", self.model, figure),
            purpose="v3." + figure,
            key=(*key, last.ordinal) if last else (*key, "none", self._turn),
            turn=last.turn if last else None,
        )

    def tell(
        self,
        logged: Any,
        lag_s: float,
        *,
        end: bool = False,
        formatted: bool = False,
        utterance: list[HeardWord] | None = None,
        confidence: float = 0.0,
    ) -> None:
        """Says what is known of the turn; ``logged`` makes the event for the log."""
        write = str if formatted else bare
        message = {
            "type": "Turn",
            "turn_order": self._turn,
            "turn_is_formatted": formatted,
            "end_of_turn": end,
            "transcript": " ".join(write(w.text) for w in self._words),
            "utterance": " ".join(write(w.text) for w in utterance or ()),
            "end_of_turn_confidence": round(confidence, 4),
            "words": [
                {
                    "text": write(w.text),
                    "start": round(1000 * w.start_s),
                    "end": round(1000 * w.end_s),
                    "confidence": w.confidence,
                    "word_is_final": end or not self.revises,
                }
                for w in self._words
            ],
        }
        event = logged(
            text=message["transcript"],
            audio_end_s=self._words[-1].end_s if self._words else self.hearing.received_s,
            confidence=confidence,
        )
        self.out.post(self.loop.time() + lag_s, encode(message), partial(self.log, event))

    revises = False
    """Whether words that have been told may change until the turn is over."""

    # -- control -----------------------------------------------------------------------------

    async def control(self, text: str) -> bool:
        try:
            message = decoded(text)
        except NotJson:
            raise closing(INVALID, f"Invalid JSON: {shown(text)}") from None
        if not isinstance(message, dict):
            raise closing(INVALID, f"Invalid Message: {shown(text)}")
        match message.get("type"):
            case "UpdateConfiguration":
                self._asked = self._asked.change({k: v for k, v in message.items() if k != "type"})
            case "ForceEndpoint":
                if self.take_rest():
                    self._end_turn()
            case "KeepAlive":
                pass
            case "Terminate":
                if self.take_rest():
                    self._end_turn()
                await self._terminate()
                return True
            case kind:
                raise closing(INVALID, f"Invalid Message Type: {shown(kind)}")
        return False

    async def _terminate(self) -> None:
        self._post({
            "type": "Termination",
            "audio_duration_seconds": round(self.hearing.received_s, 3),
            "session_duration_seconds": round(self.loop.time() - self._opened_s, 3),
        })  # fmt: skip
        await self.out.drain()
        await self.ws.close(code=1000)

    async def serve(self) -> None:
        try:
            await super().serve()
        except RequestError as error:
            self.log(Refused(status=error.status, code=error.code, message=error.message))
            await refuse(self.ws, error)


async def refuse(ws: web.WebSocketResponse, error: RequestError) -> None:
    """Says why, and closes."""
    code = int(error.code or INVALID)
    if not ws.closed:
        body = {"type": "Error", "error_code": code, "error": error.message}
        await ws.send_str(encode(body))
        reason = error.message.encode()
        told = reason if len(reason) <= 123 else b"See Error message for details"
        await ws.close(code=code, message=told)


class UniversalListening(AssemblyListening):
    """The older models: each word as it is heard, and turns that end with confidence."""

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: Asked
    ) -> None:
        super().__init__(service, ws, request_id, asked)
        self._turn_end = TurnEnd(service.profile, asked.model, _REFERENCE, _LOWER)
        self._written = bool(self.profile.value("models", asked.model, "written"))
        self._wait_s = math.inf
        self._uttered = 0  # words told of as whole utterances

    def heard(self, starting: bool) -> None:
        last, scene = self._words[-1], self.service.scene()
        name = (scene.call, last.turn, last.ordinal)
        wait = self._turn_end.delay(last.text)
        self._wait_s = wait.draw(scene.seed, "assemblyai.turn_end", *name)
        logged = TurnResumed if self._uttered and self._paused_s > 0 else Interim
        self._paused_s = -math.inf
        self.tell(logged, self.lag_s("partial"), formatted=self._written)

    def _confidence(self) -> float:
        return self._turn_end.confidence(self.hearing.silence_s, self._wait_s)

    def over(self, silence_s: float) -> bool:
        return silence_s >= self._turn_end.crossing_s(self._asked.threshold, self._wait_s)

    def paused(self) -> None:
        new, self._uttered = self._words[self._uttered :], len(self._words)
        self.tell(
            EagerEndOfTurn,
            self.lag_s("final", "utterance"),
            formatted=self._written,
            utterance=new,
            confidence=self._confidence(),
        )

    def ended(self) -> None:
        lag_s, logged = self.lag_s("final"), partial(Transcript, speech_final=True)
        new = self._words[self._uttered :]
        sure = self._confidence()
        twice = self._asked.format_turns and not self._written
        self.tell(
            Interim if twice else logged,
            lag_s,
            end=True,
            formatted=self._written,
            utterance=new,
            confidence=sure,
        )
        if twice:
            lag_s += self.lag_s("formatting")
            self.tell(logged, lag_s, end=True, formatted=True, utterance=new, confidence=sure)
        self._uttered, self._paused_s = 0, -math.inf


class ProListening(AssemblyListening):
    """The newer models: a word early, one in each pause, and turns that end with a full stop."""

    revises = True

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: Asked
    ) -> None:
        super().__init__(service, ws, request_id, asked)
        at = ("models", asked.model, "turn_end")
        self._early = float(self.profile.value(*at, "stops_early"))
        self._missed = float(self.profile.value(*at, "misses_end"))
        self._began_s = math.inf  # where the turn's speech began, once there is some
        self._next_s = math.inf  # when the next partial is due, seconds of audio
        self._announced = False

    def fed(self) -> None:
        if self.hearing.speech_start_s > -math.inf and self._began_s == math.inf:
            if self.hearing.speech_end_s > self._over_s:
                self._began_s = max(self.hearing.speech_start_s, self._over_s)
                self._next_s = self._began_s + self._asked.early_s

    _over_s = -math.inf
    """End of the speech of the turn before."""

    def passed(self) -> None:
        if self.hearing.received_s < self._next_s:
            return
        speaking = self.hearing.silence_s < self._gap_s
        if self._words and speaking:
            self._next_s += _AGAIN_S if self._asked.continuous else math.inf
            self._partial("early")
        else:  # nothing yet, or a pause, which is told of by itself
            self._next_s += self._asked.early_s

    def _announce(self, lag_s: float) -> None:
        if not self._announced:
            self._announced = True
            at_ms = round(1000 * self._words[0].start_s)
            message = {"type": "SpeechStarted", "timestamp": at_ms, "confidence": 0.9}
            event = SpeechStarted(text="", audio_end_s=self._words[0].start_s)
            self.out.post(self.loop.time() + lag_s, encode(message), partial(self.log, event))

    def _partial(self, kind: str) -> None:
        lag_s = self.lag_s("partial", kind)
        self._announce(lag_s)
        self.tell(Interim, lag_s)

    def tell(self, logged: Any, lag_s: float, **more: Any) -> None:
        # these models write as they hear
        super().tell(logged, lag_s, **{**more, "formatted": True})

    def over(self, silence_s: float) -> bool:
        last, scene = self._words[-1], self.service.scene()
        u = uniform(scene.seed, "assemblyai.full_stop", scene.call, last.turn, last.ordinal)
        closed = TurnEnd.kind(last.text) == "complete"
        return u >= self._missed if closed else u < self._early

    def paused(self) -> None:
        self._partial("pause")

    def ended(self) -> None:
        lag_s = self.lag_s("final")
        self._announce(lag_s)
        logged = partial(Transcript, speech_final=True)
        self.tell(logged, lag_s, end=True, utterance=self._words, confidence=1.0)
        self._over_s = self.hearing.speech_end_s
        self._began_s = self._next_s = math.inf
        self._announced = False
