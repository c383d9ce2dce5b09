"""The emulated speech of OpenAI, both ways, seen by the LiveKit plugin and on the wire."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIStatusError
from livekit.plugins import openai as plugin
from stage import HELLO, Stream, frames, lengths_of, opened

from labkit.providers.openai.speech import OpenAISpeechEmulator
from labkit.providers.openai.transcription import OpenAITranscriptionEmulator
from labkit.providers.profile import Profile
from labkit.providers.registry import emulators
from labkit.providers.server import listening
from labkit.providers.voice import Voice, resample
from labkit.world.events import AudioDone, Connected, Refused, Text, Transcript
from labkit.world.scene import Scene

Run = Callable[..., Any]
ONE = "Your appointment is on Tuesday at nine."
SAID = " ".join(w[0] for w in HELLO)
ONCE = APIConnectOptions(max_retry=0)
AUTH = {"Authorization": "Bearer k"}


@pytest.fixture
def scene() -> Scene:
    return Scene(seed=1, turn=0)


@pytest.fixture
def speech(profiles: dict[str, Profile], scene: Scene) -> OpenAISpeechEmulator:
    return OpenAISpeechEmulator(
        profiles["openai"].of_role("tts"),
        lambda: scene,
        api_keys=frozenset({"k"}),
        voice=Voice(lambda text: None),
    )


@pytest.fixture
def transcription(profiles: dict[str, Profile], hello: Scene) -> OpenAITranscriptionEmulator:
    return OpenAITranscriptionEmulator(
        profiles["openai"].of_role("stt"), lambda: hello, api_keys=frozenset({"k"})
    )


async def spoken(
    emulator: OpenAISpeechEmulator, *texts: str, stop_after: int = 10_000, **options: Any
) -> list[float]:
    """The length of each text as the plugin's default client hears it, seconds."""
    async with listening(emulator) as port:
        tts = plugin.TTS(**{"api_key": "k", "base_url": f"http://127.0.0.1:{port}/v1", **options})
        lengths = await lengths_of(tts, texts, stop_after)
        await tts.aclose()
        return lengths


# -- synthesis -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "form"),
    [("gpt-4o-mini-tts", "pcm"), ("gpt-4o-mini-tts", "wav"), ("tts-1", "pcm"), ("tts-1", "wav")],
)
def test_the_plugin_hears_events_and_bytes(
    run: Run, speech: OpenAISpeechEmulator, scene: Scene, model: str, form: str
) -> None:
    """It asks the newer model for server-sent events, and the older ones for bytes."""
    (seconds,) = run(spoken(speech, ONE, model=model, response_format=form))
    assert seconds == pytest.approx(len(ONE) / 15, rel=0.4)
    (done,) = [e for e in scene.log.events if isinstance(e, AudioDone)]
    assert seconds == pytest.approx(done.audio_s, abs=0.011)
    (text,) = [e for e in scene.log.events if isinstance(e, Text)]
    assert (text.text, text.model, text.characters) == (ONE, model, len(ONE))


def test_mp3_is_the_default(speech: OpenAISpeechEmulator) -> None:
    """In real time: the plugin's decoder has a thread of its own."""
    (seconds,) = asyncio.run(spoken(speech, "Yes, of course."))
    assert 0.8 < seconds < 2.5


def test_an_interrupted_request_is_followed_by_the_next(
    run: Run, speech: OpenAISpeechEmulator
) -> None:
    async def main() -> list[float]:
        cut = await spoken(speech, ONE * 4, stop_after=2, response_format="pcm")
        return cut + await spoken(speech, ONE, response_format="pcm")

    cut, whole = run(main())
    assert 0 < cut < whole
    assert whole == pytest.approx(len(ONE) / 15, rel=0.4)


def test_twice_as_fast_is_half_as_long(run: Run, speech: OpenAISpeechEmulator) -> None:
    (usual,) = run(spoken(speech, ONE, response_format="pcm"))
    speech.reset()
    (fast,) = run(spoken(speech, ONE, response_format="pcm", speed=2.0))
    silence = usual - 2 * (usual - fast)  # before the speech, at any speed
    assert 0.08 <= silence <= 0.4


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"api_key": "wrong"}, 401, "Incorrect API key provided: ****"),
        ({"model": "tts-9"}, 404, "The model `tts-9` does not exist"),
        ({"response_format": "opus"}, 400, "'opus' is not emulated here; ask for mp3, wav or pcm"),
        ({"speed": 5.0}, 400, "Expected a value <= 4"),
    ],
)
def test_the_plugin_sees_the_true_errors_of_synthesis(
    run: Run, speech: OpenAISpeechEmulator, options: dict[str, Any], status: int, said: str
) -> None:
    with pytest.raises(APIStatusError, match=said.replace("*", r"\*")) as refused:
        run(spoken(speech, ONE, **options))
    assert refused.value.status_code == status


def test_the_last_event_counts_the_tokens(run: Run, speech: OpenAISpeechEmulator) -> None:
    async def main() -> list[str]:
        async with listening(speech) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/v1/audio/speech"
            body = {"input": ONE, "model": "gpt-4o-mini-tts", "voice": "ash"}
            body |= {"stream_format": "sse", "response_format": "pcm"}
            async with session.post(url, headers=AUTH, json=body) as answer:
                assert answer.content_type == "text/event-stream"
                return (await answer.text()).split("\n\n")

    *deltas, done, empty = run(main())
    assert empty == "" and all(d.startswith('data: {"type":"speech.audio.delta"') for d in deltas)
    assert '"type":"speech.audio.done","usage":{"input_tokens":8,' in done


# -- recognition of whole recordings ---------------------------------------------------------------


async def recognized(
    emulator: OpenAITranscriptionEmulator, pcm: bytes, **options: Any
) -> tuple[str, float]:
    """What the plugin makes of a recording, and how long it takes."""
    async with listening(emulator) as port:
        stt = plugin.STT(**{"api_key": "k", "base_url": f"http://127.0.0.1:{port}/v1", **options})
        began_s = asyncio.get_running_loop().time()
        frame = rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2)
        event = await stt.recognize([frame], conn_options=ONCE)
        took_s = asyncio.get_running_loop().time() - began_s
        await stt._client.close()
        return event.alternatives[0].text, took_s


@pytest.mark.parametrize("model", ["gpt-4o-mini-transcribe", "whisper-1"])
def test_the_plugin_has_a_recording_transcribed(
    run: Run, transcription: OpenAITranscriptionEmulator, hello: Scene, model: str
) -> None:
    text, took_s = run(recognized(transcription, bytes(hello.track.pcm), model=model))
    assert text == SAID
    assert 0.1 <= took_s < 2.0
    (row,) = [e for e in hello.log.events if isinstance(e, Transcript)]
    price = {"gpt-4o-mini-transcribe": 0.003, "whisper-1": 0.006}[model]
    assert row.usd == pytest.approx(5.0 / 60 * price)


def test_half_a_recording_has_half_the_words(
    run: Run, transcription: OpenAITranscriptionEmulator, hello: Scene
) -> None:
    half = bytes(hello.track.pcm)[: 2 * 16_000 * 16 // 10]
    assert run(recognized(transcription, half))[0] == "Hello, I'd like to"


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"api_key": "wrong"}, 401, "Incorrect API key"),
        ({"model": "gpt-5-transcribe"}, 404, "does not exist"),
        ({"model": "gpt-realtime-whisper", "use_realtime": False}, 400, "over the realtime API"),
    ],
)
def test_the_plugin_sees_the_true_errors_of_recognition(
    run: Run,
    transcription: OpenAITranscriptionEmulator,
    options: dict[str, Any],
    status: int,
    said: str,
) -> None:
    with pytest.raises(APIStatusError, match=said) as refused:
        run(recognized(transcription, bytes(32_000), **options))
    assert refused.value.status_code == status


# -- recognition on the realtime socket ------------------------------------------------------------


def test_the_plugin_streams_and_connects_again_for_another_model(
    run: Run, transcription: OpenAITranscriptionEmulator, hello: Scene
) -> None:
    async def main() -> list[tuple[str, str]]:
        async with listening(transcription) as port, aiohttp.ClientSession() as session:
            stt = plugin.STT(api_key="k", base_url=f"http://127.0.0.1:{port}/v1", use_realtime=True)
            stt._session = session
            stream = stt.stream()
            got: list[tuple[str, str]] = []

            async def read() -> None:
                async for e in stream:
                    got.append((e.type.value, e.alternatives[0].text if e.alternatives else ""))

            reading = asyncio.create_task(read())
            for i, chunk in enumerate(frames(bytes(hello.track.pcm)) * 2):
                await asyncio.sleep(0.05)
                stream.push_frame(rtc.AudioFrame(chunk, 16000, 1, len(chunk) // 2))
                if i == 99:
                    stt.update_options(model="gpt-4o-transcribe")
            await asyncio.sleep(3.0)
            await stream.aclose()
            await asyncio.gather(reading, return_exceptions=True)
            await stt.aclose()
            await stt._client.close()
            return got

    events = run(main())
    assert [text for kind, text in events if kind == "final_transcript"] == [SAID, SAID]
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "start_of_speech" and kinds.count("end_of_speech") == 2
    opened_for = [e.model for e in hello.log.events if isinstance(e, Connected)]
    assert opened_for == ["gpt-4o-mini-transcribe", "gpt-4o-transcribe"]


def realtime(
    run: Run, emulator: OpenAITranscriptionEmulator, hello: Scene, *messages: Any, model: str
) -> Stream:
    """Sends a recording of the hello scene, at 24 kHz, between messages (numbers are pauses)."""
    import numpy as np

    pcm = resample(np.frombuffer(bytes(hello.track.pcm), np.int16), 16_000, 24_000).tobytes()

    async def main() -> Stream:
        async with opened(emulator, "/v1/realtime", AUTH, intent="transcription") as stream:
            update = {"audio": {"input": {"transcription": {"model": model}}}}
            await stream.ws.send_json({"type": "session.update", "session": update})
            for chunk in frames(pcm, rate_hz=24_000):
                await asyncio.sleep(0.05)
                audio = base64.b64encode(chunk).decode()
                await stream.ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
            for message in messages:
                await stream.ws.send_json(message)
            await asyncio.sleep(3.0)
            await stream.ws.close()
            return stream

    stream: Stream = run(main())
    return stream


def test_a_model_without_turns_waits_for_the_commit(
    run: Run, transcription: OpenAITranscriptionEmulator, hello: Scene
) -> None:
    kind = "conversation.item.input_audio_transcription."
    commit = {"type": "input_audio_buffer.commit"}
    stream = realtime(run, transcription, hello, commit, model="gpt-realtime-whisper")
    deltas = stream.of(type=kind + "delta")
    assert "".join(d["delta"] for d in deltas).split() == SAID.split()
    assert deltas[0]["t_s"] < 2.5, "while the caller still speaks"
    (done,) = stream.of(type=kind + "completed")
    assert done["transcript"] == SAID and done["t_s"] > 5.0
    assert not stream.of(type="input_audio_buffer.speech_started")
    assert not realtime(run, transcription, hello, model="gpt-live-transcribe").of(
        type=kind + "completed"
    )


def test_what_is_wrong_on_the_socket_is_an_error_event(
    run: Run, transcription: OpenAITranscriptionEmulator, hello: Scene
) -> None:
    unknown = {"audio": {"input": {"transcription": {"model": "x"}}}}
    wrong = (
        {"type": "response.create"},
        {"type": "input_audio_buffer.append", "audio": "?"},
        {"type": "session.update", "session": unknown},
    )
    stream = realtime(run, transcription, hello, *wrong, model="gpt-4o-transcribe")
    said = [m["error"]["message"] for m in stream.of(type="error")]
    assert [s.split(":")[0] for s in said[:2]] == ["Invalid value", "Invalid 'audio'"]
    assert "`x` does not exist" in said[2]


# -- all roles behind one host ---------------------------------------------------------------------


def test_one_host_answers_in_every_role(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    service = emulators()["openai"](profiles["openai"], lambda: hello, api_keys=frozenset({"k"}))

    async def main() -> tuple[str, float, int]:
        text, _ = await recognized(service, bytes(hello.track.pcm))  # type: ignore[arg-type]
        (seconds,) = await spoken(service, ONE, response_format="pcm")  # type: ignore[arg-type]
        async with listening(service) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/v1/models"
            async with session.get(url, headers=AUTH) as answer:
                return text, seconds, answer.status

    text, seconds, status = run(main())
    assert (text, status) == (SAID, 200) and seconds > 1.0
    assert {e.role for e in hello.log.events} == {"stt", "tts"}
    assert not [e for e in hello.log.events if isinstance(e, Refused)]
