"""The hosted end-of-turn model (v1), in protobuf.

Its scores are emulated: those of the SDK's local model on the same audio, moved by one of two
monotone maps of the profile, for ends of turns and for pauses inside them. The profile derives the
maps; they are an assumption, and every result that they entered says so.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web
from livekit.protocol.agent_pb import agent_inference

from labkit.providers.livekit.gateway import GatewayPart
from labkit.providers.livekit.overheard import Overheard
from labkit.providers.outbox import Outbox
from labkit.world.events import Assumed, Connected, Disconnected, Scored
from labkit.world.scene import SAMPLE_RATE_HZ

_LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pt", "tr", "zh")
"""Those of the local model (livekit-agents 1.8.9, inference/eot/languages.py)."""
_MODEL = "turn-detector-v1"


class EndOfTurn:
    """One ``/v1/eot`` socket.

    The profile holds under ``eot``: ``inference``, ``window_s``, ``threshold``, ``ends`` and
    ``pauses``.
    """

    def __init__(self, service: GatewayPart, ws: web.WebSocketResponse, request_id: str) -> None:
        self.service, self.ws, self.request_id = service, ws, request_id
        self._loop = asyncio.get_running_loop()
        self._log = service.logger()
        self._out = Outbox(ws)
        self._track = service.scene().track
        self._heard = Overheard(self._track)
        self._window = bytearray()
        self._most = 2 * round(float(service.profile.value("eot", "window_s")) * SAMPLE_RATE_HZ)
        self._latest: Any = None  # when the client made the last audio

    async def serve(self) -> None:
        """Serves the socket until it closes."""
        self._log(Connected(model=_MODEL, request_id=self.request_id))
        try:
            async for message in self.ws:
                if message.type is not WSMsgType.BINARY:
                    await self._fail(400, "messages are binary")
                elif await self._take(message.data):
                    break
        finally:
            await self._out.stop()
            self._log(Disconnected(code=self.ws.close_code))

    async def _take(self, data: bytes) -> bool:
        """Handles one message; true if it ended the session."""
        try:
            message = agent_inference.ClientMessage.FromString(data)
        except Exception:  # protobuf raises its own kinds of error
            return await self._fail(400, "the message is not understood")
        kind = message.WhichOneof("message")
        if kind == "session_create":
            return await self._create(message)
        if kind == "input_audio":
            self._latest = message.input_audio.created_at
            self._heard.feed(message.input_audio.audio)
            self._window += message.input_audio.audio
            del self._window[: max(len(self._window) - self._most, 0)]
        elif kind == "session_flush":
            self._window.clear()
        elif kind == "inference_start":
            self._judge(message)
        elif kind == "session_close":
            self._send(0.0, message, session_closed=agent_inference.SessionClosed())
            await self._out.drain()
            await self.ws.close(code=1000)
            return True
        return False

    async def _create(self, message: Any) -> bool:
        settings = message.session_create.settings
        if settings.sample_rate != SAMPLE_RATE_HZ:
            return await self._fail(400, f"sample_rate must be {SAMPLE_RATE_HZ}")
        if self.service.scene().local_eot is None:
            return await self._fail(503, "there is no local model to emulate the hosted one from")
        source = self.service.profile.source("eot", "ends")
        self._log(Assumed(text=f"{_MODEL}: {source.removeprefix('assumption: ')}"))
        threshold = float(self.service.profile.value("eot", "threshold"))
        created = agent_inference.SessionCreated(
            default_thresholds=dict.fromkeys(_LANGUAGES, threshold), default_threshold=threshold
        )
        self._send(0.0, message, session_created=created)
        return False

    def _judge(self, message: Any) -> None:
        """Answers whether the turn is over, when the model would."""
        service, local = self.service, self.service.scene().local_eot
        window = np.frombuffer(bytes(self._window), np.int16)
        score = local(window) if local is not None and len(window) else 0.0
        kind = "pauses" if self._heard.goes_on() else "ends"
        probability = moved(score, service.profile.value("eot", kind))
        scene = service.scene()
        key = (service.nth("eot", scene.turn),)
        took_s = service.draw("eot", "inference", purpose="eot", key=key)
        own_s = took_s - 2 * service.behind_s
        self._log(Scored(probability=probability, took_s=own_s))
        stats = agent_inference.InferenceStats(latest_client_created_at=self._latest)
        stats.server_e2e_latency.FromNanoseconds(round(own_s * 1e9))
        stats.client_e2e_latency.FromNanoseconds(round(took_s * 1e9))
        prediction = agent_inference.EotPrediction(probability=probability, inference_stats=stats)
        self._send(
            self._loop.time() + took_s,
            message,
            request_id=message.inference_start.request_id,
            eot_prediction=prediction,
        )

    async def _fail(self, code: int, text: str) -> bool:
        error = agent_inference.ServerMessage()
        error.error.code, error.error.message = code, text
        self._out.post(0.0, error.SerializeToString())
        await self._out.drain()
        await self.ws.close(code=1008)
        return True

    def _send(self, due_s: float, cause: Any, **fields: Any) -> None:
        answer = agent_inference.ServerMessage(client_created_at=cause.created_at, **fields)
        self._out.post(due_s, answer.SerializeToString())


def moved(score: float, points: list[list[float]]) -> float:
    """A score moved by a map that is linear between its points (given, and wanted)."""
    at = min(max(bisect_right([x for x, _ in points], score), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[at - 1], points[at]
    return y0 + (y1 - y0) * (score - x0) / (x1 - x0)
