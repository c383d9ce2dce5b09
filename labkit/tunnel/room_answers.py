"""What the LiveKit server's API answers, and what it does to the room of the call."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from livekit import api, rtc
from livekit.protocol.sip import SIPTransferStatus, TransferSIPParticipantResponse

from labkit.providers.profile import Profile
from labkit.randomness import uniform
from labkit.tunnel.room import Room


class ApiError(Exception):
    """A request that is refused: Twirp's name of the error, and its HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Server:
    """The server that holds the call's room, and what it was asked to keep.

    Args:
        room: The room.
        profile: Delays: ``api.answer``, and ``api.dial`` until a telephone is answered.
        key: Seed and call: of what delays are drawn.
    """

    def __init__(self, room: Room, profile: Profile, key: tuple[int, int]) -> None:
        self.room, self._profile, self._key = room, profile, key
        self._numbers = itertools.count(1)
        self._asked: Counter[str] = Counter()
        self.egress: dict[str, Any] = {}
        self.dispatches: dict[str, Any] = {}
        self.trunks: dict[str, Any] = {}

    def new_id(self, kind: str) -> str:
        """An identifier such as ``EG_0001``."""
        return f"{kind}_{next(self._numbers):04d}"

    def draw(self, delay: str, method: str) -> float:
        """One of the server's delays, seconds."""
        seed, call = self._key
        nth = self._asked[f"{delay} {method}"]
        self._asked[f"{delay} {method}"] += 1
        u = uniform(seed, f"room.{delay}", call, method, nth)
        return self._profile.delay("api", delay).drawn(u)

    def this_room(self, name: str) -> Room:
        """The room of the call, if it is the one that is asked for.

        Raises:
            ApiError: it is not.
        """
        if name != self.room.info["name"]:
            raise ApiError("not_found", f"requested room does not exist: {name!r}; the call's room "
                           f"is {self.room.info['name']!r}", 404)  # fmt: skip
        return self.room

    def person(self, asked: Any) -> dict[str, Any]:
        """The participant that is asked for, as the room keeps it.

        Raises:
            ApiError: there is none.
        """
        room = self.this_room(asked.room or getattr(asked, "room_name", ""))
        if room.agent["identity"] == asked.identity:
            return room.agent
        if asked.identity not in room.people:
            there = ", ".join([*room.people, str(room.agent["identity"])])
            raise ApiError("not_found", f"participant does not exist: {asked.identity!r}; in the "
                           f"room: {there}", 404)  # fmt: skip
        info: dict[str, Any] = room.people[asked.identity]["info"]
        return info


Answer = Callable[[Server, Any], Any]


def _room_message(server: Server) -> Any:
    info = server.room.info
    return api.Room(sid=info["sid"], name=info["name"], metadata=info["metadata"],
                    num_participants=len(server.room.people) + 1)  # fmt: skip


def _participant(info: dict[str, Any]) -> Any:
    known = ("sid", "identity", "name", "metadata", "attributes", "kind", "state")
    message = api.ParticipantInfo(**{k: info[k] for k in known if k in info})
    message.joined_at = int(info.get("joined_at", 0)) // 1000
    return message


def _create_room(server: Server, asked: Any) -> Any:
    if asked.name == server.room.info["name"]:
        return _room_message(server)
    return api.Room(sid=server.new_id("RM"), name=asked.name, metadata=asked.metadata)


def _list_rooms(server: Server, asked: Any) -> Any:
    wanted = not asked.names or server.room.info["name"] in asked.names
    return api.ListRoomsResponse(rooms=[_room_message(server)] if wanted else [])


def _delete_room(server: Server, asked: Any) -> Any:
    room = server.this_room(asked.room)
    # told of after the answer: who asked is still in the room
    asyncio.get_running_loop().call_later(room.rtt_s, room.close, rtc.DisconnectReason.ROOM_DELETED)
    return api.DeleteRoomResponse()


def _list_participants(server: Server, asked: Any) -> Any:
    room = server.this_room(asked.room)
    there = [room.agent, *(p["info"] for p in room.people.values())]
    return api.ListParticipantsResponse(participants=[_participant(p) for p in there])


def _remove_participant(server: Server, asked: Any) -> Any:
    server.person(asked)
    server.room.leave(asked.identity, rtc.DisconnectReason.PARTICIPANT_REMOVED)
    return api.RemoveParticipantResponse()


def _update_participant(server: Server, asked: Any) -> Any:
    person = server.person(asked)
    if asked.metadata:
        server.room.change_metadata(person, asked.metadata)
    if asked.name:
        server.room.change_name(person, asked.name)
    if asked.attributes:
        server.room.change_attributes(person, dict(asked.attributes))
    return _participant(person)


def _update_room(server: Server, asked: Any) -> Any:
    server.this_room(asked.room).change_room_metadata(asked.metadata)
    return _room_message(server)


def _mute(server: Server, asked: Any) -> Any:
    server.person(asked)
    return api.MuteRoomTrackResponse(track={"sid": asked.track_sid, "muted": asked.muted})


def _send_data(server: Server, asked: Any) -> Any:
    server.this_room(asked.room).streams.send_data(asked.data, asked.topic, sender="")
    return api.SendDataResponse()


# ---------------------------------------------------------------------- telephones


async def _dial(server: Server, asked: Any) -> Any:
    if not asked.sip_trunk_id and not asked.HasField("trunk"):
        raise ApiError("invalid_argument", "missing sip trunk id", 400)
    room = server.this_room(asked.room_name)
    identity = asked.participant_identity or f"sip_{asked.sip_call_to}"
    call = server.new_id("SCL")
    who = {
        "identity": identity, "name": asked.participant_name, "sid": server.new_id("PA"),
        "kind": rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        "metadata": asked.participant_metadata,
        "attributes": {
            **asked.participant_attributes, "sip.callID": call, "sip.callStatus": "dialing",
            "sip.phoneNumber": asked.sip_call_to, "sip.trunkID": asked.sip_trunk_id,
        },
    }  # fmt: skip
    person = room.join(who)
    answered_s = server.draw("dial", "answer")

    def answer() -> None:
        if identity in room.people:
            room.change_attributes(person, {"sip.callStatus": "active"})

    if asked.wait_until_answered:
        await asyncio.sleep(answered_s)
        answer()
    else:
        asyncio.get_running_loop().call_later(answered_s, answer)
    return api.SIPParticipantInfo(
        participant_id=person["sid"], participant_identity=identity,
        room_name=asked.room_name, sip_call_id=call,
    )  # fmt: skip


def _transfer(server: Server, asked: Any) -> Any:
    room = server.this_room(asked.room_name)
    who = asked.participant_identity
    if who not in room.people:
        raise ApiError("not_found", f"participant does not exist: {who!r}", 404)
    if room.people[who]["info"].get("kind") != rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
        raise ApiError("invalid_argument", f"{who!r} is not on a telephone: --set "
                       "participant.kind=sip makes the caller so", 400)  # fmt: skip
    room.change_attributes(room.people[who]["info"], {"sip.callStatus": "hangup"})
    asyncio.get_running_loop().call_later(
        room.rtt_s, room.leave, who, rtc.DisconnectReason.CLIENT_INITIATED
    )
    return TransferSIPParticipantResponse(
        transfer_id=server.new_id("STR"), status=SIPTransferStatus.STS_TRANSFER_SUCCESSFUL
    )


def _kept(kind: str, field: str) -> Answer:
    """Keeps what is created under a new id, and gives it back."""

    def create(server: Server, asked: Any) -> Any:
        made = type(getattr(asked, field))()
        made.CopyFrom(getattr(asked, field))
        made.sip_trunk_id = server.new_id(kind)
        server.trunks[made.sip_trunk_id] = made
        return made

    return create


def _list_kept(response: type[Any], kind: type[Any]) -> Answer:
    def listed(server: Server, asked: Any) -> Any:
        return response(items=[t for t in server.trunks.values() if isinstance(t, kind)])

    return listed


# ---------------------------------------------------------------------- recordings, dispatches


def _start_egress(server: Server, asked: Any) -> Any:
    info = api.EgressInfo(
        egress_id=server.new_id("EG"), room_id=server.room.info["sid"],
        room_name=getattr(asked, "room_name", "") or server.room.info["name"],
        status=api.EgressStatus.EGRESS_STARTING, started_at=time.time_ns(),
    )  # fmt: skip
    server.egress[info.egress_id] = info
    return info


def _egress(server: Server, egress_id: str) -> Any:
    if egress_id not in server.egress:
        raise ApiError("not_found", f"egress does not exist: {egress_id!r}", 404)
    return server.egress[egress_id]


def _stop_egress(server: Server, asked: Any) -> Any:
    info = _egress(server, asked.egress_id)
    info.status, info.ended_at = api.EgressStatus.EGRESS_ENDING, time.time_ns()
    return info


def _list_egress(server: Server, asked: Any) -> Any:
    found = [e for e in server.egress.values() if asked.egress_id in ("", e.egress_id)]
    return api.ListEgressResponse(items=found)


def _dispatch(server: Server, asked: Any) -> Any:
    made = api.AgentDispatch(id=server.new_id("AD"), agent_name=asked.agent_name, room=asked.room,
                             metadata=asked.metadata)  # fmt: skip
    server.dispatches[made.id] = made
    return made


def _list_dispatch(server: Server, asked: Any) -> Any:
    found = [d for d in server.dispatches.values() if asked.dispatch_id in ("", d.id)]
    return api.ListAgentDispatchResponse(agent_dispatches=found)


def _end_dispatch(server: Server, asked: Any) -> Any:
    if asked.dispatch_id not in server.dispatches:
        raise ApiError("not_found", f"dispatch does not exist: {asked.dispatch_id!r}", 404)
    return server.dispatches.pop(asked.dispatch_id)


_EGRESS = {
    "StartRoomCompositeEgress": api.RoomCompositeEgressRequest,
    "StartWebEgress": api.WebEgressRequest,
    "StartParticipantEgress": api.ParticipantEgressRequest,
    "StartTrackCompositeEgress": api.TrackCompositeEgressRequest,
    "StartTrackEgress": api.TrackEgressRequest,
}
TABLE: dict[str, tuple[type[Any], Answer]] = {
    "RoomService/CreateRoom": (api.CreateRoomRequest, _create_room),
    "RoomService/ListRooms": (api.ListRoomsRequest, _list_rooms),
    "RoomService/DeleteRoom": (api.DeleteRoomRequest, _delete_room),
    "RoomService/UpdateRoomMetadata": (api.UpdateRoomMetadataRequest, _update_room),
    "RoomService/ListParticipants": (api.ListParticipantsRequest, _list_participants),
    "RoomService/GetParticipant": (
        api.RoomParticipantIdentity, lambda server, asked: _participant(server.person(asked)),
    ),
    "RoomService/RemoveParticipant": (api.RoomParticipantIdentity, _remove_participant),
    "RoomService/UpdateParticipant": (api.UpdateParticipantRequest, _update_participant),
    "RoomService/MutePublishedTrack": (api.MuteRoomTrackRequest, _mute),
    "RoomService/SendData": (api.SendDataRequest, _send_data),
    "SIP/CreateSIPParticipant": (api.CreateSIPParticipantRequest, _dial),
    "SIP/TransferSIPParticipant": (api.TransferSIPParticipantRequest, _transfer),
    "SIP/CreateSIPInboundTrunk": (api.CreateSIPInboundTrunkRequest, _kept("ST", "trunk")),
    "SIP/CreateSIPOutboundTrunk": (api.CreateSIPOutboundTrunkRequest, _kept("ST", "trunk")),
    "SIP/ListSIPInboundTrunk": (
        api.ListSIPInboundTrunkRequest,
        _list_kept(api.ListSIPInboundTrunkResponse, api.SIPInboundTrunkInfo),
    ),
    "SIP/ListSIPOutboundTrunk": (
        api.ListSIPOutboundTrunkRequest,
        _list_kept(api.ListSIPOutboundTrunkResponse, api.SIPOutboundTrunkInfo),
    ),
    **{f"Egress/{name}": (kind, _start_egress) for name, kind in _EGRESS.items()},
    "Egress/UpdateLayout": (
        api.UpdateLayoutRequest, lambda server, asked: _egress(server, asked.egress_id),
    ),
    "Egress/StopEgress": (api.StopEgressRequest, _stop_egress),
    "Egress/ListEgress": (api.ListEgressRequest, _list_egress),
    "AgentDispatchService/CreateDispatch": (api.CreateAgentDispatchRequest, _dispatch),
    "AgentDispatchService/ListDispatch": (api.ListAgentDispatchRequest, _list_dispatch),
    "AgentDispatchService/DeleteDispatch": (api.DeleteAgentDispatchRequest, _end_dispatch),
}  # fmt: skip
"""What is answered, by service and method: the request's message, and what makes the answer."""
