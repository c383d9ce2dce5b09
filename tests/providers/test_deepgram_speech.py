"""The emulated Deepgram synthesis, seen by the LiveKit plugin and on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectOptions, APIStatusError
from livekit.plugins import deepgram as plugin
from stage import HELLO, frames, opened

from labkit.providers.deepgram.service import DeepgramEmulator
from labkit.providers.deepgram.speech import DeepgramSpeechEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.providers.voice import Voice
from labkit.world.events import AudioCut, AudioDone, Connected, FirstAudio, Text
from labkit.world.scene import Scene

Run = Callable[..., Any]
RATE = 24_000
ONE = "Your appointment is on Tuesday at nine. "
TWO = "Is there anything else I can help you with? "
AUTH = {"Authorization": "Token k"}


@pytest.fixture
def scene() -> Scene:
    return Scene(seed=1, turn=0)


@pytest.fixture
def speech(profiles: dict[str, Profile], scene: Scene) -> DeepgramSpeechEmulator:
    return DeepgramSpeechEmulator(
        profiles["deepgram"].of_role("tts"),
        lambda: scene,
        api_keys=frozenset({"k"}),
        voice=Voice(lambda text: None),
    )


def rows(scene: Scene, kind: type[Any]) -> list[Any]:
    return [e for e in scene.log.events if isinstance(e, kind)]


async def with_plugin(
    emulator: DeepgramSpeechEmulator, use: Callable[[Any], Any], **options: Any
) -> Any:
    async with listening(emulator) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/v1/speak"
        tts = plugin.TTS(**{"api_key": "k", "base_url": url, **options}, http_session=session)
        try:
            return await use(tts)
        finally:
            await tts.aclose()


async def speak(tts: Any, text: str, stop_after: int = 10_000) -> float:
    stream = tts.stream(conn_options=APIConnectOptions(max_retry=0))
    for word in text.split(" "):
        stream.push_text(word + " ")
    stream.end_input()
    seconds, n = 0.0, 0
    try:
        async for audio in stream:
            seconds, n = seconds + audio.frame.duration, n + 1
            if n >= stop_after:
                break
    finally:
        await stream.aclose()
    return seconds


def test_the_plugin_speaks_its_replies_on_a_pooled_socket(
    run: Run, speech: DeepgramSpeechEmulator, scene: Scene
) -> None:
    async def use(tts: Any) -> list[float]:
        return [await speak(tts, ONE + TWO), await speak(tts, TWO)]

    both, second = run(with_plugin(speech, use))
    assert both == pytest.approx(len(ONE + TWO) / 15, rel=0.4)
    assert second == pytest.approx(len(TWO) / 15, rel=0.4)
    assert len(rows(scene, Connected)) == 1
    assert [e.audio_s for e in rows(scene, AudioDone)] == pytest.approx([both, second], abs=0.02)
    words = "".join(e.text for e in rows(scene, Text))
    assert words.split() == (ONE + TWO + TWO).split()
    assert {e.model for e in rows(scene, Text)} == {"aura-2"}


def test_an_interruption_costs_the_socket_and_the_next_reply_has_another(
    run: Run, speech: DeepgramSpeechEmulator, scene: Scene
) -> None:
    """The plugin drops a socket on which a reply was cut off, as it knows no Clear."""

    async def use(tts: Any) -> float:
        await speak(tts, (ONE + TWO) * 3, stop_after=2)
        return await speak(tts, ONE)

    assert run(with_plugin(speech, use)) == pytest.approx(len(ONE) / 15, rel=0.4)
    assert len(rows(scene, Connected)) == 2
    assert speech.slots.held("k") == 0


def test_the_plugin_asks_for_recordings_too(run: Run, speech: DeepgramSpeechEmulator) -> None:
    async def use(tts: Any) -> float:
        return sum([audio.frame.duration async for audio in tts.synthesize(ONE)])

    assert run(with_plugin(speech, use)) == pytest.approx(len(ONE) / 15, rel=0.4)


@pytest.mark.parametrize(
    ("options", "status"),
    [({"api_key": "wrong"}, 401), ({"model": "aura-9-zeus-en"}, 400), ({"encoding": "opus"}, 400)],
)
def test_the_plugin_sees_the_true_errors(
    run: Run, speech: DeepgramSpeechEmulator, options: dict[str, Any], status: int
) -> None:
    with pytest.raises(APIStatusError) as refused:
        run(with_plugin(speech, lambda tts: speak(tts, ONE), **options))
    assert refused.value.status_code == status


def talk(run: Run, emulator: DeepgramSpeechEmulator, *messages: Any) -> tuple[list[Any], int]:
    """Sends messages (numbers are pauses); what came, bytes by their length, and the close code."""

    async def main() -> tuple[list[Any], int]:
        asked = {"model": "aura-2-thalia-en", "encoding": "linear16", "sample_rate": RATE}
        got: list[Any] = []
        async with listening(emulator) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/v1/speak"
            async with session.ws_connect(url, headers=AUTH, params=asked) as ws:

                async def read() -> None:
                    async for message in ws:
                        whole = isinstance(message.data, bytes)
                        got.append(len(message.data) if whole else message.json())

                reading = asyncio.create_task(read())
                for message in messages:
                    if isinstance(message, float):
                        await asyncio.sleep(message)
                    else:
                        await ws.send_json(message)
                await asyncio.sleep(15.0)
                await ws.close()
                await reading
                return got, ws.close_code or 0

    found: tuple[list[Any], int] = run(main())
    return found


SAY = {"type": "Speak", "text": ONE}
FLUSH, CLEAR, CLOSE = {"type": "Flush"}, {"type": "Clear"}, {"type": "Close"}


def test_each_flush_is_answered_when_its_text_has_been_spoken(
    run: Run, speech: DeepgramSpeechEmulator, scene: Scene
) -> None:
    got, _ = talk(run, speech, SAY, FLUSH, {"type": "Speak", "text": TWO}, FLUSH)
    assert got[0]["type"] == "Metadata" and got[0]["model_name"] == "aura-2-thalia-en"
    flushed = [i for i, m in enumerate(got) if isinstance(m, dict) and m["type"] == "Flushed"]
    assert [got[i]["sequence_id"] for i in flushed] == [0, 1]
    lengths = [sum(m for m in got[:i] if isinstance(m, int)) / 2 / RATE for i in flushed]
    done = [e.audio_s for e in rows(scene, AudioDone)]
    assert lengths == pytest.approx([done[0], sum(done)])
    first, second = rows(scene, FirstAudio)
    assert second.t_s > first.t_s


def test_text_without_an_end_waits_for_the_flush(
    run: Run, speech: DeepgramSpeechEmulator, scene: Scene
) -> None:
    talk(run, speech, {"type": "Speak", "text": "Your appointment"}, 5.0, FLUSH)
    assert rows(scene, FirstAudio)[0].t_s > rows(scene, Text)[0].t_s + 5.0
    scene.log.events.clear()
    talk(run, speech, SAY, 5.0, FLUSH)
    assert rows(scene, FirstAudio)[0].t_s < rows(scene, Text)[0].t_s + 1.0


def test_clear_stops_the_audio_and_close_waits_for_it(
    run: Run, speech: DeepgramSpeechEmulator, scene: Scene
) -> None:
    got, _ = talk(run, speech, {"type": "Speak", "text": ONE * 5}, FLUSH, 0.8, CLEAR)
    at = next(i for i, m in enumerate(got) if isinstance(m, dict) and m["type"] == "Cleared")
    assert len(got) - at <= 2 and 0 < rows(scene, AudioCut)[0].audio_s < 8.0
    speech.reset()
    got, code = talk(run, speech, SAY, CLOSE)
    assert got[-1]["type"] == "Flushed" and code == 1000
    assert sum(m for m in got if isinstance(m, int)) > RATE


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "Shout"}, "UNPARSABLE_CLIENT_MESSAGE"),
        ({"type": "Speak", "text": "x" * 2001}, "INPUT_TEXT_TOO_LONG"),
        ({"text": "Hello."}, "PAYLOAD_ERROR"),
    ],
)
def test_a_wrong_message_closes_the_socket(
    run: Run, speech: DeepgramSpeechEmulator, message: dict[str, Any], code: str
) -> None:
    got, closed = talk(run, speech, message)
    assert (got[-1]["err_code"], closed) == (code, 1008)


def test_nova_2_hears_as_nova_3_does(run: Run, profiles: dict[str, Profile], hello: Scene) -> None:
    async def main(model: str) -> list[str]:
        service = DeepgramEmulator(profiles["deepgram"], lambda: hello)
        asked = {"model": model, "encoding": "linear16", "sample_rate": 16000, "punctuate": True}
        async with opened(service, "/v1/listen", AUTH, **asked) as stream:
            await stream.play(frames(hello.track.pcm))
            await stream.end(type="CloseStream")
            texts = [
                m["channel"]["alternatives"][0]["transcript"] for m in stream.of(is_final=True)
            ]
            return [t for t in texts if t]

    heard = run(main("nova-2"))
    assert " ".join(heard).split() == [w[0] for w in HELLO]
    assert run(main("nova-2-phonecall")) == heard
