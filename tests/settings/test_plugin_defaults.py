"""The plain defaults are the SDK's and the plugins' own, read from their signatures."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import operator
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from livekit.agents import AgentSession, inference
from livekit.plugins import (
    anthropic,
    assemblyai,
    cartesia,
    deepgram,
    elevenlabs,
    google,
    groq,
    openai,
)

from labkit.paths import agents_dir
from labkit.providers.compatible.service import ANY
from labkit.providers.profile import load_profiles
from labkit.providers.registry import PROVIDERS, key_variables
from labkit.settings import SETTINGS

CHOICES = {
    ("stt", "deepgram"): deepgram.STT,
    ("stt", "deepgram-flux"): deepgram.STTv2,
    ("stt", "assemblyai"): assemblyai.STT,
    ("stt", "openai"): openai.STT,
    ("stt", "elevenlabs"): elevenlabs.STT,
    ("stt", "cartesia"): cartesia.STT,
    ("llm", "openai"): openai.LLM,
    ("llm", "anthropic"): anthropic.LLM,
    ("llm", "google"): google.LLM,
    ("llm", "groq"): groq.LLM,
    ("llm", "cerebras"): openai.LLM.with_cerebras,
    ("llm", "deepseek"): openai.LLM.with_deepseek,
    ("llm", "fireworks"): openai.LLM.with_fireworks,
    ("llm", "openrouter"): openai.LLM.with_openrouter,
    ("llm", "perplexity"): openai.LLM.with_perplexity,
    ("llm", "togetherai"): openai.LLM.with_together,
    ("llm", "xai"): openai.LLM.with_x_ai,
    ("tts", "cartesia"): cartesia.TTS,
    ("tts", "elevenlabs"): elevenlabs.TTS,
    ("tts", "openai"): openai.TTS,
    ("tts", "deepgram"): deepgram.TTS,
}


def default(made: Any, name: str) -> Any:
    return inspect.signature(made).parameters[name].default


@pytest.fixture
def vanilla(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("vanilla_read", agents_dir() / "vanilla.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "vanilla_read", module)
    spec.loader.exec_module(module)
    for name in (n for provider in PROVIDERS for n in key_variables(provider)):
        monkeypatch.setenv(name, "none")
    return module


def test_the_table_knows_every_choice_of_a_plugin() -> None:
    rows = {
        (role, p) for role in ("stt", "llm", "tts") for p in SETTINGS[f"{role}.provider"].plugins
    }
    assert rows == set(CHOICES)


@pytest.mark.parametrize(("role", "provider"), CHOICES)
def test_settings_name_the_model_that_a_plugin_takes_by_itself(
    vanilla: ModuleType, role: str, provider: str
) -> None:
    made, model = CHOICES[role, provider], default(CHOICES[role, provider], "model")
    if not isinstance(model, str):  # it depends on other options
        model = made().model
    row = SETTINGS[f"{role}.provider"].plugins[provider]
    package, _, name = row["make"].partition(".")
    module = importlib.import_module(f"livekit.plugins.{package}")
    assert operator.attrgetter(name)(module) is made
    assert row["model"] == model
    profiles = load_profiles()
    profile = profiles.get(provider) or profiles[package]
    own = profile.of_role(role) if role in profile.table else profile
    known = own.names("models")
    assert ANY in known or any(model == m or model.startswith(m + "-") for m in known)
    setting = SETTINGS[f"{role}.model"]
    first = SETTINGS[f"{role}.provider"].default == provider
    if setting.default is not None and first:
        assert setting.default == model
    if role == "llm":
        assert model in setting.help


@pytest.mark.parametrize(("role", "provider"), CHOICES)
def test_vanilla_gives_a_plugin_no_option_of_its_own(
    vanilla: ModuleType, monkeypatch: pytest.MonkeyPatch, role: str, provider: str
) -> None:
    """What reaches the constructor is what the job's metadata names, and nothing else."""
    made, given = CHOICES[role, provider], []
    if not isinstance(made, type):  # a helper of a plugin, which has its own way to the class
        assert vanilla.PLUGINS[role][provider] is made
        return

    def init(self: Any, *args: Any, **options: Any) -> None:
        given.append((args, options))

    monkeypatch.setattr(made, "__init__", init)
    build = getattr(vanilla, f"build_{role}")
    assert isinstance(build({role: {"provider": provider}}), made)
    build({role: {"provider": provider, "model": "m"}})
    assert given == [((), {}), ((), {"model": "m"})]


def test_a_plugin_that_is_not_installed_is_named(
    vanilla: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "livekit.plugins.elevenlabs", None)
    with pytest.raises(RuntimeError, match="pip install livekit-plugins-elevenlabs"):
        vanilla.build_tts({"tts": {"provider": "elevenlabs"}})


def test_the_first_choice_is_the_settings(vanilla: ModuleType) -> None:
    for role, choices in vanilla.PLUGINS.items():
        assert next(iter(choices)) == SETTINGS[f"{role}.provider"].default


def test_vanilla_s_session_has_the_options_of_a_plain_one(vanilla: ModuleType) -> None:
    async def main() -> None:
        made = vanilla.build_session({})
        plain = AgentSession(stt=made.stt, llm=made.llm, tts=made.tts)
        handling = [dict(session.options.turn_handling) for session in (made, plain)]
        detectors = [type(turns.pop("turn_detection")) for turns in handling]
        assert handling[0] == handling[1]
        assert detectors[0] is detectors[1]
        rest = [replace(session.options, turn_handling={}) for session in (made, plain)]
        assert rest[0] == rest[1]
        assert type(made.vad) is type(plain.vad)

    asyncio.run(main())


def test_the_help_of_settings_states_the_sdk_s_defaults() -> None:
    async def main() -> None:
        options = AgentSession().options
        stated = {
            "endpointing.min_delay_s": options.endpointing["min_delay"],
            "endpointing.max_delay_s": options.endpointing["max_delay"],
            "endpointing.mode": options.endpointing["mode"],
            "interruption.min_duration_s": options.interruption["min_duration"],
            "vad.min_silence_s": default(inference.VAD, "min_silence_duration"),
            "vad.activation_threshold": default(inference.VAD, "activation_threshold"),
        }
        for name, value in stated.items():
            assert str(value) in SETTINGS[name].help, (name, value)
        assert options.preemptive_generation["enabled"] is True
        assert options.preemptive_generation["preemptive_tts"] is False

    asyncio.run(main())
