"""The emulated ElevenLabs synthesis, seen by the LiveKit plugin and on the wire."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp
import av
import numpy as np
import pytest
from stage import Stream, opened

from labkit.providers.elevenlabs.service import ElevenLabsEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.providers.voice import Voice
from labkit.world.events import AudioDone, Connected, Event, FirstAudio, Refused, Text
from labkit.world.scene import Scene

plugin = pytest.importorskip("livekit.plugins.elevenlabs")

E = TypeVar("E", bound=Event)
Run = Callable[..., Any]
VOICE = "hpp4J3VqNfWAUOO0d1Us"
PATH = f"/v1/text-to-speech/{VOICE}/multi-stream-input"
KEY = {"xi-api-key": "k"}
RATE = 24_000
ONE = "Your appointment is on Tuesday at nine. "
TWO = "Is there anything else I can help you with? "


@pytest.fixture
def scene() -> Scene:
    return Scene(seed=1, turn=0)


@pytest.fixture
def elevenlabs(profiles: dict[str, Profile], scene: Scene) -> ElevenLabsEmulator:
    return ElevenLabsEmulator(
        profiles["elevenlabs"],
        lambda: scene,
        api_keys=frozenset({"k"}),
        voice=Voice(lambda text: None),
    )


def rows(scene: Scene, kind: type[E]) -> list[E]:
    return [e for e in scene.log.events if isinstance(e, kind)]


def talk(
    run: Run, emulator: ElevenLabsEmulator, *messages: Any, wait_s: float = 20.0, **query: Any
) -> Stream:
    """Sends messages (numbers are pauses, in seconds) and waits."""
    asked = {"model_id": "eleven_flash_v2_5", "output_format": "pcm_24000"}
    asked |= {"auto_mode": True, "sync_alignment": True, "inactivity_timeout": 180, **query}

    async def main() -> Stream:
        async with opened(emulator, PATH, KEY, **asked) as stream:
            for message in messages:
                if isinstance(message, float):
                    await asyncio.sleep(message)
                else:
                    await stream.ws.send_json(message)
            await asyncio.sleep(wait_s)
            await stream.ws.close()
            return stream

    stream: Stream = run(main())
    return stream


def say(text: str, context: str = "c1", **more: Any) -> dict[str, Any]:
    return {"text": text, "context_id": context, **more}


def close(context: str = "c1") -> dict[str, Any]:
    return {"context_id": context, "close_context": True}


def sound(stream: Stream, context: str = "c1") -> bytes:
    return b"".join(base64.b64decode(m["audio"] or "") for m in stream.of(contextId=context))


async def speak(tts: Any, text: str, stop_after: int = 10_000) -> tuple[float, str]:
    """Has a reply spoken, word by word; its length in seconds and the words with times."""
    stream = tts.stream()
    for word in text.split(" "):
        stream.push_text(word + " ")
    stream.end_input()
    seconds, words, n = 0.0, "", 0
    async for audio in stream:
        seconds, n = seconds + audio.frame.duration, n + 1
        words += "".join(audio.frame.userdata.get("lk.timed_transcripts", []))
        if n >= stop_after:
            break
    await stream.aclose()
    return seconds, words


def with_plugin(emulator: ElevenLabsEmulator, use: Callable[[Any], Any], **options: Any) -> Any:
    async def main() -> Any:
        async with listening(emulator) as port, aiohttp.ClientSession() as session:
            tts = plugin.TTS(
                **{"api_key": "k", "encoding": "pcm_24000", **options},
                base_url=f"http://127.0.0.1:{port}/v1",
                http_session=session,
            )
            try:
                return await use(tts)
            finally:
                await tts.aclose()

    return main()


# -- the LiveKit plugin ----------------------------------------------------------------------------


def test_the_plugin_speaks_its_replies_on_one_socket(
    run: Run, elevenlabs: ElevenLabsEmulator, scene: Scene
) -> None:
    async def use(tts: Any) -> list[tuple[float, str]]:
        return [await speak(tts, ONE + TWO), await speak(tts, TWO)]

    both, second = run(with_plugin(elevenlabs, use))
    assert both[0] == pytest.approx(len(ONE + TWO) / 15, rel=0.4)
    assert both[1].split() == (ONE + TWO).split()
    assert second[0] < both[0]
    assert second[1].split() == TWO.split()
    assert len(rows(scene, Connected)) == 1
    assert [round(e.audio_s, 2) for e in rows(scene, AudioDone)] == [
        pytest.approx(both[0], abs=0.02),
        pytest.approx(second[0], abs=0.02),
    ]
    assert rows(scene, Text)[0].model == "eleven_turbo_v2_5"
    spoken = sum(e.characters for e in rows(scene, Text))
    assert sum(e.usd for e in rows(scene, Text)) == pytest.approx(spoken * 0.06 / 1000)


def test_an_interrupted_reply_leaves_the_socket_to_the_next(
    run: Run, elevenlabs: ElevenLabsEmulator, scene: Scene
) -> None:
    async def use(tts: Any) -> tuple[float, str]:
        await speak(tts, (ONE + TWO) * 3, stop_after=2)
        return await speak(tts, ONE)

    seconds, words = run(with_plugin(elevenlabs, use))
    assert words.split() == ONE.split()
    assert seconds == pytest.approx(len(ONE) / 15, rel=0.4)
    assert len(rows(scene, Connected)) == 1


def test_the_plugin_connects_again_when_the_socket_was_closed(
    run: Run, elevenlabs: ElevenLabsEmulator, scene: Scene
) -> None:
    async def use(tts: Any) -> list[str]:
        first = await speak(tts, ONE)
        await asyncio.sleep(25.0)
        return [first[1], (await speak(tts, TWO))[1]]

    said = run(with_plugin(elevenlabs, use, inactivity_timeout=20))
    assert " ".join(said).split() == (ONE + TWO).split()
    assert len(rows(scene, Connected)) == 2


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"api_key": "wrong"}, 401, "invalid_api_key"),
        ({"model": "eleven_flash_v9"}, 400, "model_not_found"),
        ({"encoding": "opus_48000_32"}, 400, "invalid_output_format"),
        ({"voice_id": "Bella"}, 404, "voice_not_found"),
    ],
)
def test_the_plugin_sees_the_true_errors(
    run: Run,
    elevenlabs: ElevenLabsEmulator,
    scene: Scene,
    options: dict[str, Any],
    status: int,
    code: str,
) -> None:
    from livekit.agents import APIConnectOptions, APIStatusError

    async def use(tts: Any) -> None:
        stream = tts.stream(conn_options=APIConnectOptions(max_retry=0))
        stream.push_text(ONE)
        stream.end_input()
        try:
            async for _ in stream:
                pass
        finally:
            await stream.aclose()

    with pytest.raises(APIStatusError) as refused:
        run(with_plugin(elevenlabs, use, **options))
    assert refused.value.status_code == status
    (row,) = rows(scene, Refused)
    assert (row.status, row.code) == (status, code)


def test_the_plugin_decodes_its_default_mp3_from_both_endpoints(
    elevenlabs: ElevenLabsEmulator,
) -> None:
    """In real time: the plugin's decoder has a thread of its own."""

    async def use(tts: Any) -> tuple[float, float]:
        seconds, _ = await speak(tts, ONE)
        whole = [audio.frame.duration async for audio in tts.synthesize(ONE)]
        return seconds, sum(whole)

    streamed, whole = asyncio.run(with_plugin(elevenlabs, use, encoding="mp3_22050_32"))
    assert streamed == pytest.approx(len(ONE) / 15, rel=0.4)
    assert whole == pytest.approx(streamed, abs=0.3)


# -- on the wire -----------------------------------------------------------------------------------


def test_a_context_ends_with_one_final_message(
    run: Run, elevenlabs: ElevenLabsEmulator, scene: Scene
) -> None:
    stream = talk(run, elevenlabs, say(" "), say(ONE, flush=True), say("", flush=True), close())
    assert [m["isFinal"] for m in stream.got] == [None] * (len(stream.got) - 1) + [True]
    aligned = [m["normalizedAlignment"] for m in stream.got if m["normalizedAlignment"]]
    assert len(aligned) > 1, "told with the audio, not all at once"
    chars = [c for a in aligned for c in a["chars"]]
    starts = [t for a in aligned for t in a["charStartTimesMs"]]
    lengths = [t for a in aligned for t in a["charDurationsMs"]]
    assert "".join(chars) == ONE
    assert len(chars) == len(starts) == len(lengths) and min(lengths) >= 0
    assert starts == sorted(starts)
    pcm = np.frombuffer(sound(stream), np.int16)
    voiced = np.flatnonzero(np.abs(pcm) > 300) / RATE
    assert starts[0] / 1000 == pytest.approx(voiced[0], abs=0.03)
    assert (starts[-1] + lengths[-1]) / 1000 == pytest.approx(len(pcm) / RATE, abs=0.03)
    (first,) = rows(scene, FirstAudio)
    assert first.t_s - rows(scene, Text)[0].t_s == pytest.approx(stream.got[0]["t_s"], abs=1e-3)
    assert 0.15 <= stream.got[0]["t_s"] <= 0.6


def test_mp3_is_what_was_asked_for_and_as_long_as_told(
    run: Run, elevenlabs: ElevenLabsEmulator, scene: Scene
) -> None:
    said = (say(ONE, flush=True), say(TWO, flush=True), close())
    data = sound(talk(run, elevenlabs, *said, output_format="mp3_22050_32"))
    with av.open(io.BytesIO(data), format="mp3") as file:
        (audio,) = file.streams.audio
        assert (audio.codec_context.sample_rate, audio.codec_context.bit_rate) == (22_050, 32_000)
        samples = sum(frame.samples for frame in file.decode(audio))
    (done,) = rows(scene, AudioDone)
    assert samples / 22_050 == pytest.approx(done.audio_s, abs=576 / 22_050)
    assert len(data) * 8 / 32_000 == pytest.approx(done.audio_s, rel=0.02)
    elevenlabs.reset()
    assert data == sound(talk(run, elevenlabs, *said, output_format="mp3_22050_32"))


def test_without_auto_mode_text_is_gathered(run: Run, elevenlabs: ElevenLabsEmulator) -> None:
    short = (say(" "), say(ONE), 5.0, say(TWO), 5.0, close())
    quiet = talk(run, elevenlabs, *short, auto_mode=False)
    assert quiet.got[0]["t_s"] > 10.0, "120 characters are not reached before the end"
    sooner = say(" ", generation_config={"chunk_length_schedule": [50, 50]})
    early = talk(run, elevenlabs, sooner, *short[1:], auto_mode=False)
    assert 5.0 < early.got[0]["t_s"] < 6.0, "the second sentence makes it more than 50"
    assert talk(run, elevenlabs, *short).got[0]["t_s"] < 1.0


def test_a_sixth_context_closes_the_socket(
    run: Run, elevenlabs: ElevenLabsEmulator, scene: Scene
) -> None:
    stream = talk(run, elevenlabs, *[say(ONE, f"c{i}") for i in range(6)], 0.1)
    (error,) = stream.of(error="max_active_conversations")
    assert (error["code"], error["contextId"]) == (1008, "c5")
    assert stream.ws.close_code == 1008
    assert elevenlabs.slots.held("k eleven_flash_v2_5") == 0
    closed = [close(f"c{i}") for i in range(5)]
    fine = talk(
        run, elevenlabs, *[say(ONE, f"c{i}") for i in range(5)], *closed, 9.0, say(ONE, "c5")
    )
    assert not [m for m in fine.got if "error" in m]


def test_a_message_that_is_none_gets_an_error_of_its_own(
    run: Run, elevenlabs: ElevenLabsEmulator
) -> None:
    (error,) = talk(run, elevenlabs, {"text": 7}, 0.1).got
    assert error["error"] == "invalid_request" and error["message"].startswith("text: ")
