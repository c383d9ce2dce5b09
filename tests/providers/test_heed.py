"""Options that clients send are acted on, cannot matter, or are told of in the run's notes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectOptions, APIStatusError
from stage import HELLO, frames, opened

from labkit.measure.timeline import call_row
from labkit.providers.heed import OPTIONS, heed
from labkit.providers.profile import Profile
from labkit.providers.registry import emulators
from labkit.providers.server import listening
from labkit.tunnel.record import CallRecord
from labkit.world.events import AudioDone, EventLog, Unheeded
from labkit.world.scene import Scene

Run = Callable[..., Any]
ONE = "Your appointment is on Tuesday at nine."
ONCE = APIConnectOptions(max_retry=0)
SAID = " ".join(w[0] for w in HELLO)


def emulator(name: str, profiles: dict[str, Profile], scene: Scene) -> Any:
    return emulators()[name](profiles[name], lambda: scene)


def told(scene: Scene) -> list[str]:
    return [e.text for e in scene.log.events if isinstance(e, Unheeded)]


def test_no_option_is_both_acted_on_and_harmless() -> None:
    for kind, options in OPTIONS.items():
        assert not options.acted & set(options.harmless), kind
        assert not options.acted & set(options.usual), kind
        assert all(options.harmless.values())


@pytest.mark.parametrize(("given", "said"), [
    ({"mode": "min_latency"}, ["not emulated: mode=min_latency of assemblyai"]),
    ({"vad_threshold": "0.3", "min_turn_silence": "100"},
     ["not emulated: vad_threshold=0.3 of assemblyai"]),
    ({"speaker_labels": "true", "prompt": "x"}, []),
    ({"voice_focus": "false", "mode": None}, []),
])  # fmt: skip
def test_what_matters_and_is_not_emulated_is_told(
    run: Run, profiles: dict[str, Profile], given: dict[str, Any], said: list[str]
) -> None:
    scene = Scene(seed=1, turn=0)

    async def main() -> None:
        heed(emulator("assemblyai", profiles, scene), "assemblyai.stt", given)

    run(main())
    assert told(scene) == said


def test_fields_within_fields_and_usual_values(run: Run, profiles: dict[str, Profile]) -> None:
    scene = Scene(seed=1, turn=0)
    settings = {"speed": 1.1, "stability": 0.5, "style": 0.3, "use_speaker_boost": False}
    given = {"voice_settings": settings, "apply_text_normalization": "auto"}

    async def main() -> None:
        heed(emulator("elevenlabs", profiles, scene)._parts[0], "elevenlabs.tts", given)

    run(main())
    assert told(scene) == ["not emulated: voice_settings.style=0.3 of elevenlabs"]


def test_the_call_s_notes_say_it_once() -> None:
    log = EventLog()
    for _ in range(2):
        log.add(Unheeded(option="mode", value="fast"), 1.0, None, "assemblyai")
    record = CallRecord.lost(0, 1, "")
    record.providers = list(log.events)
    assert call_row(record)["notes"] == '["not emulated: mode=fast of assemblyai"]'


# -- every argument of a plugin is looked after ------------------------------------------------

OWN = {
    *("self", "kwargs", "api_key", "base_url", "ws_url", "http_session", "client", "session"),
    *("tokenizer", "word_tokenizer", "model", "language", "voice", "voice_id", "endpoint_url"),
    "word_timestamps",
}
"""Arguments that are not options of a request, or that every kind of request has."""
AS = {  # argument -> its name on the wire, where that is another
    "deepgram.STT": {"num_channels": "channels", "endpointing_ms": "endpointing",
                     "enable_diarization": "diarize", "keyterms": "keyterm", "tags": "tag"},
    "deepgram.STTv2": {"keyterms": "keyterm", "tags": "tag"},
    "assemblyai.STT": {"language_code": "language_codes"},
}  # fmt: skip
TOLD = {  # those that are told of when they are given
    "deepgram.STT": {"search", "replace", "redact"},
    "deepgram.STTv2": {"redact"},
    "deepgram.TTS": {"bit_rate"},
    "assemblyai.STT": {"vad_threshold", "voice_focus", "voice_focus_threshold", "mode"},
}
ELSEWHERE = {  # what the plugin itself does with them
    "deepgram.STT": {"energy_filter"},
    "deepgram.STTv2": {"audio_chunk_duration_ms"},
    "assemblyai.STT": {"buffer_size_seconds", "agent_context_carryover", "use_livekit_carryover"},
}
PLUGINS = {"deepgram.STT": "deepgram.stt", "deepgram.STTv2": "deepgram.flux",
           "deepgram.TTS": "deepgram.tts", "assemblyai.STT": "assemblyai.stt"}  # fmt: skip


@pytest.mark.parametrize("cls", PLUGINS)
def test_each_argument_of_a_plugin_has_its_place(cls: str) -> None:
    name, made = cls.split(".")
    if importlib.util.find_spec(f"livekit.plugins.{name}") is None:
        pytest.skip("an extra")
    plugin = importlib.import_module(f"livekit.plugins.{name}")
    options = OPTIONS[PLUGINS[cls]]
    known = options.acted | set(options.harmless) | set(options.usual)
    asked = set(inspect.signature(getattr(plugin, made).__init__).parameters) - OWN
    wire = {AS.get(cls, {}).get(a, a) for a in asked}
    assert wire - known - ELSEWHERE.get(cls, set()) == TOLD.get(cls, set())


def test_fields_that_only_a_compatible_host_has_are_told(
    run: Run, profiles: dict[str, Profile]
) -> None:
    scene = Scene(seed=1, turn=0)

    async def main() -> None:
        service = emulator("openrouter", profiles, scene)
        body = {"model": "auto", "messages": [], "provider": {"sort": "latency"}, "models": []}
        assert service.read_body(body) == {"model": "auto", "messages": []}

    run(main())
    assert told(scene) == ["not emulated: provider.sort=latency of openrouter"]


# -- speed ---------------------------------------------------------------------------------------


def spoken_s(run: Run, profiles: dict[str, Profile], *, stream: bool, speed: float | None) -> float:
    """How long ElevenLabs' plugin hears a sentence, by its socket or by one request."""
    plugin = pytest.importorskip("livekit.plugins.elevenlabs")
    scene = Scene(seed=1, turn=0)
    settings: dict[str, Any] = {}
    if speed is not None:
        made = plugin.VoiceSettings(stability=0.5, similarity_boost=0.5, speed=speed)
        settings["voice_settings"] = made

    async def main() -> None:
        service = emulator("elevenlabs", profiles, scene)
        async with listening(service) as port, aiohttp.ClientSession() as session:
            tts = plugin.TTS(
                api_key="k", base_url=f"http://127.0.0.1:{port}/v1", encoding="pcm_24000",
                http_session=session, **settings,
            )  # fmt: skip
            if stream:
                async with tts.stream(conn_options=ONCE) as speech:
                    speech.push_text(ONE)
                    speech.end_input()
                    async for _ in speech:
                        pass
            else:
                async with tts.synthesize(ONE, conn_options=ONCE) as whole:
                    async for _ in whole:
                        pass
            await tts.aclose()

    run(main())
    assert told(scene) == []
    return next(e.audio_s for e in scene.log.events if isinstance(e, AudioDone))


@pytest.mark.parametrize("stream", [True, False])
def test_elevenlabs_speed_shortens_the_audio(
    run: Run, profiles: dict[str, Profile], stream: bool
) -> None:
    usual = spoken_s(run, profiles, stream=stream, speed=None)
    fast = spoken_s(run, profiles, stream=stream, speed=1.2)
    silence = (1.2 * fast - usual) / 0.2  # before the speech, at any speed
    assert fast < usual - 0.2 and 0.05 <= silence <= 0.45


def test_a_speed_that_the_service_does_not_have(run: Run, profiles: dict[str, Profile]) -> None:
    with pytest.raises(APIStatusError):
        spoken_s(run, profiles, stream=False, speed=1.3)


def test_deepgrams_socket_tells_of_what_it_does_not_do(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    service = emulator("deepgram", profiles, hello)

    async def main() -> None:
        query = {"model": "nova-3", "encoding": "linear16", "sample_rate": "16000"}
        query |= {"redact": "pci", "numerals": "true"}
        auth = {"Authorization": "Token k"}
        async with opened(service, "/v1/listen", auth, **query) as stream:
            await stream.play(frames(bytes(hello.track.pcm))[:4])
            await stream.end(type="CloseStream")

    run(main())
    assert told(hello) == ["not emulated: redact=pci of deepgram"]
