"""What an agent file declares, and what is said of settings that it does not take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.engine.run import run
from labkit.settings import SETTINGS, SettingError, Settings
from labkit.tunnel.agentfile import builtin_agents, find_agent
from labkit.tunnel.declaration import check_parameters, declaration, deployment
from labkit.tunnel.sources import source_files
from labkit.tunnel.spec import HOSTED, deployed

MINE = """
PARAMETERS = {"agent.colour": "blue", "agent.size": 3, "agent.loud": False}
OPTIONS = ("llm", "session.turn_handling.endpointing")
raise SystemExit("the file is read, not run")
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def check(path: Path, **changes: object) -> None:
    check_parameters(path, Settings({k.replace("__", "."): v for k, v in changes.items()}))


def test_what_is_declared_can_be_set(mine: Path) -> None:
    check(mine, agent__colour="red", agent__size=4, agent__loud="true", llm__model="gpt-4o")
    check(mine, endpointing__mode="dynamic", endpointing__min_delay_s=0.3)
    check(mine, links__openai__rtt_s=0.1, agent__greets=True)  # the tunnel's, and the caller's


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent.color": "red"}, r"mine.py does not accept parameter 'agent.color' .did you mean "
         r"agent.colour\?.*; accepted: agent.colour, agent.loud, agent.size"),
        ({"agent.size": "large"}, "agent.size=large: expected a number, such as 3"),
        ({"agent.loud": 3}, "agent.loud=3.*must be true or false"),
        ({"endpointing.min_delay_s": 1, "preemptive.tts": True}, "accept setting 'preemptive.tts'"
         ".*; accepted: endpointing.max_delay_s, endpointing.min_delay_s, endpointing.mode, llm"),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_refused(mine: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        check_parameters(mine, Settings(changes))


def test_without_options_a_file_takes_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "all.py"
    path.write_text("PARAMETERS: dict[str, object] = {}\n")
    declared = declaration(path)
    assert declared is not None and not declared.parameters
    assert all(declared.takes(s.sdk) for s in SETTINGS.values() if s.sdk)
    with pytest.raises(SettingError, match="accepted: none"):
        check(path, agent__rule=1)


def test_a_file_that_declares_nothing_is_told_how(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("p = json.loads(ctx.job.metadata)\np['agent.rule']\n")
    assert declaration(path) is None
    check(path, vad__min_silence_s=0.3)  # set on its session
    with pytest.raises(SettingError, match=r"PARAMETERS = \{'agent.rule': 'length'\}"):
        check(path, agent__rule="length")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("PARAMETERS = dict(a=1)\n", r"mine\.py:1: PARAMETERS is read without running the file"),
        ("PARAMETERS = {'rule': 1}\n", "keys begin with agent."),
        ("PARAMETERS = ['agent.rule']\n", "must be a dict"),
        ("PARAMETERS = {}\nOPTIONS = ('vad', 'llm.modell')\n", "OPTIONS has 'llm.modell'"),
        ("PARAMETERS = {}\nOPTIONS = 3\n", "OPTIONS has 3"),
        ("def broken(:\n", r"mine\.py:1: "),
    ],
)
def test_a_declaration_that_cannot_be_read_is_named(source: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(SettingError, match=said):
        declaration(path)


AS_FOUND = "starter"
"""Stands as others wrote it: settings are applied to its session from outside."""


@pytest.mark.parametrize("name", [n for n in builtin_agents() if n != AS_FOUND])
def test_built_in_agents_declare_what_they_read(name: str) -> None:
    path, _ = find_agent(name)
    declared = declaration(path)
    assert declared is not None
    reads = {
        file: set(re.findall(r"""(?:p\[|choice\(p, )["'](agent\.\w+)""", file.read_text()))
        for file in source_files(path)
        if file.suffix == ".py"
    }
    assert reads[path] <= set(declared.parameters), "read here, and so declared here"
    assert set(declared.parameters) <= set().union(*reads.values()), "declared, and so read"


@pytest.mark.slow
def test_a_setting_that_the_file_leaves_out_of_its_session_is_no_silent_one() -> None:
    """Push to talk declares all options, but a turn ends when the button is let go."""
    with pytest.raises(SettingError, match=r"turn_detection has no effect.*push_to_talk\.py"):
        run("push_to_talk", calls=1, turns=1, settings={"turn_detection": "vad"})


def test_where_an_agent_runs_is_said_by_the_setting_then_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    for text, chosen, where in (
        ("", {}, "self-hosted"),
        ('DEPLOYMENT = "hosted"', {}, "hosted"),
        ('DEPLOYMENT = "hosted"', {"deployment": "self-hosted"}, "self-hosted"),
        ("", {"deployment": "hosted"}, "hosted"),
    ):
        path.write_text(text)
        assert deployment(path, Settings(chosen)) == where
    path.write_text('DEPLOYMENT = "cloud"')
    with pytest.raises(SettingError, match="deployment=cloud: must be one of self-hosted, hosted"):
        deployment(path, Settings())


def test_only_a_hosted_agent_sees_that_it_is() -> None:
    mine = {"PATH": "/bin", "LIVEKIT_DEV_MODE": "1", "LIVEKIT_REMOTE_EOT_URL": "mine"}
    assert deployed(mine, "self-hosted") == {"PATH": "/bin"}
    assert deployed(mine, "hosted") == {"PATH": "/bin", **HOSTED}
