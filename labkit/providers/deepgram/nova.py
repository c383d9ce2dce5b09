"""Deepgram's ``/v1/listen`` (Nova): interim and final transcripts, and the end of speech."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from aiohttp import web

from labkit.providers.bodies import NotJson, decoded
from labkit.providers.deepgram.requests import ListenQuery
from labkit.providers.deepgram.responses import (
    NOTHING_HEARD,
    alternative,
    model_info,
    model_uuid,
    spoken,
    summary,
    transcript,
)
from labkit.providers.hearing import HeardWord, Hearing
from labkit.providers.outbox import encode
from labkit.providers.recording import first_channel, read_wav
from labkit.providers.stt import Listening, STTEmulator
from labkit.randomness import uniform
from labkit.world.events import Interim, Transcript


class NovaListening(Listening):
    """One ``/v1/listen`` socket."""

    def __init__(
        self,
        service: STTEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
        asked: ListenQuery,
    ) -> None:
        super().__init__(service, ws, request_id, model)
        self._asked = asked
        if asked.raw:
            self.hearing = service.hearing(asked.sample_rate_hz)
        self._words: list[HeardWord] = []  # heard since the last final
        self._from_s = 0.0  # where the audio of the next Results begins
        # the last word of the last final (turn, place in it), and how many empty finals followed:
        # the word names what has none of its own, in every arm alike however long replies take
        self._after = (-1, -1, 0)
        self._ended_s = -math.inf  # end of the speech that was already reported as over
        self._reached = (-math.inf, 0.0)  # (end of speech, loop time its silence was complete)
        self._started_s = -math.inf
        self._uttered_s = -math.inf
        self._closing: asyncio.Task[bool] | None = None
        self._heard_any = False
        self._limit_s = float(self.profile.value("limits", "idle_s"))
        self._every_s = float(self.profile.value("models", model, "interim_every_s"))
        self._gap_s = float(self.profile.value("endpointing", "min_gap_s"))
        self._next_interim_s = self._every_s
        self._window_s = self._draw_window()

    def opened(self) -> None:
        self._alive_s = self.loop.time()
        self._timer = self.loop.call_later(self._limit_s, self._check_alive)

    async def closed(self) -> None:
        self._timer.cancel()
        if self._closing is not None:
            await self._closing

    # -- audio -------------------------------------------------------------------------------

    def audio(self, data: bytes) -> None:
        self._alive_s, self._heard_any, pcm = self.loop.time(), True, data
        if self.hearing is None:  # a WAV stream: its head says how to read it
            try:
                rate_hz, channels, pcm = read_wav(data)
            except ValueError:
                self._close(1008, "DATA-0000: the payload cannot be decoded as audio")
                return
            pcm = first_channel(pcm, channels)
            self.hearing = self.service.hearing(rate_hz)
        elif self._asked.channels > 1:
            pcm = first_channel(pcm, self._asked.channels)
        self.hearing.feed(self.whole(pcm))
        self._words += spoken(self.hearing.take(), self._asked.filler_words)
        self._judge(self.hearing)

    def _judge(self, hearing: Hearing) -> None:
        """Decides what the audio so far calls for."""
        asked, received_s = self._asked, hearing.received_s
        if hearing.speech_start_s > self._started_s:
            self._started_s = hearing.speech_start_s
            if asked.vad_events:
                self._speech_started()
        if hearing.speech_end_s > self._ended_s and asked.endpointing_s is not None:
            silence_s = received_s - hearing.speech_end_s
            if silence_s >= asked.endpointing_s:
                if self._reached[0] != hearing.speech_end_s:
                    self._reached = (hearing.speech_end_s, self.loop.time())
                if silence_s >= self._gap_s:
                    self._ended_s = hearing.speech_end_s
                    self._final("final", self._reached[1], speech_final=True)
        length_s = received_s - self._from_s
        if length_s >= self._window_s:
            over = asked.endpointing_s is not None and hearing.speech_end_s <= self._ended_s
            self._final("final", self.loop.time(), speech_final=over)
        elif received_s >= self._next_interim_s:
            self._next_interim_s += self._every_s
            if asked.interim_results:
                self._interim()
        if asked.utterance_end_s is not None and self._uttered_s < hearing.speech_end_s:
            if hearing.silence_s >= asked.utterance_end_s:
                self._uttered_s = hearing.speech_end_s
                last_s = round(hearing.speech_end_s, 3)
                self._post({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": last_s})

    def _draw(self, figure: str, word: HeardWord | None) -> float:
        """The delay of one message, named by the word it follows so that arms are paired."""
        key = ("silence", self._after[1]) if word is None else (word.ordinal,)
        turn = self._after[0] if word is None else word.turn
        return self.service.draw(
            "models", self.model, figure, purpose="v1." + figure, key=key, turn=turn
        )

    def _draw_window(self) -> float:
        low = float(self.profile.value("models", self.model, "window_min_s"))
        high = float(self.profile.value("models", self.model, "window_max_s"))
        scene = self.service.scene()
        u = uniform(scene.seed, "deepgram.v1.window", scene.call, *self._after)
        return low + (high - low) * u

    # -- messages ----------------------------------------------------------------------------

    def _post(
        self, message: dict[str, Any], due_s: float = 0.0, sent: Callable[[], None] | None = None
    ) -> None:
        self.out.post(due_s, encode(message), sent)

    def _speech_started(self) -> None:
        at_s = round(self._started_s, 3)
        due_s = self.loop.time() + self._draw("speech_started", None)
        self._post({"type": "SpeechStarted", "channel": [0], "timestamp": at_s}, due_s)

    def _results(self, *, final: bool, speech_final: bool, from_finalize: bool) -> dict[str, Any]:
        assert self.hearing is not None
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": round(self.hearing.received_s - self._from_s, 3),
            "start": round(self._from_s, 3),
            "is_final": final,
            "speech_final": speech_final,
            "channel": {"alternatives": [alternative(self._words, self._asked.written)]},
            "metadata": {
                "request_id": self.request_id,
                "model_info": model_info(self.model),
                "model_uuid": model_uuid(self.model),
            },
            "from_finalize": from_finalize,
        }

    def _interim(self) -> None:
        last = self._words[-1] if self._words else None
        message = self._results(final=False, speech_final=False, from_finalize=False)
        due_s = self.loop.time() + self._draw("interim", last)
        if last is None:
            self._post(message, due_s)
            return
        event = Interim(text=transcript(self._words, self._asked.written), audio_end_s=last.end_s)
        self._post(message, due_s, lambda: self.log(event))

    def _final(
        self, figure: str, from_s: float, *, speech_final: bool, from_finalize: bool = False
    ) -> None:
        assert self.hearing is not None
        last = self._words[-1] if self._words else None
        message = self._results(final=True, speech_final=speech_final, from_finalize=from_finalize)
        due_s = from_s + self._draw(figure, last)
        text = transcript(self._words, self._asked.written)
        end_s = last.end_s if last else self.hearing.received_s
        event = Transcript(text=text, audio_end_s=end_s, speech_final=speech_final)
        self._post(message, due_s, lambda: self.log(event) if text else None)
        turn, ordinal, n_silent = self._after
        self._after = (last.turn, last.ordinal, 0) if last else (turn, ordinal, n_silent + 1)
        self._words = []
        self._from_s = self.hearing.received_s
        self._next_interim_s = self._from_s + self._every_s
        self._window_s = self._draw_window()

    # -- control -----------------------------------------------------------------------------

    async def empty(self) -> bool:  # the old way to ask for the end
        await self._finish()
        return True

    async def control(self, text: str) -> bool:
        try:
            message = decoded(text)
        except NotJson:
            message = None
        if not isinstance(message, dict):
            self._close(1008, "DATA-0000: the text message is not a JSON object")
            return False
        kind = message.get("type")
        if kind == "KeepAlive":
            if self._heard_any:  # before any audio it does not count
                self._alive_s = self.loop.time()
        elif kind == "Finalize":
            if self.hearing is not None:
                self._flush(from_finalize=True)
        elif kind == "CloseStream":
            await self._finish()
            return True
        return False

    def _flush(self, *, from_finalize: bool) -> None:
        assert self.hearing is not None
        self.hearing.finish()
        self._words += spoken(self.hearing.take(), self._asked.filler_words)
        self._ended_s = self.hearing.speech_end_s
        if self._words:  # with nothing significant pending there may be no answer
            self._final(
                "finalize", self.loop.time(), speech_final=True, from_finalize=from_finalize
            )

    async def _finish(self) -> None:
        received_s = 0.0
        if self.hearing is not None:
            self._flush(from_finalize=False)
            received_s = self.hearing.received_s
        self._post({"type": "Metadata", **summary(self.request_id, NOTHING_HEARD, received_s)})
        await self.out.drain()
        await self.ws.close(code=1000)

    def _close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = self.loop.create_task(self.ws.close(code=code, message=reason.encode()))

    def _check_alive(self) -> None:
        left_s = self._alive_s + self._limit_s - self.loop.time()
        if left_s > 1e-6:
            self._timer = self.loop.call_later(left_s, self._check_alive)
        else:
            self._close(
                1011,
                "NET-0001: Deepgram did not receive audio data or a text message within the "
                "timeout window.",
            )
