"""The command as a user meets it: bad input, an interrupted run, help."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from labkit.cli.console import duration

ROOT = Path(__file__).resolve().parents[1]
LABKIT = [sys.executable, "-m", "labkit"]
STRANGER = str(ROOT / "tests" / "agents" / "stranger.py")


def labkit(
    *words: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process group of its own, which does not outlive it."""
    process = subprocess.Popen(
        [*LABKIT, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | (env or {}), start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def check_refusal(
    done: subprocess.CompletedProcess[str], cwd: Path, before: set[Path], *said: str
) -> None:
    """Exit code 2, one line on stderr that says all of ``said``, and nothing written."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for text in said:
        assert text in lines[0]
    assert done.stdout.strip() == ""
    assert set(cwd.rglob("*")) == before, "a refused command writes nothing"


NEGATIVE = '[openai.models."gpt-4o-mini"]\nfirst_token = {median_s = -0.1, p95_s = 0.2, '
NEGATIVE += 'source = "a guess", date = "2026-01-01"}\n'

BAD: dict[str, tuple[list[str], list[str]]] = {
    "agent": (["run", "vanila"], ["'vanila'", "did you mean vanilla?"]),
    "chart of levers": (["levers", "--chart", "chart.pdf"], ["chart.pdf", ".png"]),
    "agent file": (["run", "no_such.py"], ["no_such.py"]),
    "setting": (
        ["run", "--set", "endpointing.min_delay=1"],
        ["'endpointing.min_delay'", "did you mean endpointing.min_delay_s?"],
    ),
    "setting's form": (["run", "--set", "endpointing.min_delay_s"], ["name=value"]),
    "setting's number": (
        ["run", "--set", "vad.min_silence_s=soon"],
        ["vad.min_silence_s=soon", "expected a number in s"],
    ),
    "setting's range": (
        ["run", "--set", "links.openai.rtt_s=-0.1"],
        ["links.openai.rtt_s=-0.1", "at least 0"],
    ),
    "setting's NaN": (["run", "--set", "links.openai.rtt_s=nan"], ["links.openai.rtt_s=nan"]),
    "setting's infinity": (["run", "--set", "links.openai.rtt_s=inf"], ["links.openai.rtt_s=inf"]),
    "setting's choice": (
        ["run", "--set", "turn_detection=vat"],
        ["turn_detection=vat", "must be one of", "did you mean vad?"],
    ),
    "host's provider": (
        ["run", "--set", "hosts.stt.example.com=deepgrm"],
        ["hosts.stt.example.com", "deepgrm", "did you mean", "deepgram"],
    ),
    "persona": (
        ["run", "--set", "caller.persona=flunt"],
        ["must be one of", "did you mean fluent?"],
    ),
    "dialogue": (
        ["run", "--set", "caller.dialogue=order_statu"],
        ["caller.dialogue", "order_statu", "did you mean", "order_status"],
    ),
    "calls": (["run", "--calls", "0"], ["calls=0", "at least 1"]),
    "turns": (["run", "--turns", "-1"], ["turns=-1", "at least 1"]),
    "workers": (["run", "--workers", "-1"], ["workers=-1", "0 for one per core"]),
    "clock": (["run", "--clock", "sundial"], ["clock=sundial", "virtual or wall"]),
    "out": (["run", "--out", "turns.csv"], ["turns.csv", ".parquet"]),
    "profile": (["run", "--set", "profile=none.toml"], ["none.toml"]),
    "profile's key": (
        ["run", "--set", "profile=typo.toml"],
        ["typo.toml", "openai.model'", "did you mean 'models'?"],
    ),
    "profile's delay": (
        ["run", "--set", "profile=negative.toml"],
        ["negative.toml", "first_token", "median_s", "-0.1"],
    ),
    "served profile": (["serve", "--profile", "negative.toml"], ["first_token", "-0.1"]),
    "notebook": (["notebook", "00_anatomy_of_a_trun"], ["00_anatomy_of_a_turn"]),
    "notebook's parameter": (
        ["notebook", "00", "-p", "n_cals=3"],
        ["n_cals", "did you mean", "n_calls"],
    ),
    "comparison": (["compare", "vanilla"], ["at least one other"]),
    "compared setting": (
        ["compare", "vanilla", "vanilla@turn_detectoin=vad"],
        ["turn_detectoin", "did you mean turn_detection?"],
    ),
    "setting looked for": (["config", "endpointig"], ["endpointig", "did you mean"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_clear_line(what: str, tmp_path: Path) -> None:
    (tmp_path / "typo.toml").write_text(NEGATIVE.replace("models", "model"))
    (tmp_path / "negative.toml").write_text(NEGATIVE)
    before = set(tmp_path.rglob("*"))
    words, said = BAD[what]
    if words[0] == "run" and "--out" not in words:
        words = [*words, "--out", "turns.parquet", "--wav", "calls"]
    check_refusal(labkit(*words, cwd=tmp_path), tmp_path, before, *said)


@pytest.mark.parametrize(
    "words",
    [("run", STRANGER, "--wav", "calls"), ("compare", STRANGER, "vanilla"), ("sweep", STRANGER)],
    ids=lambda words: words[0],
)
def test_an_agent_that_asks_for_an_unknown_host_is_refused(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    words = (*words, "--calls", "2", "--workers", "1", "--out", "turns.parquet")
    done = labkit(*words, cwd=tmp_path, env={"STRANGER_HOST": "api.openaii.com"})
    said = ("'api.openaii.com'", "did you mean api.openai.com?", "--set hosts.")
    check_refusal(done, tmp_path, set(), *said)


def checkout(folder: Path, *own: str) -> dict[str, str]:
    """A copy of the package with data of its own: ``own`` are copied, the rest is linked.

    Returns:
        The environment in which it is the labkit that Python finds.
    """
    shutil.copytree(ROOT / "labkit", folder / "labkit", ignore=shutil.ignore_patterns("*.pyc"))
    (folder / "data").mkdir()
    for path in (ROOT / "data").iterdir():
        if path.name in own:
            shutil.copytree(path, folder / "data" / path.name)
        else:
            (folder / "data" / path.name).symlink_to(path)
    places = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_dialogue_that_names_an_unknown_tool_is_refused(tmp_path: Path) -> None:
    env = checkout(tmp_path, "dialogues")
    file = tmp_path / "data" / "dialogues" / "dental_appointment.toml"
    text = file.read_text()
    assert 'tool = "open_times"' in text
    file.write_text(text.replace('tool = "open_times"', 'tool = "open_tims"'))
    before = set(tmp_path.rglob("*"))
    done = labkit("run", "--out", "turns.parquet", cwd=tmp_path, env=env)
    said = ("dental_appointment.toml", "'open_tims'", "open_times")
    check_refusal(done, tmp_path, before, *said)


@pytest.mark.parametrize("missing", ["*.flac", "clips.csv", "words.csv"])
def test_a_missing_speech_file_is_refused(missing: str, tmp_path: Path) -> None:
    env = checkout(tmp_path, "speech")
    files = list((tmp_path / "data" / "speech").glob(missing))
    assert files
    for file in files:
        file.unlink()
    before = set(tmp_path.rglob("*"))
    done = labkit("run", "--calls", "1", "--out", "turns.parquet", cwd=tmp_path, env=env)
    check_refusal(done, tmp_path, before, "speech", missing.lstrip("*"), "missing")


def children_of(group: int) -> list[str]:
    """Command lines of the living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.mark.slow
@pytest.mark.parametrize("everyone", [True, False], ids=["as the terminal does", "parent only"])
def test_an_interrupted_run_keeps_its_finished_calls(everyone: bool, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group; a process manager's signal reaches the parent alone."""
    process = subprocess.Popen(
        [*LABKIT, "run", "--calls", "500", "--turns", "2", "--workers", "2", "--wav", "calls",
         "--out", "x.parquet"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 90
        while len(list(tmp_path.glob("calls/call-????.wav"))) < 3 and time.monotonic() < until:
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        (os.killpg if everyone else os.kill)(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, stderr
    # a signal may land in a weak reference's callback, which Python itself reports and ignores
    assert stderr.count("Traceback") == stderr.count("Exception ignored in"), stderr
    assert "interrupted after" in stderr
    calls = pd.read_parquet(tmp_path / "x.calls.parquet")
    turns = pd.read_parquet(tmp_path / "x.parquet")
    assert 3 <= len(calls) < 500
    assert set(calls["status"]) == {"ok"}
    assert len(turns) == 2 * len(calls)
    told = json.loads((tmp_path / "x.json").read_text())
    assert (told["n_calls"], told["n_calls_finished"]) == (500, len(calls))
    until = time.monotonic() + 10
    while children_of(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert children_of(process.pid) == [], "no worker is left behind"


def test_run_compare_and_sweep_spell_their_options_alike(tmp_path: Path) -> None:
    shared = ("calls", "turns", "seed", "set", "workers", "scheduler", "fresh", "out", "json")
    for command in ("run", "compare", "sweep"):
        text = labkit(command, "--help", cwd=tmp_path, env={"COLUMNS": "200"}).stdout
        assert [name for name in shared if f"--{name}" not in text] == []


@pytest.mark.parametrize(
    "command",
    ["run", "compare", "levers", "sweep", "config", "serve", "doctor", "notebook", "report"],
)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    done = labkit(command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "Usage:" in done.stdout


@pytest.mark.slow
def test_levers_are_told_to_machines_and_drawn(tmp_path: Path) -> None:
    agent = str(ROOT / "tests" / "agents" / "own_work.py")
    words = ["--set", "agent.does=sleep", "--calls", "1", "--turns", "1", "--chart", "to/it.png"]
    done = labkit("levers", agent, *words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = [row["lever"] for row in found["levers"]]
    assert "on_user_turn_completed" in names and "tool calls" not in names
    saved = [row["saving_s"] for row in found["levers"]]
    assert saved == sorted(saved, reverse=True)
    assert {"lever": "tool calls", "owner": "user's code",
            "reason": "no tool was called in these calls"} in found["skipped"]  # fmt: skip
    assert (tmp_path / "to" / "it.png").stat().st_size > 10_000


def test_doctor_never_shows_a_key(tmp_path: Path) -> None:
    done = labkit("doctor", "--json", cwd=tmp_path, env={"OPENAI_API_KEY": "sk-secret"})
    assert "sk-secret" not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["keys (only for live runs)"]["OPENAI_API_KEY"] == "set"
    assert done.returncode == (1 if found["problems"] else 0)


def test_config_lists_every_setting_with_its_source(tmp_path: Path) -> None:
    from labkit.settings import SETTINGS

    rows = json.loads(labkit("config", "--json", cwd=tmp_path).stdout)
    assert {row["name"] for row in rows} == set(SETTINGS)
    assert all(row["help"] and row["source"] for row in rows)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (89.4, "89 s"), (89.9, "90 s"), (90.0, "2 min"), (150.1, "3 min"),
     (5399.0, "90 min"), (5400.0, "1.5 h"), (36_000.0, "10.0 h"), (float("nan"), "unknown time")],
)  # fmt: skip
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.slow
def test_a_comparison_whose_tables_cannot_be_written_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    words = ["vanilla", "vanilla@preemptive.enabled=false", "--calls", "1", "--turns", "1"]
    done = labkit("compare", *words, "--out", "taken/x.parquet", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert [row["arm"] for row in json.loads(done.stdout)] == ["vanilla@preemptive.enabled=false"]
    assert "the tables are not written: taken/x.parquet" in done.stderr
