from __future__ import annotations

import asyncio
import io
import itertools
import json
import wave
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp
import numpy as np
import pytest
from stage import HELLO, Stream, frames, make_track, opened, sdk_environment

from labkit.providers.deepgram.service import DeepgramEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.world.events import Connected, Disconnected, Event, Transcript
from labkit.world.scene import Scene

E = TypeVar("E", bound=Event)

Run = Callable[..., Any]
AUTH = {"Authorization": "Token k"}
PATH = "/v1/listen"
RAW: dict[str, Any] = {
    "model": "nova-3",
    "encoding": "linear16",
    "sample_rate": 16000,
    "interim_results": True,
    "punctuate": True,
    "vad_events": True,
    "endpointing": 25,
    "filler_words": True,
}


@pytest.fixture
def deepgram(profiles: dict[str, Profile], hello: Scene) -> DeepgramEmulator:
    return DeepgramEmulator(profiles["deepgram"], lambda: hello, api_keys=frozenset({"k"}))


def text(message: dict[str, Any]) -> str:
    return str(message["channel"]["alternatives"][0]["transcript"])


def said(stream: Stream) -> str:
    """All finals joined."""
    return " ".join(text(m) for m in stream.of(is_final=True) if text(m))


def play(
    run: Run, emulator: DeepgramEmulator, chunks: list[bytes], *, close: bool = True, **query: Any
) -> Stream:
    async def main() -> Stream:
        async with opened(emulator, PATH, AUTH, **RAW | query) as stream:
            await stream.play(chunks)
            if close:
                assert await stream.end(type="CloseStream") == 1000
            return stream

    stream: Stream = run(main())
    return stream


def rows(scene: Scene, kind: type[E]) -> list[E]:
    """The logged events of one kind."""
    return [e for e in scene.log.events if isinstance(e, kind)]


# -- what is said, and when ------------------------------------------------------------------------


def test_one_sentence(run: Run, deepgram: DeepgramEmulator, hello: Scene) -> None:
    stream = play(run, deepgram, frames(hello.track.pcm))
    assert said(stream) == "Hello, I'd like to move my appointment."
    start = stream.of(type="SpeechStarted")[0]
    assert start["timestamp"] == pytest.approx(0.5, abs=0.05)
    assert 0.5 < start["t_s"] < 0.8
    final = stream.of(speech_final=True)[1]
    words = final["channel"]["alternatives"][0]["words"]
    assert [w["punctuated_word"] for w in words] == [w[0] for w in HELLO[1:]]
    assert [w["word"] for w in words][-1] == "appointment"
    assert words[-1]["end"] == pytest.approx(2.70, abs=0.01)
    assert 2.70 + 0.025 + 0.06 < final["t_s"] < 2.70 + 0.05 + 1.0
    assert final["metadata"]["request_id"] == stream.of(type="Metadata")[0]["request_id"]
    assert [r.text for r in rows(hello, Transcript)] == ["Hello,", text(final)]
    assert rows(hello, Transcript)[1].audio_end_s == pytest.approx(2.70, abs=0.01)
    assert rows(hello, Disconnected)[0].audio_s == pytest.approx(5.0)
    times = [m["t_s"] for m in stream.got]
    assert times == sorted(times)


def test_finals_wait_for_the_profile_s_delay(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    """Over many seeds, the wait after the last word has the profile's median and tail."""
    short = make_track([("Yes.", 0.2, 0.6)], 0.8)
    waits = []

    async def main() -> None:
        async with listening(emulator) as port, aiohttp.ClientSession() as session:
            for seed in range(200):
                scene.__init__(seed=seed, turn=0, track=short)  # type: ignore[misc]
                url = f"http://127.0.0.1:{port}{PATH}"
                query = {k: str(v).lower() for k, v in RAW.items()} | {"interim_results": "false"}
                async with session.ws_connect(url, headers=AUTH, params=query) as ws:
                    stream = Stream(ws)
                    await stream.play(frames(short.pcm))
                    await asyncio.sleep(3.0)
                    waits.append(stream.of(speech_final=True)[0]["t_s"] - 0.65)

    scene = Scene()
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: scene)
    run(main())
    delay = profiles["deepgram"].delay("models", "nova-3", "final")
    assert np.median(waits) == pytest.approx(delay.median_s, rel=0.15)
    assert np.quantile(waits, 0.95) == pytest.approx(delay.p95_s, rel=0.25)


def test_the_same_call_sees_the_same_draws(
    run: Run, deepgram: DeepgramEmulator, hello: Scene
) -> None:
    first = play(run, deepgram, frames(hello.track.pcm))
    deepgram.reset()
    second = play(run, deepgram, frames(hello.track.pcm))
    assert first.got == second.got


def test_how_long_replies_take_moves_no_draw(run: Run, profiles: dict[str, Profile]) -> None:
    """A longer silence before a turn, as after a slower reply, leaves all delays of the turn."""

    def second_turn(silence_s: float) -> list[tuple[str, float]]:
        later = [(w, a + silence_s, b + silence_s) for w, a, b in HELLO]
        turns = [0] * len(HELLO) + [1] * len(HELLO)
        track = make_track([*HELLO, *later], silence_s + 5.0, turns=turns)
        scene = Scene(seed=5, turn=1, track=track)
        emulator = DeepgramEmulator(profiles["deepgram"], lambda: scene)
        got = play(run, emulator, frames(track.pcm)).got
        kept = [m for m in got if m["type"] == "SpeechStarted" or m.get("speech_final")]
        return [(m["type"], m["t_s"] - silence_s) for m in kept if m["t_s"] > silence_s + 0.2]

    near, far = second_turn(4.0), second_turn(13.0)
    assert [name for name, _ in near] == [name for name, _ in far]
    assert len(near) >= 3
    assert [t for _, t in near] == pytest.approx([t for _, t in far], abs=1e-6)


def test_interims_grow_and_finals_do_not_repeat(run: Run, profiles: dict[str, Profile]) -> None:
    words = [(f"w{i}", 0.3 + 0.3 * i, 0.6 + 0.3 * i) for i in range(30)]  # 9 s without a pause
    scene = Scene(turn=0, track=make_track(words, 11.0))
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: scene)
    stream = play(run, emulator, frames(scene.track.pcm))
    finals = [m for m in stream.of(is_final=True) if text(m)]
    assert said(stream).split() == [w[0] for w in words]
    assert [m["speech_final"] for m in finals] == [False] * (len(finals) - 1) + [True]
    assert len(finals) >= 3
    assert all(2.9 <= m["duration"] <= 5.1 for m in finals[:-1])
    interims = [text(m) for m in stream.of(is_final=False) if m["start"] == 0.0]
    assert len(interims) >= 2
    assert interims[1].startswith(interims[0])
    for a, b in itertools.pairwise(finals):
        assert b["start"] == pytest.approx(a["start"] + a["duration"], abs=0.002)


def test_silence_brings_empty_results(run: Run, profiles: dict[str, Profile]) -> None:
    scene = Scene(turn=0, track=make_track([], 10.0))
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: scene)
    stream = play(run, emulator, frames(scene.track.pcm))
    results = stream.of(type="Results")
    assert 8 <= len(results) <= 12
    assert not any(text(m) for m in results)
    assert any(m["is_final"] for m in results)
    assert not stream.of(type="SpeechStarted")
    assert not rows(scene, Transcript)


def test_a_pause_splits_unless_endpointing_is_longer(
    run: Run, profiles: dict[str, Profile]
) -> None:
    track = make_track([("I", 0.2, 0.4), ("think,", 0.4, 0.8), ("so.", 1.4, 1.8)], 3.0)
    for endpointing, count in ((25, 2), (1000, 1), ("false", 1)):
        emulator = DeepgramEmulator(profiles["deepgram"], lambda: Scene(turn=0, track=track))
        stream = play(run, emulator, frames(track.pcm), endpointing=endpointing)
        finals = [m for m in stream.of(is_final=True) if text(m)]
        assert len(finals) == count, endpointing
        assert said(stream) == "I think, so."


def test_word_gaps_are_no_pauses(run: Run, profiles: dict[str, Profile]) -> None:
    track = make_track([("One", 0.2, 0.5), ("two.", 0.58, 0.9)], 1.5)
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: Scene(turn=0, track=track))
    assert len(play(run, emulator, frames(track.pcm)).of(speech_final=True)) == 1


def test_lost_audio_loses_words(run: Run, deepgram: DeepgramEmulator, hello: Scene) -> None:
    pcm = bytearray(hello.track.pcm)
    pcm[round(1.50 * 32000) : round(1.80 * 32000)] = bytes(round(0.30 * 32000))
    stream = play(run, deepgram, frames(bytes(pcm)))
    assert said(stream) == "Hello, I'd like to my appointment."


def test_bare_words(run: Run, profiles: dict[str, Profile]) -> None:
    track = make_track([("Um,", 0.2, 0.5), ("OK!", 0.5, 0.9)], 1.5)
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: Scene(turn=0, track=track))
    plain = play(run, emulator, frames(track.pcm), punctuate=False)
    assert said(plain) == "um ok"
    assert (
        "punctuated_word"
        not in plain.of(is_final=True)[0]["channel"]["alternatives"][0]["words"][0]
    )
    assert said(play(run, emulator, frames(track.pcm), filler_words=False)) == "OK!"


def test_utterance_end(run: Run, deepgram: DeepgramEmulator, hello: Scene) -> None:
    stream = play(run, deepgram, frames(hello.track.pcm), utterance_end_ms=1000)
    (end,) = stream.of(type="UtteranceEnd")
    assert end["last_word_end"] == pytest.approx(2.70, abs=0.01)
    assert 3.7 <= end["t_s"] < 4.2


# -- control ---------------------------------------------------------------------------------------


def test_finalize_brings_what_is_pending(
    run: Run, deepgram: DeepgramEmulator, hello: Scene
) -> None:
    async def main() -> Stream:
        async with opened(deepgram, PATH, AUTH, **RAW) as stream:
            await stream.play(frames(hello.track.pcm)[:37])  # up to 1.85 s
            await stream.ws.send_json({"type": "Finalize"})
            await asyncio.sleep(0.5)
            await stream.end(type="CloseStream")
            return stream

    stream = run(main())
    (final,) = stream.of(from_finalize=True)
    assert text(final) == "I'd like to move"
    assert final["is_final"]
    assert 1.85 < final["t_s"] < 2.1


def test_keepalive_counts_only_after_audio(
    run: Run, deepgram: DeepgramEmulator, hello: Scene
) -> None:
    async def main(audio: bool) -> tuple[int | None, float]:
        async with opened(deepgram, PATH, AUTH, **RAW) as stream:
            began_s = stream.loop.time()
            if audio:
                await stream.ws.send_bytes(bytes(1600))
            for _ in range(4):
                await asyncio.sleep(5)
                if not stream.ws.closed:
                    await stream.ws.send_json({"type": "KeepAlive"})
            return await stream.end(), stream.loop.time() - began_s

    code, _ = run(main(audio=False))
    assert code == 1011
    code, after_s = run(main(audio=True))
    assert code == 1011
    assert after_s == pytest.approx(30.0, abs=0.1)


def test_undecodable_audio_closes_1008(run: Run, deepgram: DeepgramEmulator) -> None:
    async def main() -> int | None:
        async with opened(deepgram, PATH, AUTH, model="nova-3") as stream:
            await stream.ws.send_bytes(b"this is not audio")
            return await stream.end()

    assert run(main()) == 1008


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "headers", "status", "code"),
    [
        ({}, {"Authorization": "Token wrong"}, 401, "INVALID_AUTH"),
        ({}, {"Authorization": "k"}, 401, "INVALID_AUTH"),
        ({"encoding": "pcm"}, AUTH, 400, "INVALID_QUERY_PARAMETER"),
        ({"sample_rate": "fast"}, AUTH, 400, "INVALID_QUERY_PARAMETER"),
        ({"utterance_end_ms": "500"}, AUTH, 400, "INVALID_QUERY_PARAMETER"),
        ({"model": "nova-99"}, AUTH, 400, "Bad Request"),
        ({"model": "flux-general-en"}, AUTH, 400, "Bad Request"),
    ],
)
def test_refusals(
    run: Run,
    deepgram: DeepgramEmulator,
    change: dict[str, str],
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    async def main() -> None:
        async with listening(deepgram) as port, aiohttp.ClientSession() as session:
            query = {k: str(v).lower() for k, v in (RAW | change).items()}
            url = f"http://127.0.0.1:{port}{PATH}"
            async with session.get(url, headers=headers, params=query) as answer:
                body = await answer.json()
                assert (answer.status, body["err_code"]) == (status, code)
                assert answer.headers["dg-request-id"] == body["request_id"]
                assert answer.headers["dg-error"] == body["err_msg"]

    run(main())


def test_one_socket_too_many(run: Run, profiles: dict[str, Profile], hello: Scene) -> None:
    async def main() -> None:
        async with listening(emulator) as port:
            connector = aiohttp.TCPConnector(limit_per_host=0, limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                url = f"http://127.0.0.1:{port}{PATH}?encoding=linear16&sample_rate=16000&model=nova-3"
                held = [await session.ws_connect(url, headers=AUTH) for _ in range(50)]
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(url, headers=AUTH)
                assert refused.value.status == 429
                assert refused.value.headers is not None
                assert refused.value.headers["dg-error"]
                other = await session.ws_connect(url, headers={"Authorization": "Token other"})
                await held[0].close()
                await asyncio.sleep(0.01)
                again = await session.ws_connect(url, headers=AUTH)
                for ws in (*held[1:], other, again):
                    await ws.close()

    emulator = DeepgramEmulator(profiles["deepgram"], lambda: hello)
    run(main())


def test_batch(run: Run, deepgram: DeepgramEmulator, hello: Scene) -> None:
    async def main() -> None:
        file = io.BytesIO()
        with wave.open(file, "wb") as f:
            f.setnchannels(1)
            f.setsampwidth(2)
            f.setframerate(16000)
            f.writeframes(bytes(hello.track.pcm))
        async with listening(deepgram) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}{PATH}?model=nova-3&punctuate=true"
            head = AUTH | {"Content-Type": "audio/wav"}
            async with session.post(url, headers=head, data=file.getvalue()) as answer:
                body = await answer.json()
            assert body["metadata"]["request_id"]
            (channel,) = body["results"]["channels"]
            assert channel["alternatives"][0]["transcript"] == " ".join(w[0] for w in HELLO)
            async with session.post(url, headers=head, data=b"no audio") as answer:
                assert answer.status == 400
                assert json.loads(await answer.text())["err_code"] == "Bad Request"

    run(main())


# -- the true clients ------------------------------------------------------------------------------


async def plugin_events(
    emulator: DeepgramEmulator,
    pcm: bytes,
    rate_hz: int = 16000,
    change: dict[str, Any] | None = None,
) -> list[tuple[str, str]]:
    """Events of LiveKit's plugin until the speech is over, with their text."""
    from livekit import rtc
    from livekit.plugins import deepgram as plugin

    async with listening(emulator) as port, aiohttp.ClientSession() as session:
        stt = plugin.STT(
            api_key="k", base_url=f"http://127.0.0.1:{port}{PATH}", http_session=session
        )
        stream = stt.stream()
        events = []

        async def feed() -> None:
            for i, chunk in enumerate(frames(pcm, 0.05, rate_hz)):
                await asyncio.sleep(0.05)
                stream.push_frame(rtc.AudioFrame(chunk, rate_hz, 1, len(chunk) // 2))
                if change and i == 10:
                    stt.update_options(**change)

        feeding = asyncio.create_task(feed())
        try:
            async with asyncio.timeout(8):
                async for event in stream:
                    spoken = event.alternatives[0].text if event.alternatives else ""
                    events.append((event.type.value, spoken))
                    if spoken.endswith("appointment.") and event.type.value == "final_transcript":
                        break
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await stream.aclose()
    return events


@pytest.mark.parametrize("rate_hz", [16000, 24000])
def test_livekit_plugin(run: Run, deepgram: DeepgramEmulator, hello: Scene, rate_hz: int) -> None:
    pcm = bytes(hello.track.pcm)
    if rate_hz != 16000:
        from livekit import rtc

        up = rtc.AudioResampler(16000, rate_hz, quality=rtc.AudioResamplerQuality.HIGH)
        pcm = b"".join(bytes(f.data) for f in up.push(bytearray(pcm)) + up.flush())
    events = run(plugin_events(deepgram, pcm, rate_hz))
    assert events[0] == ("start_of_speech", "")
    finals = [spoken for kind, spoken in events if kind == "final_transcript"]
    assert " ".join(finals) == " ".join(w[0] for w in HELLO)
    assert any(kind == "interim_transcript" for kind, _ in events)


def test_livekit_plugin_reconnects_to_change_options(
    run: Run, deepgram: DeepgramEmulator, hello: Scene
) -> None:
    events = run(plugin_events(deepgram, bytes(hello.track.pcm), change={"keyterm": ["move"]}))
    assert len(rows(hello, Connected)) == 2
    assert ("final_transcript", "I'd like to move my appointment.") in events


def test_livekit_plugin_sees_the_true_401(run: Run, deepgram: DeepgramEmulator) -> None:
    from livekit.agents import APIStatusError

    deepgram.api_keys = frozenset({"other"})
    with pytest.raises(APIStatusError) as failed:
        run(plugin_events(deepgram, bytes(16000)))
    assert failed.value.status_code == 401
    assert not failed.value.retryable


def test_official_client(hello: Scene, deepgram: DeepgramEmulator) -> None:
    """Deepgram's own Python client understands every message, in real time."""
    sdk = pytest.importorskip("deepgram", reason="deepgram-sdk is not installed")
    from deepgram.core.events import EventType

    async def main() -> list[Any]:
        async with listening(deepgram) as port:
            client = sdk.AsyncDeepgramClient(api_key="k", environment=sdk_environment(port))
            got: list[Any] = []
            async with client.listen.v1.connect(
                model="nova-3", encoding="linear16", sample_rate=16000, punctuate=True
            ) as connection:
                connection.on(EventType.MESSAGE, got.append)
                reading = asyncio.create_task(connection.start_listening())
                for chunk in frames(hello.track.pcm):
                    await connection.send_media(chunk)
                await connection.send_close_stream()
                await asyncio.wait_for(reading, 5)
            return got

    got = asyncio.run(main())
    results = [m for m in got if m.type == "Results"]
    finals = [m.channel.alternatives[0].transcript for m in results if m.is_final]
    assert " ".join(t for t in finals if t) == " ".join(w[0] for w in HELLO)
    assert got[-1].type == "Metadata"
