"""The room that an agent joins: what a LiveKit server and the caller's app do, without either.

The SDK's own ``rtc.Room`` and participants are used. Where they would ask the native library, which
speaks to a media server, they ask :class:`Room`, in the library's own messages. It holds who is
there with which attributes, passes on data, text, bytes and RPC, and reports what happens as room
events. Audio does not go through it: the caller's comes in through the console's place
(:class:`labkit.tunnel.job.Console`), and what the agent publishes as tracks of its own is heard
behind its speech (:mod:`labkit.tunnel.room_tracks`). What it does not have is refused by name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from livekit import rtc

from labkit.tunnel import sdk
from labkit.tunnel.room_hearing import Hearing
from labkit.tunnel.room_rpc import Rpc
from labkit.tunnel.room_streams import Streams
from labkit.tunnel.room_tracks import Tracks
from labkit.tunnel.room_wire import Wire

_NATIVE = (
    "apm_", "new_apm", "new_audio_resampler", "remix_and_resample", "new_sox_", "push_sox_",
    "flush_sox_", "video_convert", "dispose",
)  # fmt: skip
"""Requests that concern no room; the native library answers them."""
_UNSEEN = "lk."
"""How attributes and topics begin that the SDK uses for itself."""


class RoomError(RuntimeError):
    """The agent asked its room for something that the tunnel's does not have."""


class Room:
    """The server's side of a room with an agent and a caller in it.

    Attributes:
        caller: The caller's identity.
        people: Who is in the room besides the agent, by identity, as the library describes them.
        agent: The agent, likewise; its identity is empty before it has joined.
        met: Set when the agent and the caller are both in the room.
        ended: Called with the reason when the call is over by what happens in the room.
        tracks: Tracks and audio sources of the agent's.
        hearing: Streams by which the agent reads the caller's track itself.
        streams: Data and streams, both ways.
        rpc: Remote procedure calls, both ways.
    """

    def __init__(
        self,
        info: Mapping[str, Any],
        caller: Mapping[str, Any],
        now: Callable[[], float],
        note: Callable[..., None],
        *,
        rtt_s: float,
        caller_rtt_s: float,
        joins_after_s: float | None = None,
        answers: Mapping[str, str] | None = None,
    ) -> None:
        """Opens a room and takes the native library's place (see :class:`sdk.Ffi`).

        Args:
            info: ``sid``, ``name`` and ``metadata`` of the room.
            caller: ``identity``, ``name``, ``kind``, ``metadata``, ``attributes`` of the caller.
            now: The call's clock, seconds.
            note: Told what the agent does to the room: what, and details by name.
            rtt_s: Round trip to the server, seconds.
            caller_rtt_s: Round trip to the caller, seconds.
            joins_after_s: When the caller joins, seconds after the agent; None: it is there before.
            answers: What the caller's app answers to RPC, by method.
        """
        self.info, self.caller = dict(info), str(caller["identity"])
        self.note, self.rtt_s, self._joins_after_s = note, rtt_s, joins_after_s
        self.wire = Wire(self._answer, self.caller, now, note, rtt_s)
        self.people: dict[str, dict[str, Any]] = {}
        self.agent: dict[str, Any] = {"identity": ""}
        self.met = asyncio.Event()
        self.ended: Callable[[str], None] = lambda reason: None
        self._auto = True
        self.tracks, self.streams = Tracks(self.wire), Streams(self.wire)
        self.hearing = Hearing(self.wire)
        self.rpc = Rpc(self.wire, self.people, dict(answers or {}), caller_rtt_s)
        self._caller = dict(caller)
        if joins_after_s is None:
            self._place(self._caller)

    def _answer(self, req: sdk.FfiRequest) -> sdk.FfiResponse | None:
        """Answers one request of the SDK's; None if it concerns no room.

        Raises:
            RoomError: the tunnel's room does not have it.
        """
        kind = req.WhichOneof("message") or ""
        for part in (self, self.tracks, self.hearing, self.streams, self.rpc):
            handler = getattr(part, f"do_{kind}", None)
            if handler is not None:
                response = sdk.FfiResponse()
                getattr(response, kind).SetInParent()
                handler(getattr(req, kind), getattr(response, kind))
                return response
        if kind.startswith(_NATIVE):
            return None
        raise RoomError(
            f"the tunnel's room has no {kind!r}: it has participants and their attributes, data, "
            "text and byte streams, RPC, DTMF, published audio and the caller's to be read, but no "
            "video and no encryption"
        )

    # ------------------------------------------------------------------ joining and leaving

    def do_connect(self, req: Any, response: Any) -> None:
        self.wire.handle, self.wire.agent_handle = self.wire.new_handle(), self.wire.new_handle()
        self._auto = req.options.auto_subscribe
        if self.agent["identity"] in self.people:
            raise RoomError(
                f"the agent would join as {self.agent['identity']!r}, which is the caller's "
                "identity: choose another with --set participant.identity=NAME"
            )
        began_ms = round(time.time() * 1e3)
        self.info["creation_time"] = began_ms
        for person in (self.agent, *(p["info"] for p in self.people.values())):
            person["joined_at"] = began_ms
        there = [
            {
                "participant": {"handle": {"id": self.wire.new_handle(name)}, "info": who["info"]},
                "publications": [_publication(self.wire, name, t) for t in who["tracks"]],
            }
            for name, who in self.people.items()
        ]
        result = {
            "room": {"handle": {"id": self.wire.handle}, "info": self._info()},
            "local_participant": {"handle": {"id": self.wire.agent_handle}, "info": self.agent},
            "participants": there,
        }
        self.wire.call_back("connect", response, result=result)

    def _info(self) -> dict[str, Any]:
        n = len(self.people) + 1
        return self.info | {"num_participants": n, "num_publishers": n, "empty_timeout": 300,
                            "departure_timeout": 20}  # fmt: skip

    def do_ready_for_room_event(self, req: Any, response: Any) -> None:
        self.wire.ready = True
        self.wire.emit("connection_state_changed", state=rtc.ConnectionState.CONN_CONNECTED)
        for identity in self.people:
            self._subscribe_all(identity)
        if self._joins_after_s is None:
            self.met.set()
        else:
            asyncio.get_running_loop().call_later(self._joins_after_s, self._caller_joins)

    def _caller_joins(self) -> None:
        if self.wire.ready:
            self.join(self._caller)
            self.met.set()

    def _place(self, who: Mapping[str, Any]) -> dict[str, Any]:
        """Puts somebody into the room, with a microphone."""
        person = {
            "sid": self.wire.new_sid("PA"), "state": rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE,
            "joined_at": round(time.time() * 1e3), "permission": {"can_publish": True,
                "can_subscribe": True, "can_publish_data": True}, **who,
        }  # fmt: skip
        track = {
            "sid": self.wire.new_sid("TR"), "name": "microphone", "kind": rtc.TrackKind.KIND_AUDIO,
            "source": rtc.TrackSource.SOURCE_MICROPHONE, "mime_type": "audio/red", "remote": True,
        }  # fmt: skip
        placed = {"info": person, "tracks": [track]}
        self.people[str(who["identity"])] = placed
        return placed

    def join(self, who: Mapping[str, Any]) -> dict[str, Any]:
        """Lets somebody in, with the events of it; gives the description.

        Args:
            who: ``identity`` and whatever else :class:`Room` takes of the caller.
        """
        identity = str(who["identity"])
        if identity in self.people:
            self.leave(identity, rtc.DisconnectReason.DUPLICATE_IDENTITY)
        placed = self._place({**who, "joined_at": round(time.time() * 1e3)})
        info: dict[str, Any] = placed["info"]
        self.wire.emit(
            "participant_connected",
            info={"handle": {"id": self.wire.new_handle(identity)}, "info": info},
        )
        for track in placed["tracks"]:
            self.wire.emit(
                "track_published",
                participant_identity=identity, publication=_publication(self.wire, identity, track),
            )  # fmt: skip
        self.wire.emit("participant_active", participant_identity=identity)
        self._subscribe_all(identity)
        return info

    def _subscribe_all(self, identity: str) -> None:
        if self._auto:
            for track in self.people[identity]["tracks"]:
                self.subscribe(identity, track)

    def subscribe(self, identity: str, track: Mapping[str, Any]) -> None:
        """Subscribes the agent to a track."""
        known = {k: track[k] for k in ("sid", "name", "kind", "remote")}
        owned = {"handle": {"id": self.wire.new_handle((identity, track))}, "info": known}
        self.wire.emit("track_subscribed", participant_identity=identity, track=owned)

    def do_set_subscribed(self, req: Any, response: Any) -> None:
        identity, track = self.wire.kept(req.publication_handle)
        if req.subscribe:
            self.subscribe(identity, track)
        else:
            self.wire.emit(
                "track_unsubscribed", participant_identity=identity, track_sid=track["sid"]
            )

    def leave(self, identity: str, reason: int) -> None:
        """Lets somebody go; with the caller the call is over."""
        person = self.people.pop(identity, None)
        if person is None:
            return
        for track in person["tracks"]:
            gone = {"participant_identity": identity}
            self.wire.emit("track_unsubscribed", track_sid=track["sid"], **gone)
            self.wire.emit("track_unpublished", publication_sid=track["sid"], **gone)
        self.wire.emit(
            "participant_disconnected", participant_identity=identity, disconnect_reason=reason
        )
        if identity == self.caller:
            self.hearing.end()
            self.ended("the caller has left")

    def close(self, reason: int) -> None:
        """Closes the room, as a server does that deletes it."""
        self.people.clear()
        self.wire.emit("connection_state_changed", state=rtc.ConnectionState.CONN_DISCONNECTED)
        self.wire.emit("disconnected", reason=reason)
        self.wire.emit("eos")
        self.wire.ready = False
        self.ended("room disconnected")

    def do_disconnect(self, req: Any, response: Any) -> None:
        self.wire.emit("eos")
        self.wire.ready = False
        self.wire.call_back("disconnect", response)

    # ------------------------------------------------------------------ who they are

    def do_set_local_attributes(self, req: Any, response: Any) -> None:
        self.change_attributes(self.agent, {a.key: a.value for a in req.attributes})
        self.wire.call_back("set_local_attributes", response, self.rtt_s)

    def change_attributes(self, who: dict[str, Any], changed: Mapping[str, str]) -> None:
        """Changes somebody's attributes; an empty text takes one away."""
        kept = {**who.get("attributes", {}), **changed}
        who["attributes"] = {k: v for k, v in kept.items() if v}
        if who is self.agent and (seen := _seen(changed)):
            self.note("attributes", attributes=seen)
        self.wire.emit(
            "participant_attributes_changed",
            participant_identity=who["identity"],
            attributes=_entries(who["attributes"]), changed_attributes=_entries(changed),
        )  # fmt: skip

    def do_set_local_metadata(self, req: Any, response: Any) -> None:
        self.change_metadata(self.agent, req.metadata)
        self.wire.call_back("set_local_metadata", response, self.rtt_s)

    def change_metadata(self, who: dict[str, Any], metadata: str) -> None:
        """Changes somebody's metadata."""
        who["metadata"] = metadata
        if who is self.agent:
            self.note("metadata", metadata=metadata)
        self.wire.emit(
            "participant_metadata_changed", participant_identity=who["identity"], metadata=metadata
        )

    def do_set_local_name(self, req: Any, response: Any) -> None:
        self.change_name(self.agent, req.name)
        self.wire.call_back("set_local_name", response, self.rtt_s)

    def change_name(self, who: dict[str, Any], name: str) -> None:
        """Changes somebody's name."""
        who["name"] = name
        self.wire.emit("participant_name_changed", participant_identity=who["identity"], name=name)

    def change_room_metadata(self, metadata: str) -> None:
        """Changes the room's metadata."""
        self.info["metadata"] = metadata
        self.wire.emit("room_metadata_changed", metadata=metadata)

    def do_get_session_stats(self, req: Any, response: Any) -> None:
        pair = {"state": 4, "nominated": True, "current_round_trip_time": self.rtt_s}
        stamp = {"id": "pair", "timestamp": round(time.time() * 1e3)}
        stats = [{"candidate_pair": {"rtc": stamp, "candidate_pair": pair}}]
        result = {"publisher_stats": stats, "subscriber_stats": stats}
        self.wire.call_back("get_session_stats", response, self.rtt_s, result=result)


def _publication(wire: Wire, identity: str, track: Mapping[str, Any]) -> dict[str, Any]:
    handle = wire.new_handle((identity, track))
    return {"handle": {"id": handle}, "info": dict(track)}


def _seen(attributes: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in attributes.items() if not k.startswith(_UNSEEN)}


def _entries(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": k, "value": v} for k, v in attributes.items()]
