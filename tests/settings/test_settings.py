"""The table of settings, and what becomes of the values that are chosen."""

from __future__ import annotations

import json

import pytest

from labkit.providers.registry import PROVIDERS
from labkit.settings import SETTINGS, Setting, SettingError, Settings


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.name)
def test_every_row_is_whole(setting: Setting) -> None:
    assert setting.help and setting.source
    assert setting.kind in ("number", "flag", "text")
    assert setting.kind == "text" or not setting.choices
    assert setting.kind == "number" or not (setting.unit or setting.low or setting.high)
    for suffix in ("_s", "_dbfs", "_db"):
        if setting.name.endswith(suffix):
            assert setting.unit == {"_s": "s", "_dbfs": "dBFS", "_db": "dB"}[suffix]
            break
    for value in (setting.default, setting.left_out, *(setting.knob or ())):
        assert value is None or setting.parse(value) == value
    assert "PROVIDER" not in setting.name + setting.help


def test_links_of_all_providers_have_the_same_parts() -> None:
    parts: dict[str, set[str]] = {}
    for name in SETTINGS:
        if name.startswith("links.") and not name.startswith("links.caller."):
            _, provider, part = name.split(".")
            parts.setdefault(provider, set()).add(part)
    assert set(parts) == {*PROVIDERS, "collector"}
    assert all(p == {"rtt_s", "jitter_s", "loss", "dns_s"} for p in parts.values())
    assert SETTINGS["links.openai.rtt_s"].help == "round trip to openai"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"links.openai.rtt_s": -1}, r"links\.openai\.rtt_s=-1: must be at least 0 s"),
        ({"links.openai.loss": 0.6}, r"=0\.6: must be at least 0 and at most 0\.5"),
        ({"stt.eot_threshold": 0.95}, r"must be at least 0\.5 and at most 0\.9"),
        ({"vad.min_silence_s": "long"}, r"=long: expected a number in s"),
        ({"caller.gap_s": "nan"}, "must be a finite number"),
        ({"preemptive.tts": "maybe"}, "=maybe: must be true or false"),
        ({"stt.provider": "deepgram_flux"}, "must be one of deepgram, deepgram-flux.*did you mean"),
        ({"tts.provider": "carthesia"}, "must be one of cartesia, .*did you mean cartesia"),
        ({"endpointing.min_delay": 1}, "unknown setting.*did you mean endpointing.min_delay_s"),
        ({"agent.": 1}, r"unknown setting 'agent\.'"),
        ({"hosts.my.host": "openai", "links.my.host.rtt": 1}, "unknown part of a link 'rtt'"),
    ],
)
def test_what_cannot_be_is_named_with_what_can(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Settings(changes)


def test_metadata_is_in_the_structure_of_the_sdk() -> None:
    settings = Settings(
        {
            "aec_warmup_s": 1,
            "agent.rule": "length",
            "agent.greets": True,
            "endpointing.min_delay_s": "0.4",
            "preemptive.tts": True,
            "links.openai.rtt_s": 0.1,
            "turn_detector.threshold": 0.2,
            "stt.provider": "deepgram-flux",
            "prewarm.llm": False,
        }
    )
    assert json.loads(settings.metadata()) == {
        "session": {
            "turn_handling": {
                "endpointing": {"min_delay": 0.4},
                "preemptive_generation": {"preemptive_tts": True},
            },
            "aec_warmup_duration": 1.0,
        },
        "turn_detector": {"unlikely_threshold": 0.2},
        "stt": {"provider": "deepgram-flux"},
        "prewarm": {"llm": False},
        "agent.greets": True,
        "agent.rule": "length",
    }


def test_nothing_chosen_means_no_metadata() -> None:
    assert Settings().metadata() == ""
    assert Settings({"links.openai.rtt_s": 0.1, "turn_detection": None}).metadata() == ""
    # the SDK's own detector is what is there if the option is not passed
    assert Settings({"turn_detection": "detector"}).options() == {}
    assert Settings({"turn_detection": "detector"}).as_dict() == {"turn_detection": "detector"}
