"""Ordinary LiveKit files, run unchanged, and what is said of files that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from labkit.tunnel.agentfile import AgentFileError, find_agent, load_agent

AGENTS = Path(__file__).parents[1] / "agents"


def labkit_run(file: Path, log: Path, *more: str) -> dict[str, Any]:
    """``python -m labkit run FILE --json`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "run", str(file), "--calls", "2", "--turns", "3",
         "--set", "caller.dialogue=dental_appointment", "--set", "caller.persona=fluent",
         "--json", *more],
        capture_output=True, text=True, timeout=200, env=os.environ | {"QUICKSTART_LOG": str(log)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("form", ["quickstart_options.py", "quickstart_server.py"])
def test_a_quick_start_file_runs_unchanged(form: str, tmp_path: Path) -> None:
    """Prewarm, its userdata, the participant, a tool and the shutdown callback: once a call."""
    first = labkit_run(AGENTS / form, tmp_path / "first")
    second = labkit_run(AGENTS / form, tmp_path / "second", "--workers", "2")
    assert first["digest"] == second["digest"]
    assert first["n_turns"] == 6
    assert first["missed_rate"] == first["failed_rate"] == 0
    assert first["residual_s"] < 0.005
    expected = Counter({"prewarm": 2, "open_times pain, this week": 2, "shutdown": 2})
    if form == "quickstart_options.py":
        expected["participant True"] = 2
    for log in ("first", "second"):
        assert Counter((tmp_path / log).read_text().splitlines()) == expected


@pytest.mark.slow
def test_settings_are_applied_to_a_file_that_reads_none(tmp_path: Path) -> None:
    at = tmp_path / "log"
    greets = ("--set", "agent.greets=true")
    plain = labkit_run(AGENTS / "quickstart_options.py", at, *greets)
    hasty = ("--set", "endpointing.max_delay_s=1", *greets)
    quick = labkit_run(AGENTS / "quickstart_options.py", at, *hasty)
    assert plain["p95_s"] - quick["p95_s"] > 1.0, "the wait in doubt is 2.5 s unless it is set"
    assert plain["premature_rate"] == 0, "the caller waits for the greeting"
    assert plain["overrides"] == []
    assert quick["overrides"] == ["endpointing.max_delay_s=1.0"]
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "run", str(AGENTS / "quickstart_options.py"), "--calls",
         "1", "--set", "stt.provider=deepgram-flux"],
        capture_output=True, text=True, timeout=200, env=os.environ | {"QUICKSTART_LOG": str(at)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "stt.provider cannot be set from outside quickstart_options.py" in done.stderr


def test_a_named_object_is_taken_from_the_file() -> None:
    taken = load_agent(f"{AGENTS / 'quickstart_server.py'}:server")
    assert taken.entrypoint.__name__ == "entrypoint"
    assert taken.prewarm is not None and taken.prewarm.__name__ == "prewarm"
    assert load_agent(f"{AGENTS / 'quickstart_options.py'}:entrypoint").prewarm is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def broken(:\n", r"agent\.py:1: invalid syntax"),
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("raise SystemExit(3)\n", "failed while loading: SystemExit: 3"),
        ("x = 1\n", "starts no agent: call cli.run_app"),
        ("from livekit.agents import AgentServer\ns = AgentServer()\n", "starts no agent"),
        ("nul = '\0'\n", "null bytes"),
    ],
)
def test_a_file_that_is_no_agent_is_named(source: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    file.write_text(source)
    with pytest.raises(AgentFileError, match=said) as refused:
        load_agent(str(file))
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


def test_an_unknown_name_gets_the_closest_one() -> None:
    with pytest.raises(AgentFileError, match="did you mean vanilla"):
        find_agent("vanila")
    with pytest.raises(AgentFileError, match="has no 'servr'"):
        load_agent(f"{AGENTS / 'quickstart_server.py'}:servr")
