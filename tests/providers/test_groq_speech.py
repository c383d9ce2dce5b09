"""Groq's speech, both ways, seen by its LiveKit plugin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIStatusError
from stage import HELLO, lengths_of

from labkit.providers.profile import Profile, load_profiles
from labkit.providers.registry import emulators
from labkit.providers.server import listening
from labkit.world.events import Assumed, AudioDone, Completed, Refused, Text, Transcript
from labkit.world.scene import Scene

plugin = pytest.importorskip("livekit.plugins.groq")
Run = Callable[..., Any]
ONE = "Your appointment is on Tuesday at nine."
SAID = " ".join(w[0] for w in HELLO)
ONCE = APIConnectOptions(max_retry=0)


@pytest.fixture
def groq(profiles: dict[str, Profile], hello: Scene) -> Any:
    """All of the host: chat, synthesis and recognition."""
    return emulators()["groq"](profiles["groq"], lambda: hello, api_keys=frozenset({"k"}))


async def spoken(groq: Any, *texts: str, stop_after: int = 10_000, **options: Any) -> list[float]:
    """The length of each text as the plugin hears it, seconds."""
    async with listening(groq) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/openai/v1"
        tts = plugin.TTS(**{"api_key": "k", "base_url": url, "http_session": session, **options})
        return await lengths_of(tts, texts, stop_after)


async def recognized(groq: Any, pcm: bytes, **options: Any) -> tuple[str, float]:
    """What the plugin makes of a recording, and how long it takes, seconds."""
    async with listening(groq) as port:
        stt = plugin.STT(
            **{"api_key": "k", "base_url": f"http://127.0.0.1:{port}/openai/v1", **options}
        )
        began_s = asyncio.get_running_loop().time()
        frame = rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2)
        try:
            event = await stt.recognize([frame], conn_options=ONCE)
            return event.alternatives[0].text, asyncio.get_running_loop().time() - began_s
        finally:
            await stt._client.close()


def test_the_plugin_speaks_is_interrupted_and_goes_on(run: Run, groq: Any, hello: Scene) -> None:
    async def main() -> list[float]:
        cut = await spoken(groq, ONE * 4, stop_after=2)
        return cut + await spoken(groq, ONE)

    cut, whole = run(main())
    assert 0 < cut < whole
    assert whole == pytest.approx(len(ONE) / 15, rel=0.4)
    done = [e for e in hello.log.events if isinstance(e, AudioDone)][-1]
    assert whole == pytest.approx(done.audio_s, abs=0.011)
    text = [e for e in hello.log.events if isinstance(e, Text)][-1]
    assert (text.provider, text.model) == ("groq", "canopylabs/orpheus-v1-english")
    assert text.usd == pytest.approx(len(ONE) / 1000 * 0.05)


@pytest.mark.parametrize(("model", "usd"), [
    ("whisper-large-v3-turbo", 10 / 60 * 0.000667), ("whisper-large-v3", 10 / 60 * 0.00185),
])  # fmt: skip
def test_a_turn_is_transcribed_and_billed_as_ten_seconds(
    run: Run, groq: Any, hello: Scene, model: str, usd: float
) -> None:
    text, took_s = run(recognized(groq, bytes(hello.track.pcm), model=model))
    assert text == SAID and 0.05 <= took_s < 1.0
    (row,) = [e for e in hello.log.events if isinstance(e, Transcript)]
    assert row.usd == pytest.approx(usd)  # the recording lasts five


def test_a_recording_past_ten_seconds_is_billed_as_it_is(run: Run, groq: Any, hello: Scene) -> None:
    run(recognized(groq, bytes(hello.track.pcm) + bytes(2 * 16_000 * 6)))
    (row,) = [e for e in hello.log.events if isinstance(e, Transcript)]
    assert row.usd == pytest.approx(11 / 60 * 0.000667)


@pytest.mark.parametrize(
    ("options", "text", "status"),
    [
        ({"api_key": "wrong"}, ONE, 401),
        ({"model": "playai"}, ONE, 404),
        ({}, "a" * 201, 400),
    ],
)
def test_what_synthesis_refuses(
    run: Run, groq: Any, hello: Scene, options: dict[str, Any], text: str, status: int
) -> None:
    with pytest.raises(APIStatusError) as refused:
        run(spoken(groq, text, **options))
    assert refused.value.status_code == status
    (row,) = [e for e in hello.log.events if isinstance(e, Refused)]
    assert (row.provider, row.role, row.status) == ("groq", "tts", status)


def test_two_hundred_characters_are_spoken(run: Run, groq: Any) -> None:
    assert run(spoken(groq, (ONE + " ") * 5))[0] > 5.0  # 200 of them


def test_recognition_refuses_unknown_models(run: Run, groq: Any) -> None:
    with pytest.raises(APIStatusError, match="`whisper-9` does not exist"):
        run(recognized(groq, bytes(32_000), model="whisper-9"))


def test_a_withdrawn_model_is_answered_and_said(run: Run, groq: Any, hello: Scene) -> None:
    assert run(spoken(groq, ONE, model="playai-tts"))[0] > 1.0
    (said,) = [e for e in hello.log.events if isinstance(e, Assumed)]
    assert said.text.startswith("groq no longer serves playai-tts")


def test_chat_still_answers_beside_the_speech(run: Run, groq: Any, hello: Scene) -> None:
    from llm_stage import ACME, POLICY, POLICY_REPLY, context, listen

    async def main() -> str:
        async with listening(groq) as port:
            url = f"http://127.0.0.1:{port}/openai/v1"
            model = plugin.LLM(api_key="k", base_url=url)
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            await model.aclose()
            return heard.text

    assert run(main()) == POLICY_REPLY
    assert [e.role for e in hello.log.events if isinstance(e, Completed)] == ["llm"]


def test_a_figure_of_the_host_s_speech_can_be_changed() -> None:
    name = "groq.stt.models.whisper-large-v3-turbo.batch"
    changed = load_profiles(None, {name: 0.2})["groq"].of_role("stt")
    assert changed.delay("models", "whisper-large-v3-turbo", "batch").quantile(0.9) == 0.2
