"""The emulated Gemini speech, heard by the LiveKit plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit.providers.google.speech import GoogleSpeechEmulator
from labkit.providers.profile import Profile
from labkit.providers.registry import emulator
from labkit.providers.server import listening
from labkit.providers.voice import Voice
from labkit.world.events import AudioDone, FirstAudio, Refused, Text
from labkit.world.scene import Scene

pytest.importorskip("livekit.plugins.google")
from google import genai
from livekit.agents import APIConnectOptions, APIStatusError
from livekit.plugins.google.beta import GeminiTTS
from stage import lengths_of

Run = Callable[[Any], Any]
ONE, TWO = "Your appointment is on Tuesday at nine.", "Shall I book it?"
ONCE = APIConnectOptions(max_retry=0)


@pytest.fixture
def scene() -> Scene:
    return Scene(seed=1, turn=0)


@pytest.fixture
def speech(profiles: dict[str, Profile], scene: Scene) -> GoogleSpeechEmulator:
    return GoogleSpeechEmulator(
        profiles["google"].of_role("tts"),
        lambda: scene,
        api_keys=frozenset({"k"}),
        voice=Voice(lambda text: None),
    )


async def spoken(
    speech: GoogleSpeechEmulator,
    *texts: str,
    key: str = "k",
    stop_after: int = 10_000,
    **options: Any,
) -> list[float]:
    """The length of each text as the plugin hears it, seconds."""
    async with listening(speech) as port:
        tts = GeminiTTS(api_key=key, **options)
        at = genai.types.HttpOptions(base_url=f"http://127.0.0.1:{port}")
        tts._client = genai.Client(api_key=key, http_options=at)
        lengths = await lengths_of(tts, texts, stop_after)
        await tts.aclose()
        return lengths


@pytest.mark.parametrize("model", ["gemini-3.1-flash-tts-preview", "gemini-3.8-flash-tts"])
def test_the_plugin_hears_the_words_and_not_the_directions(
    run: Run, speech: GoogleSpeechEmulator, scene: Scene, model: str
) -> None:
    (seconds,) = run(spoken(speech, ONE, model=model, instructions="Say it slowly"))
    (text,) = [e for e in scene.log.events if isinstance(e, Text)]
    assert text.text == ONE
    (first,) = [e for e in scene.log.events if isinstance(e, FirstAudio)]
    wanted_s = speech.profile.delay("models", model, "first_audio")
    assert wanted_s.min_s < first.t_s - text.t_s < 3
    (done,) = [e for e in scene.log.events if isinstance(e, AudioDone)]
    assert seconds == pytest.approx(done.audio_s, abs=0.011)


def test_an_interrupted_request_is_followed_by_the_next(
    run: Run, speech: GoogleSpeechEmulator, scene: Scene
) -> None:
    cut = run(spoken(speech, ONE, stop_after=1))
    (whole,) = run(spoken(speech, TWO))
    assert cut[0] < 1 < whole
    assert [e.text for e in scene.log.events if isinstance(e, Text)] == [ONE, TWO]


@pytest.mark.parametrize(
    ("options", "status"),
    [({"key": "wrong"}, 400), ({"model": "gemini-0-tts"}, 404)],
)
def test_the_plugin_sees_the_true_errors(
    run: Run, speech: GoogleSpeechEmulator, scene: Scene, options: dict[str, str], status: int
) -> None:
    with pytest.raises(APIStatusError) as error:
        run(spoken(speech, ONE, **options))
    assert error.value.status_code == status
    assert [e.status for e in scene.log.events if isinstance(e, Refused)] == [status]


def test_one_host_chats_and_speaks(run: Run, profiles: dict[str, Profile], scene: Scene) -> None:
    async def main() -> None:
        both = emulator("google")(profiles["google"], lambda: scene)
        async with listening(both) as port:
            at = genai.types.HttpOptions(base_url=f"http://127.0.0.1:{port}")
            client = genai.Client(api_key="k", http_options=at)
            reply = await client.aio.models.generate_content(
                model="gemini-2.5-flash", contents="What is your return policy?"
            )
            assert reply.text
            tts = GeminiTTS(api_key="k")
            tts._client = client
            async with tts.synthesize(TWO, conn_options=ONCE) as stream:
                assert [audio async for audio in stream]
            await tts.aclose()

    run(main())
