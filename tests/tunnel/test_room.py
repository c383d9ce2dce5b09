"""The SDK's own rooms and participants, with the tunnel's server behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import rtc

from labkit.errors import UsageError
from labkit.settings import Settings
from labkit.tunnel.loop import TunnelLoop
from labkit.tunnel.room import Room, RoomError
from labkit.tunnel.visitor import act, caller_of, read_script

KINDS = ("participant_connected", "participant_disconnected", "track_published", "track_subscribed",
         "data_received", "sip_dtmf_received", "participant_attributes_changed", "disconnected",
         "connection_state_changed", "room_metadata_changed")  # fmt: skip


class Visit:
    """An agent in a room: what it sees, and what is noted of it."""

    def __init__(self, **terms: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.notes: list[dict[str, Any]] = []
        self.seen: list[tuple[float, str, Any]] = []
        settings = Settings(terms.pop("settings", {}))
        self.server = Room(
            {"name": "call-0", "sid": "RM_0", "metadata": "M"}, caller_of(settings),
            self.loop.time, lambda act, **data: self.notes.append({"act": act, **data}),
            **{"rtt_s": 0.03, "caller_rtt_s": 0.1, **terms},
        )  # fmt: skip
        self.server.agent = {"identity": "agent", "sid": "PA_agent", "kind": 4}
        self.room = rtc.Room()
        for kind in KINDS:
            self.room.on(kind, lambda *args, kind=kind: self.saw(kind, args))

    def saw(self, kind: str, args: tuple[Any, ...]) -> None:
        self.seen.append((round(self.loop.time(), 6), kind, args[0] if args else None))

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.seen]

    async def joined(self, options: rtc.RoomOptions | None = None) -> Visit:
        await self.room.connect("wss://livekit.example.com", "token", options or rtc.RoomOptions())
        await asyncio.sleep(0.001)
        return self


def visit(main: Callable[[Visit], Awaitable[None]], **terms: Any) -> None:
    """Runs an agent's code in a room on the virtual clock."""

    async def run() -> None:
        there = Visit(**terms)
        await main(there)
        await there.room.disconnect()

    loop = TunnelLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_caller_who_is_there_is_found_with_all_that_was_given() -> None:
    given = {
        "participant.identity": "sip_1", "participant.kind": "sip", "participant.name": "Ann",
        "participant.metadata": "vip", "participant.attributes.sip.phoneNumber": "+15550100",
    }  # fmt: skip

    async def main(at: Visit) -> None:
        assert not at.room.isconnected()
        with pytest.raises(Exception, match="before connecting"):
            _ = at.room.local_participant
        await at.joined()
        assert at.room.isconnected() and at.room.name == "call-0" and at.room.metadata == "M"
        assert await at.room.sid == "RM_0"
        assert at.room.num_participants == 2
        caller = at.room.remote_participants["sip_1"]
        assert isinstance(caller, rtc.RemoteParticipant)
        assert caller.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP
        assert (caller.name, caller.metadata) == ("Ann", "vip")
        assert caller.attributes == {"sip.phoneNumber": "+15550100"}
        (track,) = caller.track_publications.values()
        assert track.source == rtc.TrackSource.SOURCE_MICROPHONE and track.subscribed
        assert at.kinds() == ["connection_state_changed", "track_subscribed"]

    visit(main, settings=given)


def test_a_caller_who_comes_later_comes_with_events_at_that_moment() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        assert not at.room.remote_participants and not at.server.met.is_set()
        await asyncio.sleep(2.0)
        came = ["participant_connected", "track_published", "track_subscribed"]
        assert [(t, k) for t, k, _ in at.seen[1:]] == [(1.5, k) for k in came]
        assert at.server.met.is_set() and list(at.room.remote_participants) == ["caller"]

    visit(main, joins_after_s=1.5)


def test_tracks_are_left_alone_until_the_agent_subscribes() -> None:
    async def main(at: Visit) -> None:
        await at.joined(rtc.RoomOptions(auto_subscribe=False))
        assert "track_subscribed" not in at.kinds()
        (track,) = at.room.remote_participants["caller"].track_publications.values()
        track.set_subscribed(True)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert at.kinds()[-1] == "track_subscribed"

    visit(main)


def test_a_caller_who_leaves_is_gone_and_ends_the_call() -> None:
    async def main(at: Visit) -> None:
        ends: list[str] = []
        at.server.ended = ends.append
        await at.joined()
        at.server.leave("caller", rtc.DisconnectReason.CLIENT_INITIATED)
        await asyncio.sleep(0.001)
        _, kind, who = at.seen[-1]
        assert kind == "participant_disconnected" and who.identity == "caller"
        assert who.disconnect_reason == rtc.DisconnectReason.CLIENT_INITIATED
        assert not at.room.remote_participants and len(ends) == 1

    visit(main)


def test_a_room_that_is_deleted_says_so() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        at.server.close(rtc.DisconnectReason.ROOM_DELETED)
        await asyncio.sleep(0.001)
        assert at.kinds()[-2:] == ["connection_state_changed", "disconnected"]
        assert at.seen[-1][2] == rtc.DisconnectReason.ROOM_DELETED
        assert not at.room.isconnected()

    visit(main)


def test_attributes_change_after_a_round_trip_and_are_told_of() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        began_s, me = at.loop.time(), at.room.local_participant
        await me.set_attributes({"mood": "fine", "lk.agent.state": "listening"})
        assert at.loop.time() - began_s == pytest.approx(0.03)
        assert me.attributes == {"mood": "fine", "lk.agent.state": "listening"}
        await me.set_attributes({"mood": ""})
        assert me.attributes == {"lk.agent.state": "listening"}, "an empty text takes it away"
        await me.set_metadata("m")
        await me.set_name("Ada")
        assert (me.metadata, me.name) == ("m", "Ada")
        told = [n for n in at.notes if n["act"] == "attributes"]
        assert told == [{"act": "attributes", "attributes": {"mood": "fine"}},
                        {"act": "attributes", "attributes": {"mood": ""}}]  # fmt: skip

    visit(main)


def test_what_the_agent_sends_is_taken_down() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        me = at.room.local_participant
        await me.publish_data("{}", topic="t", destination_identities=["caller"])
        info = await me.send_text("grüße", topic="chat", attributes={"a": "b"})
        assert (info.topic, info.size, info.attributes) == ("chat", 7, {"a": "b"})
        writer = await me.stream_text(topic="parts")
        await writer.write("one ")
        await writer.write("two")
        await writer.aclose()
        blob = await me.stream_bytes("f.bin", topic="bytes")
        await blob.write(b"xyz")
        await blob.aclose()
        await me.send_bytes(b"whole", topic="bytes", name="w")
        await me.publish_dtmf(code=1, digit="1")
        assert [(n["act"], n.get("topic"), n.get("content")) for n in at.notes] == [
            ("data", "t", "{}"), ("text", "chat", "grüße"), ("text", "parts", "one two"),
            ("bytes", "bytes", "xyz"), ("bytes", "bytes", "whole"), ("dtmf", None, None),
        ]  # fmt: skip
        assert at.notes[0]["to"] == ["caller"]

    visit(main)


def test_rpc_to_the_caller_is_answered_after_the_way_or_refused_by_name() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        me, began_s = at.room.local_participant, at.loop.time()
        answer = await me.perform_rpc(destination_identity="caller", method="where", payload="?")
        assert answer == "here" and at.loop.time() - began_s == pytest.approx(0.1)
        with pytest.raises(rtc.RpcError, match=r"participant\.rpc\.who=TEXT") as unknown:
            await me.perform_rpc(destination_identity="caller", method="who", payload="")
        assert unknown.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD
        with pytest.raises(rtc.RpcError, match="no 'nobody'; in it: caller") as gone:
            await me.perform_rpc(destination_identity="nobody", method="where", payload="")
        assert gone.value.code == rtc.RpcError.ErrorCode.RECIPIENT_NOT_FOUND
        assert [n["method"] for n in at.notes] == ["where", "who", "where"]

    visit(main, answers={"where": "here"})


def test_rpc_to_the_agent_runs_what_it_has_registered() -> None:
    async def main(at: Visit) -> None:
        await at.joined()

        @at.room.local_participant.register_rpc_method("greet")
        async def greet(data: rtc.RpcInvocationData) -> str:
            await asyncio.sleep(0.5)
            return f"{data.caller_identity} {data.payload}"

        assert await at.server.rpc.call_agent("greet", "P") == "caller P"
        with pytest.raises(rtc.RpcError) as unknown:
            await at.server.rpc.call_agent("grit")
        assert unknown.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD
        with pytest.raises(RuntimeError, match="calls 'start_turn', which the agent does not"):
            at.server.rpc.press("start_turn", 0.05)

    visit(main)


def test_a_script_does_what_it_says_when_it_says(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(
        '[rpc]\nwhere = "here"\n'
        '[[event]]\nat_s = 0.5\ndata = "D"\ntopic = "t"\n'
        '[[event]]\nat_s = 1\ntext = "typed"\n'
        '[[event]]\nat_s = 1.5\ndtmf = "5#"\n'
        '[[event]]\nat_s = 2\nattributes = {mood = "bad"}\n'
        '[[event]]\nat_s = 2.5\nrpc = "greet"\npayload = "P"\n'
    )
    script = read_script(str(path))
    assert script["rpc"] == {"where": "here"}

    async def main(at: Visit) -> None:
        texts: list[str] = []
        at.room.register_text_stream_handler(
            "lk.chat",
            lambda reader, who: read.append(asyncio.ensure_future(reader.read_all())),  # type: ignore[func-returns-value]
        )
        read: list[asyncio.Future[str]] = []
        task = asyncio.create_task(act(at.server, script))
        await at.joined()
        at.room.local_participant.register_rpc_method("greet", lambda data: f"hi {data.payload}")
        await task
        texts = [await r for r in read]
        assert texts == ["typed"]
        events = [(t, k) for t, k, _ in at.seen[2:]]
        keys = [(1.5, "sip_dtmf_received")] * 2
        assert events == [(0.5, "data_received"), *keys, (2.0, "participant_attributes_changed")]
        packet = at.seen[2][2]
        assert (packet.data, packet.topic, packet.participant.identity) == (b"D", "t", "caller")
        assert at.notes[-1] == {"act": "called", "method": "greet", "payload": "hi P"}

    visit(main)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[event]]\nat_s = 1\n", "expected .*one of data, text"),
        ('[[event]]\ndata = "x"\n', "expected .*at_s"),
        ('[[event]]\nat_s = 1\ndata = "x"\ntext = "y"\n', "expected"),
        ('[[event]]\nat_s = 1\ndtmf = "e"\n', "not of its kind"),
        ("[rcp]\nx = 1\n", "'rcp'.*rpc"),
        ("[rpc]\nx = 1\n", 'METHOD = "text"'),
        ("nonsense", "script"),
    ],
)
def test_a_script_that_is_none_is_refused_with_its_name(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "script.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_script(str(path))
    assert str(path) in str(refused.value)


def test_published_sound_keeps_its_pace_and_can_be_heard() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        heard: list[tuple[str, float, int, int]] = []
        at.server.tracks.heard = lambda name, at_s, pcm, rate: heard.append(
            (name, round(at_s, 6), len(pcm), int(pcm[0, 0]))
        )
        source = rtc.AudioSource(48_000, 1, queue_size_ms=200)
        track = rtc.LocalAudioTrack.create_audio_track("music", source)
        publication = await at.room.local_participant.publish_track(track)
        await publication.wait_for_subscription()
        assert at.room.local_participant.track_publications[publication.sid] is publication
        began_s = at.loop.time()
        pcm = np.full(4800, 7, dtype=np.int16)
        for _ in range(10):
            await source.capture_frame(rtc.AudioFrame(pcm.tobytes(), 48_000, 1, 4800))
        assert at.loop.time() - began_s == pytest.approx(0.8), "1 s, of which 0.2 are in the queue"
        await source.wait_for_playout()
        assert at.loop.time() - began_s == pytest.approx(1.0)
        assert len(heard) == 10 and {h[0] for h in heard} == {"music"}
        assert heard[9][1] - heard[0][1] == pytest.approx(0.9) and heard[0][2:] == (4800, 7)
        await at.room.local_participant.unpublish_track(publication.sid)

    visit(main)


def test_a_track_is_heard_while_it_is_published_and_not_muted() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        heard: list[str] = []
        cut: list[str] = []
        at.server.tracks.heard = lambda name, at_s, pcm, rate: heard.append(name)
        at.server.tracks.cut = cut.append
        source = rtc.AudioSource(48_000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("music", source)

        async def play() -> tuple[int, int]:
            await source.capture_frame(rtc.AudioFrame.create(48_000, 1, 4800))
            return len(heard), len(cut)

        assert await play() == (0, 0), "it is not published"
        agent = at.room.local_participant
        publication = await agent.publish_track(track)
        await publication.wait_for_subscription()
        assert await play() == (1, 0)
        track.mute()
        assert await play() == (1, 1)
        track.unmute()
        assert await play() == (2, 1)
        source.clear_queue()
        assert await play() == (3, 2)
        await agent.unpublish_track(publication.sid)
        assert await play() == (3, 3)

    visit(main)


def test_what_the_room_does_not_have_is_refused_by_name() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        with pytest.raises(RoomError, match="no 'new_video_source'"):
            rtc.VideoSource(640, 480)

    visit(main)


def test_the_callers_track_can_be_read_until_the_caller_leaves() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        caller = at.room.remote_participants["caller"]
        (publication,) = caller.track_publications.values()
        assert publication.track is not None
        fine = rtc.AudioStream(publication.track, sample_rate=48_000, num_channels=2)
        whole = rtc.AudioStream.from_participant(
            participant=caller, track_source=rtc.TrackSource.SOURCE_MICROPHONE,
            sample_rate=16_000, frame_size_ms=50,
        )  # fmt: skip
        ramp = np.arange(800, dtype=np.int16)
        for part in (ramp, ramp + 800):
            at.server.hearing.hear(part.astype(np.int16))
        frames = [(await anext(whole)).frame for _ in range(2)]
        small = [(await anext(fine)).frame for _ in range(10)]
        at.server.leave("caller", rtc.DisconnectReason.CLIENT_INITIATED)
        assert [event async for event in whole] == [event async for event in fine] == []
        assert [f.samples_per_channel for f in frames] == [800, 800]
        assert np.frombuffer(frames[1].data, np.int16).tolist() == list(range(800, 1600))
        assert {(f.sample_rate, f.num_channels, f.samples_per_channel) for f in small} == {
            (48_000, 2, 480)
        }
        assert small[1].data[0] == small[1].data[1] == 160

    visit(main)


def test_what_concerns_no_room_is_done_by_the_native_library() -> None:
    async def main(at: Visit) -> None:
        resampler = rtc.AudioResampler(48_000, 24_000)
        frame = rtc.AudioFrame(np.zeros(48_000, np.int16).tobytes(), 48_000, 1, 48_000)
        n = sum(f.samples_per_channel for f in [*resampler.push(frame), *resampler.flush()])
        assert n == pytest.approx(24_000, abs=50)

    visit(main)


def test_statistics_hold_the_round_trip() -> None:
    async def main(at: Visit) -> None:
        await at.joined()
        stats = await at.room.get_rtc_stats()
        (pair,) = stats.publisher_stats
        assert pair.candidate_pair.candidate_pair.current_round_trip_time == 0.03

    visit(main)


def test_two_cannot_have_one_identity() -> None:
    async def main(at: Visit) -> None:
        with pytest.raises(RoomError, match=r"participant\.identity=NAME"):
            await at.room.connect("wss://x", "t")

    visit(main, settings={"participant.identity": "agent"})


def test_attributes_are_texts_however_they_look() -> None:
    settings = Settings({"participant.attributes.n": "+15550100", "participant.rpc.m": "1"})
    assert settings.of_participant("attributes") == {"n": "+15550100"}
    assert settings.of_participant("rpc") == {"m": "1"}
    assert json.loads(json.dumps(settings.as_dict())) == settings.as_dict()
    assert Settings(settings.as_dict()).as_dict() == settings.as_dict()
