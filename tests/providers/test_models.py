"""The models that people run have figures, by the provider's own plugin and through the gateway."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from livekit.agents.inference import llm, stt, tts

from labkit.providers.profile import Profile, load_profiles

# what newcomers meet first in autumn 2026, and what public benchmarks have figures of
RUN = [
    ("assemblyai", "", "universal-3-6-pro u3-rt-pro universal-streaming-english"),
    ("deepgram", "", "nova-3 flux-general-en"),
    ("deepgram", "tts", "aura-2"),
    ("cartesia", "", "sonic-3"),
    ("cartesia", "stt", "ink-2"),
    ("elevenlabs", "", "eleven_flash_v2_5 eleven_turbo_v2_5"),
    ("elevenlabs", "stt", "scribe_v2_realtime"),
    ("openai", "", "gpt-4o-mini gpt-4.1 gpt-4.1-mini gpt-5-mini gpt-5.2 gpt-5.2-chat-latest"),
    ("openai", "stt", "gpt-4o-transcribe"),
    ("anthropic", "", "claude-haiku-4-5"),
    ("google", "", "gemini-2.5-flash gemini-3-flash-preview"),
    ("groq", "", "openai/gpt-oss-120b"),
    ("groq", "stt", "whisper-large-v3-turbo"),
    ("groq", "tts", "canopylabs/orpheus-v1-english"),
    ("livekit", "", "google/gemma-4-31b-it openai/gpt-5.2-chat-latest openai/gpt-4.1-mini"),
    ("livekit", "", "google/gemini-2.5-flash google/gemini-3-flash openai/gpt-oss-120b"),
    ("livekit", "stt", "assemblyai/universal-3-6-pro deepgram/nova-3 deepgram/flux-general-en"),
    ("livekit", "stt", "cartesia/ink-2 elevenlabs/scribe_v2_realtime"),
    ("livekit", "tts", "cartesia/sonic-3 fishaudio/s2.1-pro inworld/inworld-tts-2"),
    ("livekit", "tts", "elevenlabs/eleven_flash_v2_5 deepgram/aura-2"),
]


@pytest.mark.parametrize(("provider", "role", "models"), RUN)
def test_what_people_run_has_figures(
    profiles: dict[str, Profile], provider: str, role: str, models: str
) -> None:
    profile = profiles[provider].of_role(role) if role else profiles[provider]
    assert set(models.split()) <= set(profile.names("models"))


def texts(literal: Any) -> Iterator[str]:
    """The texts of a ``Literal``, or of a union of some."""
    for arg in get_args(literal):
        if isinstance(arg, str):
            yield arg
        else:
            yield from texts(arg)


NEAREST = {  # the gateway's models that nothing is published of: they get the nearest one's figures
    "": "openai/gpt-6-luna openai/gpt-6-sol openai/gpt-6.1-sol openai/chat-latest"
    " google/gemini-3.1-pro google/gemini-3.1-flash-lite moonshotai/kimi-k2.5 moonshotai/kimi-k2.6"
    " deepseek-ai/deepseek-v3 deepseek-ai/deepseek-v3.2 zai/glm-5.1 xai/grok-4.3 xai/grok-4.5"
    " xai/grok-4.20-0309-non-reasoning xai/grok-4.20-0309-reasoning xai/grok-4.20-multi-agent-0309",
    "stt": "auto xai/stt-1 speechmatics/linden-1 inworld/inworld-stt-1"
    " google/gemini-3.5-transcribe-live",
    "tts": "cartesia deepgram inworld fishaudio rime rime/coda rime/mistv2 rime/mistv3 rime/mist"
    " inworld/inworld-tts-1.5-max inworld/inworld-tts-1.5-mini inworld/inworld-tts-1.5"
    " inworld/inworld-tts-1-max inworld/inworld-tts-1 xai/tts-1",
}


@pytest.mark.parametrize(
    ("role", "known"),
    [("", llm.LLMModels), ("stt", stt.STTModels), ("tts", tts.TTSModels)],
)
def test_the_gateways_client_names_no_other_models(
    profiles: dict[str, Profile], role: str, known: Any
) -> None:
    profile = profiles["livekit"].of_role(role) if role else profiles["livekit"]
    assert set(texts(known)) - set(profile.names("models")) == set(NEAREST[role].split())


@pytest.mark.parametrize(("plugin", "names", "provider", "role", "without"), [
    ("groq", "STTModels", "groq", "stt", ""),
    ("groq", "TTSModels", "groq", "tts", ""),
    ("groq", "LLMModels", "groq", "", ""),
    ("elevenlabs", "TTSModels", "elevenlabs", "",
     "eleven_v3 eleven_v3_conversational eleven_v4 eleven_v4_turbo"),  # another API
    ("openai", "AudioModel", "openai", "stt", ""),
    ("openai", "TTSModels", "openai", "tts", ""),
    ("cartesia", "STTModels", "cartesia", "stt", ""),
])  # fmt: skip
def test_what_a_plugin_names_is_there(
    profiles: dict[str, Profile], plugin: str, names: str, provider: str, role: str, without: str
) -> None:
    models = pytest.importorskip(f"livekit.plugins.{plugin}.models")
    profile = profiles[provider].of_role(role) if role else profiles[provider]
    asked = set(texts(getattr(importlib.import_module(models.__name__), names)))
    assert asked - set(profile.names("models")) == set(without.split())


@pytest.mark.parametrize(("changed", "role", "at"), [
    ("groq.models.openai/gpt-oss-120b.first_token", "",
     ("models", "openai/gpt-oss-120b", "first_token")),
    ("assemblyai.models.u3-rt-pro.final", "stt",
     ("models", "assemblyai/universal-3-6-pro", "event")),
])  # fmt: skip
def test_a_change_reaches_the_gateway_through_whoever_refers(
    changed: str, role: str, at: tuple[str, ...]
) -> None:
    profile = load_profiles(None, {changed: 0.2})["livekit"]
    profile = profile.of_role(role) if role else profile
    assert profile.delay(*at).quantile(0.9) == 0.2
