"""Tracks of the tunnel's room: those that the agent publishes, and the caller's microphone.

What an agent publishes besides its speech, such as background sound, keeps the pace of a true audio
source and is told to ``heard`` while it is published; the speech itself goes through the console's
place.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc

from labkit.tunnel.room_wire import Wire


@dataclass
class Source:
    """An audio source of the agent's.

    Attributes:
        rate_hz: Its sampling rate.
        n_channels: Its channels.
        queue_s: How much it holds before it makes who writes to it wait, seconds.
        track: The track made of it: its ``name``, ``sid`` (empty unless published) and whether it
            is ``muted``; empty before it is made.
        end_s: When all that was written has been played, seconds of the call.
    """

    rate_hz: int
    n_channels: int
    queue_s: float
    track: dict[str, Any] = field(default_factory=dict)
    end_s: float = 0.0


class Tracks:
    """The agent's audio sources and tracks.

    Attributes:
        heard: Called with a track's name, the moment at which a frame is played (seconds of the
            call), its samples (int16, frames × channels) and their rate, Hz.
        cut: Called with a track's name when what of it has not been played will not be.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sources: dict[int, Source] = {}
        self._tracks: dict[int, dict[str, Any]] = {}
        self.heard: Callable[[str, float, np.ndarray, int], None] = lambda *_: None
        self.cut: Callable[[str], None] = lambda name: None

    def do_load_audio_filter_plugin(self, req: Any, response: Any) -> None:
        """A noise canceller for tracks; the tunnel's carry no audio, so it has nothing to do."""

    def do_new_audio_source(self, req: Any, response: Any) -> None:
        handle = self._wire.new_handle()
        queue_s = (req.queue_size_ms or 1000) / 1e3
        self._sources[handle] = Source(req.sample_rate, req.num_channels, queue_s)
        response.source.handle.id = handle
        response.source.info.type = req.type

    def do_capture_audio_frame(self, req: Any, response: Any) -> None:
        source, frame = self._sources[req.source_handle], req.buffer
        n = frame.samples_per_channel * frame.num_channels
        raw = ctypes.string_at(frame.data_ptr, 2 * n)
        pcm = np.frombuffer(raw, dtype=np.int16).reshape(-1, frame.num_channels)
        now = self._wire.now()
        starts_s = max(now, source.end_s)
        source.end_s = starts_s + frame.samples_per_channel / source.rate_hz
        if source.track.get("sid") and not source.track["muted"]:
            self.heard(source.track["name"], starts_s, pcm, source.rate_hz)
        wait_s = max(source.end_s - now - source.queue_s, 0.0)
        self._wire.call_back("capture_audio_frame", response, wait_s)

    def do_clear_audio_buffer(self, req: Any, response: Any) -> None:
        source = self._sources[req.source_handle]
        source.end_s = self._wire.now()
        if source.track:
            self.cut(source.track["name"])

    def do_create_audio_track(self, req: Any, response: Any) -> None:
        handle = self._wire.new_handle()
        track = {"name": req.name, "sid": "", "muted": False}
        self._sources[req.source_handle].track = self._tracks[handle] = track
        response.track.handle.id = handle
        response.track.info.name = req.name
        response.track.info.kind = rtc.TrackKind.KIND_AUDIO
        response.track.info.stream_state = rtc.StreamState.STATE_ACTIVE

    def do_local_track_mute(self, req: Any, response: Any) -> None:
        track = self._tracks[req.track_handle]
        response.muted = track["muted"] = req.mute
        if req.mute:
            self.cut(track["name"])

    def do_get_stats(self, req: Any, response: Any) -> None:
        self._wire.call_back("get_stats", response)

    def do_publish_track(self, req: Any, response: Any) -> None:
        track = self._tracks[req.track_handle]
        track["sid"] = sid = self._wire.new_sid("TR")
        info = {
            "sid": sid, "name": track["name"], "kind": rtc.TrackKind.KIND_AUDIO,
            "source": req.options.source, "mime_type": "audio/opus",
        }  # fmt: skip
        owned = {"handle": {"id": self._wire.new_handle()}, "info": info}
        self._wire.note("track", name=track["name"])
        self._wire.call_back("publish_track", response, publication=owned)
        # who awaits the publication knows it only a moment after the callback
        loop = asyncio.get_running_loop()
        loop.call_later(self._wire.rtt_s, self._published, sid)

    def _published(self, sid: str) -> None:
        if any(track["sid"] == sid for track in self._tracks.values()):
            self._wire.emit("local_track_published", track_sid=sid)
            self._wire.emit("local_track_subscribed", track_sid=sid)

    def do_unpublish_track(self, req: Any, response: Any) -> None:
        for track in self._tracks.values():
            if track["sid"] == req.track_sid:
                track["sid"] = ""
                self.cut(track["name"])
        self._wire.call_back("unpublish_track", response)

    def do_set_track_subscription_permissions(self, req: Any, response: Any) -> None:
        """Who may hear the agent; nobody asks."""

    def do_enable_remote_track_publication(self, req: Any, response: Any) -> None:
        """Pauses a track that is read through the room; the tunnel's are not."""
