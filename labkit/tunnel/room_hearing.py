"""Streams by which an agent reads the caller's track itself, beside what its session hears."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labkit.tunnel.room_wire import Wire
from labkit.world.scene import SAMPLE_RATE_HZ

_FRAME_MS = 10
"""Length of a frame where none is asked for, as the native library's."""


@dataclass
class _Stream:
    rate_hz: int
    n_channels: int
    frame: int  # samples
    rest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))


class Hearing:
    """The agent's streams of the caller's sound; each has it as the line brings it to the agent."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._streams: dict[int, _Stream] = {}

    def do_new_audio_stream(self, req: Any, response: Any) -> None:
        identity, _ = self._wire.kept(req.track_handle)
        self._open(identity, req, response)

    def do_audio_stream_from_participant(self, req: Any, response: Any) -> None:
        self._open(self._wire.kept(req.participant_handle), req, response)

    def _open(self, identity: str, req: Any, response: Any) -> None:
        rate_hz, n_channels = req.sample_rate or 48_000, req.num_channels or 1
        frame = round(rate_hz * (req.frame_size_ms or _FRAME_MS) / 1e3)
        stream = _Stream(rate_hz, n_channels, frame)
        handle = response.stream.handle.id = self._wire.new_handle(stream)
        response.stream.info.type = req.type
        if identity == self._wire.caller:  # whoever else is in the room says nothing
            self._streams[handle] = stream

    def hear(self, pcm: np.ndarray) -> None:
        """Passes on what reaches the agent: int16 at 16 kHz."""
        for handle, stream in list(self._streams.items()):
            if not self._wire.holds(handle):  # the agent has closed it
                del self._streams[handle]
                continue
            n = round(len(pcm) * stream.rate_hz / SAMPLE_RATE_HZ)
            at = np.arange(n) * SAMPLE_RATE_HZ / stream.rate_hz
            resampled = np.interp(at, np.arange(len(pcm)), pcm).astype(np.int16)
            stream.rest = np.concatenate([stream.rest, resampled])
            while len(stream.rest) >= stream.frame:
                self._send(handle, stream, stream.rest[: stream.frame])
                stream.rest = stream.rest[stream.frame :]

    def end(self) -> None:
        """Ends the streams, as when the caller has left."""
        for handle in self._streams:
            self._wire.stream_event(handle, eos={})
        self._streams.clear()

    def _send(self, handle: int, stream: _Stream, pcm: np.ndarray) -> None:
        data = np.repeat(pcm, stream.n_channels).tobytes()
        kept = ctypes.create_string_buffer(data, len(data))
        info = {
            "data_ptr": ctypes.addressof(kept), "num_channels": stream.n_channels,
            "sample_rate": stream.rate_hz, "samples_per_channel": len(pcm),
        }  # fmt: skip
        owned = {"handle": {"id": self._wire.new_handle(kept)}, "info": info}
        self._wire.stream_event(handle, frame_received={"frame": owned})
