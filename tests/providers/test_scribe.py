"""The emulated ElevenLabs recognition, seen by the LiveKit plugin and on the wire."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from stage import HELLO, Stream, frames, opened

from labkit.providers.elevenlabs.recognition import ElevenLabsScribeEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.world.events import Connected, Refused, Transcript
from labkit.world.scene import Scene

plugin = pytest.importorskip("livekit.plugins.elevenlabs")

Run = Callable[..., Any]
SAID = " ".join(w[0] for w in HELLO)
ONCE = APIConnectOptions(max_retry=0)
PATH = "/v1/speech-to-text/realtime"


@pytest.fixture
def scribe(profiles: dict[str, Profile], hello: Scene) -> ElevenLabsScribeEmulator:
    return ElevenLabsScribeEmulator(
        profiles["elevenlabs"].of_role("stt"), lambda: hello, api_keys=frozenset({"k"})
    )


async def heard(
    service: ElevenLabsScribeEmulator,
    acts: dict[int, Callable[[Any, Any], None]] | None = None,
    **options: Any,
) -> list[tuple[str, str]]:
    """What the plugin reports of the caller's track; ``acts`` by number of the 50 ms frame."""
    async with listening(service) as port, aiohttp.ClientSession() as session:
        stt = plugin.STT(
            **{"api_key": "k", "model": "scribe_v2_realtime", **options},
            base_url=f"http://127.0.0.1:{port}/v1",
            http_session=session,
        )
        stream, got = stt.stream(conn_options=ONCE), []

        async def read() -> None:
            async for e in stream:
                got.append((e.type.value, e.alternatives[0].text if e.alternatives else ""))

        reading = asyncio.create_task(read())
        for i, chunk in enumerate(frames(bytes(service.scene().track.pcm))):
            await asyncio.sleep(0.05)
            if reading.done():
                break
            stream.push_frame(rtc.AudioFrame(chunk, 16000, 1, len(chunk) // 2))
            (acts or {}).get(i, lambda stt, stream: None)(stt, stream)
        await asyncio.sleep(1.0)
        if reading.done():
            await reading
        await stream.aclose()
        await asyncio.gather(reading, return_exceptions=True)
        return got


def finals(events: list[tuple[str, str]]) -> list[str]:
    return [text for kind, text in events if kind == "final_transcript"]


def test_the_plugin_commits_what_it_heard(
    run: Run, scribe: ElevenLabsScribeEmulator, hello: Scene
) -> None:
    events = run(heard(scribe, {64: lambda stt, stream: stream.flush()}))
    assert events[0] == ("start_of_speech", "")
    assert finals(events) == [SAID]
    assert ("interim_transcript", "Hello, I'd like") in events
    (row,) = [e for e in hello.log.events if isinstance(e, Transcript)]
    assert row.text == SAID
    assert finals(run(heard(scribe))) == [], "nobody commits"


def test_a_commit_in_mid_sentence_leaves_the_rest_to_the_next(
    run: Run, scribe: ElevenLabsScribeEmulator
) -> None:
    flush = {i: lambda stt, stream: stream.flush() for i in (29, 70)}
    assert finals(run(heard(scribe, flush))) == ["Hello, I'd like to", "move my appointment."]


@pytest.mark.parametrize("language", [None, "en"])
def test_the_service_can_commit_by_itself(
    run: Run, scribe: ElevenLabsScribeEmulator, language: str | None
) -> None:
    """With a language the plugin reads the first copy of a commit, without one the second."""
    vad = {"vad_silence_threshold_secs": 1.0}
    events = run(heard(scribe, server_vad=vad, language_code=language))
    assert finals(events) == [SAID]
    assert events[-1][0] in ("end_of_speech", "recognition_usage")


def test_the_plugin_connects_again_to_change_options(
    run: Run, scribe: ElevenLabsScribeEmulator, hello: Scene
) -> None:
    acts = {
        32: lambda stt, stream: stream.flush(),
        36: lambda stt, stream: stt.update_options(keyterms=["move"]),
        90: lambda stt, stream: stream.flush(),
    }
    heard_twice = " ".join(finals(run(heard(scribe, acts))))
    assert heard_twice.startswith("Hello, I'd like to") and heard_twice.endswith("appointment.")
    assert len([e for e in hello.log.events if isinstance(e, Connected)]) == 2


def test_the_plugin_has_recordings_transcribed(
    run: Run, scribe: ElevenLabsScribeEmulator, hello: Scene
) -> None:
    async def main(**options: Any) -> Any:
        async with listening(scribe) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/v1"
            stt = plugin.STT(**{"api_key": "k", **options}, base_url=url, http_session=session)
            pcm = bytes(hello.track.pcm)
            frame = rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2)
            return (await stt.recognize([frame], conn_options=ONCE)).alternatives[0]

    found = run(main())
    assert (found.text, found.start_time, found.end_time) == (SAID, 0.5, 2.7)
    for options, status in (({"api_key": "wrong"}, 401), ({"model": "scribe_v9"}, 400)):
        with pytest.raises(APIStatusError) as refused:
            run(main(**options))
        assert refused.value.status_code == status


@pytest.mark.parametrize(
    ("options", "code"),
    [({"api_key": "wrong"}, "invalid_api_key"), ({"sample_rate": 12_345}, "invalid_audio_format")],
)
def test_the_plugin_sees_the_true_errors(
    run: Run, scribe: ElevenLabsScribeEmulator, hello: Scene, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(APIError):
        run(heard(scribe, **options))
    assert {e.code for e in hello.log.events if isinstance(e, Refused)} == {code}


def send(run: Run, service: ElevenLabsScribeEmulator, *messages: Any, **query: Any) -> Stream:
    async def main() -> Stream:
        async with opened(service, PATH, {"xi-api-key": "k"}, **query) as stream:
            for message in messages:
                await (stream.ws.send_str if isinstance(message, str) else stream.ws.send_json)(
                    message
                )
            await asyncio.sleep(2.0)
            await stream.ws.close()
            return stream

    stream: Stream = run(main())
    return stream


def chunk(seconds: float, commit: bool = False) -> dict[str, Any]:
    audio = base64.b64encode(bytes(2 * round(16_000 * seconds))).decode()
    return {"message_type": "input_audio_chunk", "audio_base_64": audio, "commit": commit}


def test_a_commit_of_nothing_said_is_empty_and_one_of_too_little_is_an_error(
    run: Run, scribe: ElevenLabsScribeEmulator
) -> None:
    stream = send(run, scribe, chunk(0.3, commit=True), include_timestamps=True)
    kinds = [m["message_type"] for m in stream.got]
    assert kinds == [
        "session_started", "committed_transcript", "committed_transcript_with_timestamps"
    ]  # fmt: skip
    assert stream.got[1]["text"] == "" and stream.got[2]["words"] == []
    short = send(run, scribe, chunk(0.3, commit=True), chunk(0.29, commit=True))
    assert short.got[-1]["message_type"] == "input_error" and short.ws.close_code == 1008
    assert len(short.of(message_type="committed_transcript")) == 1


@pytest.mark.parametrize(
    "message", ["{", {"message_type": "hello"}, chunk(1) | {"audio_base_64": "?"}]
)
def test_a_message_that_is_not_understood_closes_the_socket(
    run: Run, scribe: ElevenLabsScribeEmulator, message: Any
) -> None:
    stream = send(run, scribe, message)
    assert stream.got[-1]["message_type"] == "input_error" and stream.ws.close_code == 1008
    assert scribe.slots.held("k") == 0
