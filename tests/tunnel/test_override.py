"""A setting does the same in a built-in agent, set from outside, and as pasted code."""

from __future__ import annotations

import asyncio
import importlib.util
from types import ModuleType
from typing import Any

import pytest
from livekit.agents import AgentSession, llm

from labkit.paths import agents_dir
from labkit.providers.registry import PROVIDERS, key_variables
from labkit.settings import SETTINGS, Setting, SettingError, Settings
from labkit.settings.snippet import session_code
from labkit.tunnel.declaration import Declaration
from labkit.tunnel.override import not_taken, override_session, survey

FIXED = {"stt.provider", "llm.provider", "tts.provider", "llm.model", "aec_warmup_s",
         "prewarm.llm", "prewarm.tts"}  # fmt: skip
"""What cannot be changed once a session is made."""
ONLY_CHOICE = {"tts.provider"}
FLUX = {"stt.provider": "deepgram-flux"}


@pytest.fixture(scope="module")
def vanilla() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vanilla", agents_dir() / "vanilla.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (n for provider in PROVIDERS for n in key_variables(provider)):
        monkeypatch.setenv(name, "none")
    monkeypatch.setattr(llm.LLM, "prewarm", lambda self, **_: None)
    monkeypatch.setattr("livekit.plugins.openai.LLM.prewarm", lambda self, **_: None)


def samples(setting: Setting) -> list[Any]:
    """Values that differ from what is there without the setting."""
    if setting.kind == "flag":
        return [True, False] if setting.default is None else [not setting.default]
    if setting.choices:
        return [c for c in setting.choices if c not in (setting.default, "detector")] or [
            "cartesia"
        ]
    if setting.kind == "text":
        return ["another-model"]
    high = setting.high or 2.0
    return [round((setting.low or 0.0) + 0.6 * (high - (setting.low or 0.0)), 3)]


CASES = [(s.name, v) for s in SETTINGS.values() if s.sdk for v in samples(s)]


def world(name: str) -> dict[str, object]:
    """What else must be chosen for a setting to have a meaning."""
    return dict(FLUX) if name.endswith("eot_threshold") else {}


def options_of(thing: Any) -> dict[str, Any]:
    """What a plugin remembers; of objects that compare by identity, their attributes or class."""
    found = {}
    for name, value in vars(thing).items():
        if name in ("_opts", "_ws_opts"):
            found[name] = options_of(value)
        elif type(value).__eq__ is object.__eq__:
            found[name] = type(value)
        else:
            found[name] = value
    return found


def facts(session: AgentSession[Any]) -> dict[str, Any]:
    """Everything of a session that a setting can change."""
    detection = session.turn_detection
    if not isinstance(detection, str):
        detection = type(detection).__name__, detection._opts.thresholds.thresholds  # type: ignore
    return {
        "endpointing": dict(session.options.endpointing),
        "interruption": dict(session.options.interruption),
        "preemptive": dict(session.options.preemptive_generation),
        "aec_warmup": (session.options.aec_warmup_duration, session._aec_warmup_remaining),
        "turn_detection": detection,
        "vad": session.vad._opts,  # type: ignore[union-attr]
        **{
            role: (type(plugin), plugin.model, options_of(plugin) if role != "llm" else None,
                   "prewarm" in vars(plugin))
            for role, plugin in (("stt", session.stt), ("llm", session.llm), ("tts", session.tts))
        },
    }  # fmt: skip


def built(vanilla: ModuleType, changes: dict[str, object]) -> AgentSession[Any]:
    return vanilla.build_session(Settings(changes).options())


def test_all_settings_of_the_agent_are_tried() -> None:
    assert {name for name, _ in CASES} == {s.name for s in SETTINGS.values() if s.sdk}


@pytest.mark.parametrize(("name", "value"), CASES)
def test_three_ways_to_set_an_option_agree(vanilla: ModuleType, name: str, value: Any) -> None:
    async def compare() -> None:
        plain = facts(built(vanilla, world(name)))
        wanted = built(vanilla, {**world(name), name: value})
        if name not in ONLY_CHOICE and (name, value) not in AS_THE_SDK:
            assert facts(wanted) != plain
        assert not not_taken(wanted, Settings({name: value}))

        pasted: dict[str, Any] = {}
        exec(session_code({**world(name), name: value}), pasted)
        assert facts(pasted["session"]) == facts(wanted)

        session = built(vanilla, world(name))
        assert (name in survey(session, Settings(), None)["settable"]) == (name not in FIXED)
        if name in FIXED:
            with pytest.raises(SettingError, match=f"{name} cannot be set from outside mine.py"):
                override_session(session, Settings({name: value}), "mine.py")
        else:
            done = override_session(session, Settings({name: value}), "mine.py")
            assert done == [f"{name}={value}"]
            assert facts(session) == facts(wanted)

    asyncio.run(compare())


AS_THE_SDK = {
    ("endpointing.mode", "fixed"),
    ("preemptive.enabled", True),
    ("preemptive.tts", False),
    ("interruption.enabled", True),
}
"""Values that are the SDK's own defaults, and so change nothing."""


def test_several_overrides_come_out_as_if_built_together(vanilla: ModuleType) -> None:
    """The delays that nobody chose follow from who ends the turn; those chosen stay."""
    changes: dict[str, object] = {
        "endpointing.max_delay_s": 1.5, "vad.activation_threshold": 0.7, "turn_detection": "vad",
    }  # fmt: skip

    async def compare() -> None:
        session = built(vanilla, {})
        override_session(session, Settings(changes), "mine.py")
        assert facts(session) == facts(built(vanilla, changes))
        assert session.options.endpointing["min_delay"] == 0.5
        override_session(session, Settings({"turn_detection": "detector"}), "mine.py")
        assert not isinstance(session.turn_detection, str)

    asyncio.run(compare())


def test_a_threshold_needs_its_detector(vanilla: ModuleType) -> None:
    async def override() -> None:
        session = built(vanilla, {"turn_detection": "vad"})
        with pytest.raises(SettingError, match=r"turn_detector\.threshold cannot be set"):
            override_session(session, Settings({"turn_detector.threshold": 0.2}), "mine.py")

    asyncio.run(override())


def test_what_a_session_leaves_out_is_found(vanilla: ModuleType) -> None:
    async def look() -> None:
        session = built(vanilla, {})
        for name, value in CASES:
            shown = name.endswith(".model") or SETTINGS[name].sdk.startswith("session.")
            same = (name, value) in AS_THE_SDK
            left_out = not_taken(session, Settings({name: value}))
            assert left_out == (name if shown and not same else "")

    asyncio.run(look())


def test_a_survey_says_what_a_session_has_and_what_a_file_takes(vanilla: ModuleType) -> None:
    changes: dict[str, object] = {"endpointing.max_delay_s": 1.5, "vad.min_silence_s": 0.4,
               "llm.model": "another", "turn_detector.threshold": 0.2}  # fmt: skip
    took = Declaration({}, ("llm", "session.turn_handling.endpointing"))

    async def look() -> dict[str, Any]:
        return survey(built(vanilla, changes), Settings(changes), took)

    found = asyncio.run(look())
    assert found["values"].items() >= changes.items()
    assert found["values"]["endpointing.min_delay_s"] == 0.3, "the SDK's, with its detector"
    assert found["values"]["turn_detection"] == "detector"
    endpointing = {n for n in SETTINGS if n.startswith("endpointing.")}
    assert set(found["settable"]) == {"llm.provider", "llm.model"} | endpointing
    stt = asyncio.run(_survey_of({"turn_detection": "stt"}, vanilla))
    assert "turn_detector.threshold" not in stt["settable"]


async def _survey_of(changes: dict[str, object], vanilla: ModuleType) -> dict[str, Any]:
    return survey(built(vanilla, changes), Settings(changes), None)


def test_the_built_in_agent_knows_the_plugins_of_the_table(vanilla: ModuleType) -> None:
    for role, makers in vanilla.PLUGINS.items():
        setting = SETTINGS[f"{role}.provider"]
        assert tuple(makers) == setting.choices
        assert next(iter(makers)) == setting.default
        for provider, make in makers.items():
            row = setting.plugins[provider]
            plugin, _, function = row["make"].partition(".")
            made = make()
            assert type(made).__name__ == function.partition(".")[0]
            assert f".{plugin}." in f"{type(made).__module__}."
            assert "model" not in row or made.model == row["model"]
