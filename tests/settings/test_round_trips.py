"""Whatever is chosen is read back as it was, from Python, from text and from a job's metadata."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from setting_values import changes, others

from labkit.providers.registry import PROVIDERS
from labkit.settings import SETTINGS, Setting, SettingError, Settings, parse_assignments

BY_NAME = pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.name)
NUMBERS = [s for s in SETTINGS.values() if s.kind == "number"]


@given(changes())
def test_what_was_chosen_is_read_back(chosen: dict) -> None:
    first = Settings(chosen)
    again = Settings(first.as_dict())
    assert again.as_dict() == first.as_dict()
    assert dict(again) == dict(first)
    assert list(first.as_dict()) == sorted(first.as_dict())
    for name, value in chosen.items():
        assert first[name] == first.value(name) == value


@given(changes())
def test_text_means_what_the_value_does(chosen: dict) -> None:
    texts = parse_assignments([f" {name} = {value} " for name, value in chosen.items()])
    assert Settings(texts).as_dict() == Settings(chosen).as_dict()


@given(changes(), st.randoms(use_true_random=False))
def test_the_order_in_which_settings_are_given_counts_for_nothing(chosen: dict, rng) -> None:
    other = dict(rng.sample(list(chosen.items()), len(chosen)))
    first, second = Settings(chosen), Settings(other)
    assert list(first.as_dict().items()) == list(second.as_dict().items())
    assert first.metadata() == second.metadata()


@given(changes())
def test_only_what_was_chosen_reaches_the_metadata_and_where_the_sdk_has_it(chosen: dict) -> None:
    settings = Settings(chosen)
    text = settings.metadata()
    job = json.loads(text) if text else {}
    n_found = 0
    for name, setting in SETTINGS.items():
        at, there = job, True
        for part in setting.sdk.split(".") if setting.sdk else [name]:
            there = there and part in at
            at = at[part] if there else {}
        wanted = setting.agent and name in settings.changes
        wanted = wanted and not (setting.sdk and settings[name] == setting.left_out)
        assert there == wanted, name
        if wanted:
            assert at == settings[name]
            n_found += 1
    assert bool(text) == bool(n_found)


PRESET = {
    *("stt.provider", "stt.model", "llm.provider", "tts.provider", "tts.model"),
    *("agent.greets", "prewarm.llm", "prewarm.tts"),
    *(f"caller.{n}" for n in ("line", "dialogue", "noise_floor_dbfs", "noise", "backchannel_prob",
                              "gap_s", "patience_s", "start_after_s", "echo_learned_s",
                              "hesitant_prob", "terse_prob", "pauses", "pace", "microphone")),
    *(f"links.caller.{n}" for n in ("rtt_s", "jitter_s", "loss", "burst_ratio", "jitter_buffer_s",
                                    "codec", "codec_s")),
}  # fmt: skip
"""Settings whose default is a choice too: an agent file, or a persona, may say something else."""


@BY_NAME
def test_a_default_is_no_change_unless_an_agent_or_a_persona_may_have_another(
    setting: Setting,
) -> None:
    unset = Settings({setting.name: None})
    assert unset.as_dict() == Settings({setting.name: "Default"}).as_dict() == {}
    assert unset[setting.name] == setting.default
    given_default = Settings({setting.name: setting.default}).as_dict()
    preset = setting.name in PRESET
    assert given_default == ({setting.name: setting.default} if preset else {})


@BY_NAME
def test_every_other_value_is_a_change(setting: Setting) -> None:
    for value in others(setting):
        assert Settings({setting.name: value}).as_dict() == {setting.name: value}


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda s: s.name)
def test_a_number_is_taken_up_to_its_limits_and_not_beyond(setting: Setting) -> None:
    for end, sign in ((setting.low, -1), (setting.high, 1)):
        if end is None:
            continue
        assert setting.parse(end) == setting.parse(repr(end)) == end
        message = rf"{setting.name}=.*: must be {re.escape(setting.allowed)}"
        with pytest.raises(SettingError, match=message):
            setting.parse(end + sign * 1e-9 * max(abs(end), 1.0))
    for wrong in (math.nan, math.inf, -math.inf, "nan", "inf"):
        with pytest.raises(SettingError, match="must be a finite number"):
            setting.parse(wrong)
    for wrong in ("", "fast", [], {}):
        with pytest.raises(SettingError, match="a number"):
            setting.parse(wrong)


@pytest.mark.parametrize("text", ["true", "ON", "1", "Yes", "false", "off", "0", "NO"])
def test_flags_may_be_said_in_four_ways(text: str) -> None:
    flag = SETTINGS["preemptive.enabled"]
    assert flag.parse(text) == (text.lower() in ("true", "on", "1", "yes"))


def test_few_limits_are_not_zero() -> None:
    """Each of these is a range of the quantity itself, or of the service that takes it."""
    assert {s.name: (s.low, s.high) for s in NUMBERS if s.low != 0 or s.high not in (None, 1)} == {
        "stt.eager_eot_threshold": (0.3, 0.9),
        "stt.eot_threshold": (0.5, 0.9),
        **{f"links.{p}.loss": (0.0, 0.5) for p in (*PROVIDERS, "collector", "caller", "caller.up",
                                                   "caller.down")},
        **{f"links.{p}.burst_ratio": (1.0, 50.0) for p in ("caller", "caller.up", "caller.down")},
        "caller.level_dbfs": (-60.0, -10.0),
        "caller.pace": (0.5, 2.0),
        "caller.noise_floor_dbfs": (-120.0, -20.0),
        "caller.noise_snr_db": (-20.0, 60.0),
        "caller.release_after_s": (-10.0, None),
        "caller.echo_db": (-80.0, 0.0),
        "limit.real_s": (1.0, 86_400.0),
        "limit.memory_mb": (512.0, 1_048_576.0),
    }  # fmt: skip


# ------------------------------------------------------------------- texts

NAMES = st.text(min_size=1).filter(lambda t: "=" not in t and t.strip())


@settings(max_examples=40)
@given(st.dictionaries(NAMES.map(str.strip), st.text().map(str.strip), max_size=4))
def test_an_assignment_is_a_name_the_first_equals_sign_and_a_value(pairs: dict) -> None:
    assert parse_assignments([f"{name}={value}" for name, value in pairs.items()]) == pairs
    assert parse_assignments([f"  {k}\t=  {v} " for k, v in pairs.items()]) == pairs


@example(" =1")
@example("=")
@given(st.text().filter(lambda t: "=" not in t or not t.partition("=")[0].strip()))
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="write it as name=value"):
        parse_assignments([text])


def test_of_two_assignments_the_later_counts() -> None:
    assert parse_assignments(["a=1", "b=", "a=2=3"]) == {"a": "2=3", "b": ""}


# ------------------------------------------------------------------- open-ended families

HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{1,5}){1,2}", fullmatch=True)
PARTS = st.dictionaries(
    st.sampled_from(["rtt_s", "jitter_s", "loss", "dns_s"]), st.floats(0, 0.5), max_size=4
)


@given(
    st.dictionaries(HOSTS, st.tuples(st.sampled_from(["openai", "cartesia"]), PARTS), max_size=3)
)
def test_further_hosts_and_their_links_are_read_back(hosts: dict) -> None:
    given_hosts = {f"hosts.{host.upper()}": provider for host, (provider, _) in hosts.items()}
    lower = {name.replace("hosts.", "").lower(): name for name in given_hosts}
    links = {
        f"links.{lower[host].removeprefix('hosts.')}.{part}": value
        for host, (_, parts) in hosts.items()
        for part, value in parts.items()
    }
    settings = Settings({**given_hosts, **links})
    assert Settings(settings.as_dict()).as_dict() == settings.as_dict()
    assert settings.extra_hosts == {host: provider for host, (provider, _) in hosts.items()}
    default = {"rtt_s": 0.03, "jitter_s": 0.0, "loss": 0.0, "dns_s": 0.005}
    for host, (provider, parts) in hosts.items():
        assert settings.link(provider, host) == default | parts
        for part, value in parts.items():
            assert settings.value(f"links.{host}.{part}") == value


def test_a_host_without_a_link_of_its_own_is_as_far_as_its_provider() -> None:
    settings = Settings(
        {"hosts.my.host": "openai", "links.openai.rtt_s": 0.2, "links.my.host.loss": 0.1}
    )
    assert settings.link("openai", "my.host") == {
        "rtt_s": 0.2, "jitter_s": 0.0, "loss": 0.1, "dns_s": 0.005,
    }  # fmt: skip
    with pytest.raises(SettingError, match=r"links\.my\.host\.rtt_s=-1: must be at least 0 s"):
        Settings({"hosts.my.host": "openai", "links.my.host.rtt_s": -1})
    with pytest.raises(SettingError, match="unknown setting"):
        Settings({"links.my.host.rtt_s": 1})


@given(st.floats(allow_nan=False) | st.booleans() | st.text(min_size=1))
def test_values_of_open_families_are_numbers_or_flags_if_they_read_as_such(value) -> None:
    name = "providers.openai.models.x.first_token"
    for form in (value, str(value)):
        settings = Settings({name: form, "agent.own": form})
        found = settings.value("agent.own")
        assert settings.figures == {"openai.models.x.first_token": found}
        if not isinstance(value, str):
            assert found == value and isinstance(found, bool) == isinstance(value, bool)
        elif isinstance(found, str):
            assert found == value
        again = Settings(settings.as_dict())
        assert repr(again.as_dict()) == repr(settings.as_dict())
