"""Keys, environment and what else is given to an agent's job."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

import labkit.cli.console as console
from labkit.engine.store import point_key
from labkit.errors import UsageError
from labkit.providers.keys import PLUGIN_KEYS
from labkit.settings import SettingError, Settings
from labkit.tunnel.agentfile import LoadedAgent
from labkit.tunnel.declaration import Declaration
from labkit.tunnel.given import env_file
from labkit.tunnel.isolation import without_secrets
from labkit.tunnel.job import job_metadata
from labkit.tunnel.spec import ENVIRONMENT, SUPPLIED, CallSpec


def test_every_plugin_finds_a_key_and_the_server_is_not_livekits_cloud() -> None:
    for name in ("ELEVEN_API_KEY", "ASSEMBLYAI_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY",
                 "LIVEKIT_API_KEY", *PLUGIN_KEYS):  # fmt: skip
        assert ENVIRONMENT[name]
    assert len(SUPPLIED["LIVEKIT_API_SECRET"]) >= 32, "PyJWT warns of shorter ones"
    # on these names the SDK would move turn detection and telemetry to the cloud
    assert not SUPPLIED["LIVEKIT_URL"].endswith((".livekit.cloud", ".livekit.run"))
    assert not {"LIVEKIT_DEV_MODE", "LIVEKIT_REMOTE_EOT_URL", "LIVEKIT_INFERENCE_URL"} & {
        *ENVIRONMENT
    }


def test_an_environment_file_gives_secrets_but_no_true_keys(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "\ufeffSHOP_TOKEN='a b'\nexport PLAIN=1\nLIVEKIT_URL=wss://my.livekit.cloud\n"
        "OPENAI_API_KEY=sk-true\nEMPTY=\n",
        encoding="utf-8",
    )
    assert env_file(str(file)) == {"SHOP_TOKEN": "a b", "PLAIN": "1"}
    assert env_file("") == {}
    assert without_secrets({"SHOP_TOKEN": "x"}, frozenset()) == {}, "others' stay hidden"
    with pytest.raises(UsageError, match=r"job\.env_file=nowhere: No such file"):
        env_file("nowhere")


def test_the_text_of_a_named_file_is_part_of_the_key(tmp_path: Path) -> None:
    def key(path: Path) -> str:
        return point_key(CallSpec("vanilla", {"job.env_file": str(path)}), "common")

    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("A=1")
    other.write_text("A=1")
    before = key(one)
    assert key(other) == before, "its name is not"
    one.write_text("A=2")
    assert key(one) != before


def _agent(declared: Declaration | None) -> LoadedAgent:
    async def entrypoint(ctx: object) -> None: ...

    return LoadedAgent(Path("mine.py"), entrypoint, None, None, declared)


def test_metadata_is_passed_on_as_it_is_unless_a_file_declares_that_it_reads_settings() -> None:
    given = Settings({"job.metadata": '{"a": 1}', "agent.rule": "x"})
    assert job_metadata(given, _agent(None)) == '{"a": 1}'
    declared = _agent(Declaration({"agent.rule": "y"}))
    assert job_metadata(given, declared) == '{"a": 1, "agent.rule": "x"}'
    assert job_metadata(Settings({"agent.rule": "x"}), declared) == '{"agent.rule": "x"}'
    assert job_metadata(Settings(), declared) == ""
    with pytest.raises(SettingError, match=r"mine\.py declares PARAMETERS.*JSON object"):
        job_metadata(Settings({"job.metadata": "plain"}), declared)


def test_options_of_the_command_line_are_settings() -> None:
    given = console.of_job("M", "R", ["sip.phoneNumber=+1=5"], Path("e.env"))
    assert given == {
        "job.metadata": "M", "job.room_metadata": "R", "job.env_file": "e.env",
        "participant.attributes.sip.phoneNumber": "+1=5",
    }  # fmt: skip
    assert console.of_job(None, None, None, None) == {}
    with pytest.raises(typer.Exit), console.usage():
        console.of_job(None, None, ["novalue"], None)
