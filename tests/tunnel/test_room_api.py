"""The LiveKit server's API, asked by its own client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from livekit import api, rtc

from labkit.providers.profile import Profile
from labkit.tunnel.room import Room
from labkit.tunnel.room_answers import Server
from labkit.tunnel.room_api import RoomApi

KEY, SECRET = "APIkey", "a-secret-of-thirty-two-bytes-at-least"
QUICK = {"median_s": 0.001, "p95_s": 0.002, "source": "a test", "date": "2026-11-30"}
SIP = rtc.ParticipantKind.PARTICIPANT_KIND_SIP


class There:
    """A server with a room, an agent in it, and a client of its API."""

    def __init__(self, room: Room, client: api.LiveKitAPI, notes: list[dict[str, Any]]) -> None:
        self.server, self.client, self.notes = room, client, notes
        self.ends: list[str] = []
        room.ended = self.ends.append
        self.room = rtc.Room()


def ask(
    main: Callable[[There], Awaitable[None]], *, secret: str = SECRET, only: bool = False,
    kind: int = 0,
) -> None:  # fmt: skip
    """Runs what asks the API."""

    async def run() -> None:
        notes: list[dict[str, Any]] = []
        room = Room(
            {"name": "call-0", "sid": "RM_0", "metadata": ""}, {"identity": "caller", "kind": kind},
            asyncio.get_running_loop().time, lambda act, **data: notes.append({"act": act, **data}),
            rtt_s=0.001, caller_rtt_s=0.001,
        )  # fmt: skip
        room.agent = {"identity": "agent", "sid": "PA_agent"}
        profile = Profile("room_server", {"api": {"answer": QUICK, "dial": QUICK}}, "test")
        served = RoomApi(Server(room, profile, (7, 0)), (KEY, SECRET) if only else None)
        async with (
            TestServer(served.app()) as server,
            api.LiveKitAPI(str(server.make_url("")), KEY, secret) as client,
        ):
            there = There(room, client, notes)
            await there.room.connect("wss://x", "t")
            await main(there)
            await there.room.disconnect()

    asyncio.run(run())


def test_rooms_and_participants_are_those_of_the_call() -> None:
    async def main(at: There) -> None:
        rooms = await at.client.room.list_rooms(api.ListRoomsRequest())
        assert [(r.name, r.sid, r.num_participants) for r in rooms.rooms] == [("call-0", "RM_0", 2)]
        assert not (await at.client.room.list_rooms(api.ListRoomsRequest(names=["x"]))).rooms
        found = await at.client.room.list_participants(api.ListParticipantsRequest(room="call-0"))
        assert [p.identity for p in found.participants] == ["agent", "caller"]
        one = api.RoomParticipantIdentity(room="call-0", identity="caller")
        assert (await at.client.room.get_participant(one)).identity == "caller"
        with pytest.raises(api.TwirpError, match="call's room is 'call-0'") as refused:
            await at.client.room.list_participants(api.ListParticipantsRequest(room="other"))
        assert (refused.value.code, refused.value.status) == ("not_found", 404)
        assert at.notes[0] == {"act": "api", "method": "RoomService/ListRooms", "request": {}}

    ask(main)


def test_what_the_api_changes_is_seen_in_the_room() -> None:
    async def main(at: There) -> None:
        seen: list[tuple[str, Any]] = []
        for kind in ("participant_attributes_changed", "room_metadata_changed", "data_received",
                     "participant_disconnected"):  # fmt: skip
            at.room.on(kind, lambda *args, kind=kind: seen.append((kind, args[0])))  # type: ignore[arg-type]
        rooms = at.client.room
        await rooms.update_participant(
            api.UpdateParticipantRequest(room="call-0", identity="caller", attributes={"a": "1"})
        )
        await rooms.update_room_metadata(
            api.UpdateRoomMetadataRequest(room="call-0", metadata="new")
        )
        await rooms.send_data(api.SendDataRequest(room="call-0", data=b"D", topic="t"))
        one = api.RoomParticipantIdentity(room="call-0", identity="caller")
        await rooms.remove_participant(one)
        await asyncio.sleep(0.01)
        assert [kind for kind, _ in seen] == [
            "participant_attributes_changed", "room_metadata_changed", "data_received",
            "participant_disconnected",
        ]  # fmt: skip
        assert seen[0][1] == {"a": "1"} and at.room.metadata == "new"
        assert (seen[2][1].data, seen[2][1].participant) == (b"D", None)
        assert seen[3][1].disconnect_reason == rtc.DisconnectReason.PARTICIPANT_REMOVED
        assert len(at.ends) == 1, "a call without its caller is over"

    ask(main)


def test_a_deleted_room_ends_the_call() -> None:
    async def main(at: There) -> None:
        await at.client.room.delete_room(api.DeleteRoomRequest(room="call-0"))
        await asyncio.sleep(0.05)
        assert at.ends == ["room disconnected"] and not at.room.isconnected()

    ask(main)


def test_a_telephone_that_is_dialled_joins_and_is_answered() -> None:
    async def main(at: There) -> None:
        dial = api.CreateSIPParticipantRequest(
            room_name="call-0", sip_trunk_id="ST_1", sip_call_to="+15550100",
            participant_identity="boss", wait_until_answered=True,
        )  # fmt: skip
        info = await at.client.sip.create_sip_participant(dial)
        assert info.participant_identity == "boss"
        boss = at.room.remote_participants["boss"]
        assert boss.kind == SIP
        await asyncio.sleep(0.01)
        assert boss.attributes["sip.callStatus"] == "active"
        assert boss.attributes["sip.phoneNumber"] == "+15550100"
        with pytest.raises(api.TwirpError, match="missing sip trunk id"):
            await at.client.sip.create_sip_participant(
                api.CreateSIPParticipantRequest(room_name="call-0", sip_call_to="1")
            )

    ask(main)


@pytest.mark.parametrize("kind", [0, SIP])
def test_only_a_telephone_can_be_transferred(kind: int) -> None:
    async def main(at: There) -> None:
        transfer = api.TransferSIPParticipantRequest(
            room_name="call-0", participant_identity="caller", transfer_to="tel:+15550101"
        )
        if kind == SIP:
            await at.client.sip.transfer_sip_participant(transfer)
            await asyncio.sleep(0.05)
            assert not at.room.remote_participants and len(at.ends) == 1
        else:
            with pytest.raises(api.TwirpError, match=r"participant\.kind=sip"):
                await at.client.sip.transfer_sip_participant(transfer)
            assert list(at.room.remote_participants) == ["caller"] and not at.ends
        assert at.notes[-1]["method"] == "SIP/TransferSIPParticipant"

    ask(main, kind=kind)


def test_recordings_begin_and_end() -> None:
    async def main(at: There) -> None:
        egress = at.client.egress
        begun = await egress.start_room_composite_egress(
            api.RoomCompositeEgressRequest(room_name="call-0", audio_only=True)
        )
        assert begun.status == api.EgressStatus.EGRESS_STARTING and begun.room_name == "call-0"
        (item,) = (await egress.list_egress(api.ListEgressRequest())).items
        assert item.egress_id == begun.egress_id
        ended = await egress.stop_egress(api.StopEgressRequest(egress_id=begun.egress_id))
        assert ended.status == api.EgressStatus.EGRESS_ENDING
        with pytest.raises(api.TwirpError, match="egress does not exist"):
            await egress.stop_egress(api.StopEgressRequest(egress_id="EG_x"))

    ask(main)


def test_what_the_server_does_not_have_is_refused_by_name() -> None:
    async def main(at: There) -> None:
        with pytest.raises(api.TwirpError, match=r"no POST /twirp/livekit\.Ingress/") as refused:
            await at.client.ingress.list_ingress(api.ListIngressRequest())
        assert refused.value.code == "bad_route"
        assert at.notes[-1]["method"] == "Ingress/ListIngress" and at.notes[-1]["refused"]

    ask(main)


def test_any_key_is_accepted_unless_a_study_asks_for_wrong_ones() -> None:
    wrong = "another-secret-of-thirty-two-bytes-or-so"

    async def accepted(at: There) -> None:
        assert (await at.client.room.list_rooms(api.ListRoomsRequest())).rooms

    async def refused(at: There) -> None:
        with pytest.raises(api.TwirpError) as error:
            await at.client.room.list_rooms(api.ListRoomsRequest())
        assert (error.value.code, error.value.status) == ("unauthenticated", 401)

    ask(accepted, secret=wrong)
    ask(accepted, only=True)
    ask(refused, secret=wrong, only=True)
