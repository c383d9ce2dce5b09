"""Deepgram's ``/v1/listen`` (Nova): interim and final transcripts, and the end of speech."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from labkit.providers.deepgram_query import ListenQuery
from labkit.providers.deepgram_shapes import (
    alternative,
    first_channel,
    model_info,
    model_uuid,
    read_wav,
    shown,
    summary,
    transcript,
)
from labkit.providers.hearing import HeardWord, Hearing
from labkit.providers.server import Outbox, encode
from labkit.randomness import uniform

if TYPE_CHECKING:
    from labkit.providers.deepgram import DeepgramEmulator


class NovaListening:
    """One ``/v1/listen`` socket."""

    def __init__(self, service: DeepgramEmulator, asked: ListenQuery, model: str) -> None:
        self._service = service
        self._asked = asked
        self._model = model
        self._words: list[HeardWord] = []  # heard since the last final
        self._from_s = 0.0  # where the audio of the next Results begins
        self._ended_s = -math.inf  # end of the speech that was already reported as over
        self._reached = (-math.inf, 0.0)  # (end of speech, loop time its silence was complete)
        self._started_s = -math.inf
        self._uttered_s = -math.inf
        self._closing: asyncio.Task[bool] | None = None
        self._heard_any = False
        self._rest = b""

    async def serve(self, ws: web.WebSocketResponse, request_id: str) -> None:
        """Serves the socket until it closes."""
        self._loop = asyncio.get_running_loop()
        self._ws, self._request_id = ws, request_id
        self._log_to = self._service.scene().log
        self._hearing: Hearing | None = None
        if self._asked.raw:
            self._hearing = self._service.hearing(self._asked.sample_rate_hz)
        self._out = Outbox(ws)
        self._profile = self._service.profile
        self._limit_s = float(self._profile.value("limits", "idle_s"))
        self._every_s = float(self._profile.value("models", self._model, "interim_every_s"))
        self._gap_s = float(self._profile.value("endpointing", "min_gap_s"))
        self._next_interim_s = self._every_s
        self._window_s = self._draw_window()
        self._alive_s = opened_s = self._loop.time()
        timer = self._loop.call_later(self._limit_s, self._check_alive)
        self._timer = timer
        price = float(self._profile.value("models", self._model, "usd_per_minute"))
        self._log("open", model=self._model, request_id=request_id, usd_per_minute=price)
        try:
            async for message in ws:
                if message.type is WSMsgType.BINARY and message.data:
                    self._audio(message.data)
                elif message.type is WSMsgType.TEXT:
                    if await self._control(message.data):
                        break
                elif message.type is WSMsgType.BINARY:  # the old way to ask for the end
                    await self._finish()
                    break
        finally:
            self._timer.cancel()
            await self._out.stop()
            if self._closing is not None:
                await self._closing
            audio_s = self._hearing.received_s if self._hearing is not None else 0.0
            open_s = self._loop.time() - opened_s
            self._log("close", audio_s=audio_s, open_s=open_s, code=ws.close_code)

    def _log(self, event: str, **data: Any) -> None:
        self._log_to.add(self._service.name, event, self._loop.time(), **data)

    # -- audio -------------------------------------------------------------------------------

    def _audio(self, pcm: bytes) -> None:
        self._alive_s = self._loop.time()
        if not self._heard_any:
            self._heard_any = True
            self._log("audio_first")
        if self._hearing is None:  # a WAV stream: its head says how to read it
            try:
                rate_hz, channels, pcm = read_wav(pcm)
            except ValueError:
                self._close(1008, "DATA-0000: the payload cannot be decoded as audio")
                return
            pcm = first_channel(pcm, channels)
            self._hearing = self._service.hearing(rate_hz)
        elif self._asked.channels > 1:
            pcm = first_channel(pcm, self._asked.channels)
        if self._rest or len(pcm) & 1:
            pcm = self._rest + pcm
            whole = len(pcm) & ~1
            pcm, self._rest = pcm[:whole], pcm[whole:]
        self._hearing.feed(pcm)
        self._words += shown(self._hearing.take(), self._asked.filler_words)
        self._judge(self._hearing)

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
                    self._reached = (hearing.speech_end_s, self._loop.time())
                if silence_s >= self._gap_s:
                    self._ended_s = hearing.speech_end_s
                    self._final("final", self._reached[1], speech_final=True)
        length_s = received_s - self._from_s
        if length_s >= self._window_s:
            over = asked.endpointing_s is not None and hearing.speech_end_s <= self._ended_s
            self._final("final", self._loop.time(), speech_final=over)
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
        key = ("silence", int(self._from_s)) if word is None else (word.ordinal,)
        turn = None if word is None else word.turn
        return self._service.draw(
            "models", self._model, figure, purpose="v1." + figure, key=key, turn=turn
        )

    def _draw_window(self) -> float:
        low = float(self._profile.value("models", self._model, "window_min_s"))
        high = float(self._profile.value("models", self._model, "window_max_s"))
        scene = self._service.scene()
        luck = uniform(scene.seed, "deepgram.v1.window", scene.call, int(self._from_s * 10))
        return low + (high - low) * luck

    # -- messages ----------------------------------------------------------------------------

    def _post(
        self, message: dict[str, Any], due_s: float = 0.0, sent: Callable[[], None] | None = None
    ) -> None:
        self._out.post(due_s, encode(message), sent)

    def _speech_started(self) -> None:
        at_s = round(self._started_s, 3)
        due_s = self._loop.time() + self._draw("speech_started", None)
        self._post({"type": "SpeechStarted", "channel": [0], "timestamp": at_s}, due_s)

    def _results(self, *, final: bool, speech_final: bool, from_finalize: bool) -> dict[str, Any]:
        assert self._hearing is not None
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": round(self._hearing.received_s - self._from_s, 3),
            "start": round(self._from_s, 3),
            "is_final": final,
            "speech_final": speech_final,
            "channel": {"alternatives": [alternative(self._words, self._asked.written)]},
            "metadata": {
                "request_id": self._request_id,
                "model_info": model_info(self._model),
                "model_uuid": model_uuid(self._model),
            },
            "from_finalize": from_finalize,
        }

    def _interim(self) -> None:
        last = self._words[-1] if self._words else None
        message = self._results(final=False, speech_final=False, from_finalize=False)
        due_s = self._loop.time() + self._draw("interim", last)
        if last is None:
            self._post(message, due_s)
            return
        text, end_s = transcript(self._words, self._asked.written), last.end_s
        self._post(message, due_s, lambda: self._log("interim", transcript=text, audio_end_s=end_s))

    def _final(
        self, figure: str, from_s: float, *, speech_final: bool, from_finalize: bool = False
    ) -> None:
        assert self._hearing is not None
        last = self._words[-1] if self._words else None
        message = self._results(final=True, speech_final=speech_final, from_finalize=from_finalize)
        due_s = from_s + self._draw(figure, last)
        text = transcript(self._words, self._asked.written)
        end_s = last.end_s if last else self._hearing.received_s
        row = {"transcript": text, "speech_final": speech_final, "audio_end_s": end_s}
        self._post(message, due_s, lambda: self._log("final", **row) if text else None)
        self._words = []
        self._from_s = self._hearing.received_s
        self._next_interim_s = self._from_s + self._every_s
        self._window_s = self._draw_window()

    # -- control -----------------------------------------------------------------------------

    async def _control(self, text: str) -> bool:
        """Handles a text message; true if it ended the stream."""
        try:
            kind = json.loads(text).get("type")
        except (ValueError, AttributeError):
            self._close(1008, "DATA-0000: the text message is not a JSON object")
            return False
        if kind == "KeepAlive":
            if self._heard_any:  # before any audio it does not count
                self._alive_s = self._loop.time()
        elif kind == "Finalize":
            if self._hearing is not None:
                self._flush(from_finalize=True)
        elif kind == "CloseStream":
            await self._finish()
            return True
        return False

    def _flush(self, *, from_finalize: bool) -> None:
        assert self._hearing is not None
        self._hearing.finish()
        self._words += shown(self._hearing.take(), self._asked.filler_words)
        self._ended_s = self._hearing.speech_end_s
        if self._words:  # with nothing significant pending there may be no answer
            self._final(
                "finalize", self._loop.time(), speech_final=True, from_finalize=from_finalize
            )

    async def _finish(self) -> None:
        received_s = 0.0
        if self._hearing is not None:
            self._flush(from_finalize=False)
            received_s = self._hearing.received_s
        self._post({"type": "Metadata", **summary(self._request_id, b"", received_s)})
        await self._out.drain()
        await self._ws.close(code=1000)

    def _close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = self._loop.create_task(
                self._ws.close(code=code, message=reason.encode())
            )

    def _check_alive(self) -> None:
        left_s = self._alive_s + self._limit_s - self._loop.time()
        if left_s > 1e-6:
            self._timer = self._loop.call_later(left_s, self._check_alive)
        else:
            self._close(
                1011,
                "NET-0001: Deepgram did not receive audio data or a text message within the "
                "timeout window.",
            )
