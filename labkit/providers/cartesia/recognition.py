"""Cartesia's speech recognition (Ink): turns on one socket, plain transcripts on the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from labkit.errors import one_of
from labkit.providers.bodies import NotJson, decoded
from labkit.providers.cartesia.access import CartesiaAccess
from labkit.providers.cartesia.requests import error_body, refused, too_many
from labkit.providers.heed import heed
from labkit.providers.outbox import encode
from labkit.providers.profile import Profile
from labkit.providers.server import RequestError, shown
from labkit.providers.stt import STTEmulator
from labkit.providers.turn_end import TurnEnd
from labkit.providers.turn_listening import TurnListening
from labkit.world.events import (
    EagerEndOfTurn,
    Interim,
    Refused,
    SpeechStarted,
    Transcript,
    TurnResumed,
)

_RANGES = {  # query parameter -> the range the service accepts, and its default
    "turn_start_threshold": (0.5, 0.9, 0.8),
    "turn_eager_end_threshold": (0.3, 0.6, 0.4),
    "turn_end_threshold": (0.05, 0.5, 0.2),
    "turn_end_timeout_ms": (640, 11_200, 5_600),
    "sample_rate": (8_000, 48_000, 16_000),
}


@dataclass(frozen=True)
class Asked:
    """The query of either socket. The thresholds are of the likelihood that the turn goes on."""

    model: str
    rate_hz: int
    eager: float
    end: float
    timeout_s: float

    @classmethod
    def parse(cls, query: Mapping[str, str], profile: Profile, *, turns: bool) -> Asked:
        """Reads a query.

        Raises:
            RequestError: something in it is not as it should be.
        """
        known = [m for m in profile.names("models") if profile.value("models", m, "turns") == turns]
        model = query.get("model", "")
        if model not in known:
            text = f"model {shown(model)!r} of this endpoint {one_of(model, known)}."
            raise refused(400, "model_not_found", "Invalid model", text)
        if query.get("encoding", "") != "pcm_s16le":
            text = f"encoding {shown(query.get('encoding'))!r}: only pcm_s16le is decoded here."
            raise refused(400, "invalid_encoding", "Invalid encoding", text)
        got = {name: _number(query, name) for name in _RANGES}
        eager, end = got["turn_eager_end_threshold"], got["turn_end_threshold"]
        if not end < eager < got["turn_start_threshold"]:
            text = "The thresholds must rise from turn_end to turn_eager_end to turn_start."
            raise refused(400, "invalid_thresholds", "Invalid thresholds", text)
        timeout_s = got["turn_end_timeout_ms"] / 1000
        return cls(model, int(got["sample_rate"]), eager, end, timeout_s)


def _number(query: Mapping[str, str], name: str) -> float:
    low, high, default = _RANGES[name]
    given = query.get(name, str(default))
    try:
        value = float(given.replace("_", "?"))
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        text = f"{name}={shown(given)} must be from {low:g} to {high:g}."
        raise refused(400, f"invalid_{name}", f"Invalid {name}", text)
    return value


class CartesiaInkEmulator(CartesiaAccess, STTEmulator):
    """``api.cartesia.ai``, speech recognition."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/stt/turns/websocket", partial(self._open, InkListening)),
            web.get("/stt/websocket", partial(self._open, WhisperListening)),
        ]

    async def _open(self, kind: type[CartesiaListening], request: web.Request) -> Any:
        key = self.key(request)
        asked = Asked.parse(request.query, self.profile, turns=kind is InkListening)
        heed(self, "cartesia.stt", request.query)
        release = self.slots.take(key, self.profile.value("limits", "streaming"))
        if release is None:
            raise too_many()
        try:
            ws, request_id = await self.upgrade(request, "X-Request-Id")
            if ws.prepared:
                await kind(self, ws, request_id, asked).serve()
            return ws
        finally:
            release()


class CartesiaListening(TurnListening):
    """One open socket, of either endpoint."""

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: Asked
    ) -> None:
        super().__init__(service, ws, request_id, asked.model, asked.rate_hz)
        self._asked = asked

    def say(self, kind: str, logged: Any = None, figure: str = "event", **fields: Any) -> None:
        """Sends a message about the words so far; ``logged`` makes the event for the log."""
        last = self._words[-1] if self._words else None
        lag_s = self.service.draw(
            *("models", self.model, figure),
            purpose="ink." + figure,
            key=(kind, last.ordinal) if last else (kind, self._turn),
            turn=last.turn if last else None,
        )
        sent = None
        if logged is not None:
            end_s = last.end_s if last else self.hearing.received_s
            sent = partial(self.log, logged(text=self.text(), audio_end_s=end_s))
        body = {"type": kind, "request_id": self.request_id, **fields}
        self.out.post(self.loop.time() + lag_s, encode(body), sent)

    def text(self) -> str:
        """The words so far."""
        return " ".join(w.text for w in self._words)

    async def fail(self, error: RequestError) -> bool:
        """A fatal error: says so and closes."""
        self.log(Refused(status=error.status, code=error.code, message=error.message))
        body = {"type": "error", "status_code": error.status, "code": error.status}
        body |= error_body(error) | {"request_id": self.request_id}
        self.out.post(0.0, encode(body))
        await self.out.drain()
        await self.ws.close(code=1008)
        return True


class InkListening(CartesiaListening):
    """``/stt/turns/websocket``: the model says when turns begin, may be over, and are."""

    def __init__(
        self, service: STTEmulator, ws: web.WebSocketResponse, request_id: str, asked: Asked
    ) -> None:
        super().__init__(service, ws, request_id, asked)
        end, eager = (
            1 - _RANGES["turn_end_threshold"][2],
            1 - _RANGES["turn_eager_end_threshold"][2],
        )
        self._turn_end = TurnEnd(service.profile, asked.model, end, eager)
        self._wait_s = math.inf
        self._eager_s = -math.inf  # end of the speech after which an eager end was told

    def opened(self) -> None:
        self.out.post(0.0, encode({"type": "connected", "request_id": self.request_id}))

    def fed(self) -> None:
        if self._eager_s >= 0 and self.hearing.speech_end_s > self._eager_s:
            self._eager_s = -math.inf
            self.say("turn.resume", TurnResumed)

    def heard(self, starting: bool) -> None:
        last, scene = self._words[-1], self.service.scene()
        wait = self._turn_end.delay(last.text)
        name = (scene.call, last.turn, last.ordinal)
        self._wait_s = wait.draw(scene.seed, "cartesia.ink.turn_end", *name)
        if starting:
            self.say("turn.start", SpeechStarted)
        self.say("turn.update", Interim, transcript=self.text())

    def judge(self, silence_s: float) -> None:
        end_s = self._turn_end.crossing_s(1 - self._asked.end, self._wait_s)
        if silence_s >= min(end_s, self._asked.timeout_s):
            self._end()
        elif self._eager_s < self.hearing.speech_end_s and silence_s >= self._turn_end.crossing_s(
            1 - self._asked.eager, self._wait_s
        ):
            self._eager_s = self.hearing.speech_end_s
            self.say("turn.eager_end", EagerEndOfTurn, transcript=self.text())

    def _end(self) -> None:
        logged = partial(Transcript, speech_final=True)
        self.say("turn.end", logged, transcript=self.text())
        self._eager_s = -math.inf
        self.next_turn()

    async def control(self, text: str) -> bool:
        try:
            message = decoded(text)
        except NotJson:
            message = None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind != "close":
            why = f'{shown(text)} is not understood; send audio, or {{"type":"close"}}.'
            return await self.fail(refused(400, "invalid_message", "Invalid message", why))
        if self.take_rest():
            self._end()
        await self.out.drain()
        await self.ws.close(code=1000)
        return True


class WhisperListening(CartesiaListening):
    """``/stt/websocket``: what was said since the last final, after a silence or when asked."""

    def heard(self, starting: bool) -> None:
        self._transcript(final=False)

    def judge(self, silence_s: float) -> None:
        if silence_s >= float(self.profile.value("models", self.model, "silence_s")):
            self._final()

    def _transcript(self, *, final: bool) -> None:
        words = [
            {"word": w.text, "start": round(w.start_s, 3), "end": round(w.end_s, 3)}
            for w in self._words
        ]
        length_s = self._words[-1].end_s - self._words[0].start_s
        self.say(
            "transcript",
            partial(Transcript, speech_final=True) if final else Interim,
            "final" if final else "partial",
            is_final=final,
            text=self.text(),
            duration=round(length_s, 3),
            words=words,
        )

    def _final(self) -> None:
        self._transcript(final=True)
        self.next_turn()

    async def control(self, text: str) -> bool:
        if text not in ("finalize", "close", "done"):
            why = f"{shown(text)} is not understood; send audio, finalize or close."
            return await self.fail(refused(400, "invalid_message", "Invalid message", why))
        if self.take_rest():
            self._final()
        kind = "flush_done" if text == "finalize" else "done"
        self.out.post(0.0, encode({"type": kind, "request_id": self.request_id}))
        if text != "finalize":
            await self.out.drain()
            await self.ws.close(code=1000)
        return text != "finalize"
