"""A sweep survives what befalls it, runs nothing twice, and says what failed."""

from __future__ import annotations

import io
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tqdm.auto

from labkit.engine import calls, store, sweep, tables, workers
from labkit.engine.calls import Answer
from labkit.engine.child import Died
from labkit.engine.encoding import decode, encode
from labkit.engine.experiment import Experiment
from labkit.engine.progress import reported
from labkit.engine.run import run
from labkit.engine.workload import Job
from labkit.errors import UsageError
from labkit.evidence.points import by_point
from labkit.paths import agents_dir, cache_dir
from labkit.tunnel.spec import CallSpec

ROOT = Path(__file__).resolve().parents[2]
LABKIT = [sys.executable, "-m", "labkit"]
SHORT = {"caller.dialogue": "order_status"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own that knows no call, but what the turn detector answers."""
    memos = list(cache_dir().glob("eot-*"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for memo in memos:
        shutil.copy(memo, cache_dir())
    return cache_dir()


class Counted:
    """Progress as it was told: the first report is what was known."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.told.append((done, total))

    @property
    def ran(self) -> int:
        return self.told[-1][0] - self.told[0][0]


# ---------------------------------------------------------------------------- who is to blame


class Fragile:
    """Processes that die.

    Args:
        deadly: Calls that end theirs every time, and whether by a signal.
        unlucky: Calls whose first process somebody else kills.
    """

    crowd, lost = 3, (Died,)

    def __init__(self, deadly: dict[int, bool], unlucky: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.deadly, self.unlucky = deadly, set(unlucky)
        self.begun: list[int] = []

    def submit(self, func: Callable[..., Any], spec: CallSpec, key: str) -> Future[Answer]:
        future: Future[Answer] = Future()
        self.begun.append(spec.call)
        if spec.call in self.deadly:
            future.set_exception(Died("its process died", self.deadly[spec.call]))
        elif spec.call in self.unlucky:
            self.unlucky.discard(spec.call)
            future.set_exception(Died("its process died", True))
        else:
            future.set_result(Answer(encode({"turns": [], "call": {"error": ""}})))
        return future

    def close(self, at_once: bool = False) -> None: ...


def errors(there: Fragile, n: int) -> dict[int, str]:
    jobs = [Job(0, CallSpec("vanilla", call=i), str(i)) for i in range(n)]
    ended = calls._run(jobs, there)  # type: ignore[arg-type]
    return {job.spec.call: decode(a.rows)["call"]["error"] for job, a in ended}


def test_only_the_guilty_call_is_given_up_after_three_times() -> None:
    there = Fragile({4: True})
    found = errors(there, 12)
    assert len(found) == 12
    assert {call: error for call, error in found.items() if error} == {4: "its process died"}
    assert sorted(there.begun) == sorted([*range(12), 4, 4])


def test_a_call_that_ends_its_process_by_itself_is_not_tried_again() -> None:
    there = Fragile({4: False})
    assert errors(there, 6)[4] == "its process died"
    assert there.begun == list(range(6))


def test_processes_killed_from_outside_cost_no_call() -> None:
    found = errors(Fragile({}, {1, 2, 3, 9, 15}), 16)
    assert len(found) == 16
    assert set(found.values()) == {""}


# ---------------------------------------------------------------------------- content


@pytest.mark.slow
def test_a_changed_line_runs_only_its_own_points(tmp_path: Path, cache: Path) -> None:
    for name in ("one.py", "two.py"):
        shutil.copy(agents_dir() / "vanilla.py", tmp_path / name)
    arms = {name: str(tmp_path / f"{name}.py") for name in ("one", "two")}
    experiment = Experiment(
        arms, grid={"links.openai.rtt_s": [0.03, 0.2]}, settings=SHORT, calls=1, turns=1
    )

    def run(**more: Any) -> tuple[Any, int]:
        counted = Counted()
        return sweep.sweep(experiment, progress=counted, **more), counted.ran

    first, ran = run()
    assert ran == 4
    again, ran = run()
    assert ran == 0 and again.digest == first.digest
    with (tmp_path / "two.py").open("a") as file:
        file.write("\n# another line\n")
    assert list(sweep.plan(experiment)["n_known"]) == [1, 1, 0, 0]
    changed, ran = run()
    assert ran == 2 and changed.digest == first.digest
    values = [t.drop(columns="experiment_id") for t in (first.turns, changed.turns)]
    pd.testing.assert_frame_equal(*values)  # a comment changes no result
    anew, ran = run(fresh=True)
    assert ran == 4 and anew.digest == changed.digest


@pytest.mark.slow
def test_an_agent_that_changes_under_way_leaves_nothing_false(tmp_path: Path, cache: Path) -> None:
    """Rows are kept under the name of what was run, or not at all."""
    agent = tmp_path / "mine.py"
    shutil.copy(agents_dir() / "vanilla.py", agent)
    experiment = Experiment({"mine": str(agent)}, settings=SHORT, calls=3, turns=1)

    def edit(done: int, total: int) -> None:
        if done == 1:
            agent.write_text(agent.read_text() + "\nimport json as j\n")

    results = sweep.sweep(experiment, workers=1, progress=edit)  # one after another
    assert results.calls["status"].iloc[0] == "ok"
    assert results.calls["status"].iloc[2] == "failed"
    assert "Changed" in results.calls["error"].iloc[2]
    counted = Counted()
    sweep.sweep(experiment, progress=counted)
    assert counted.ran == 3


@pytest.mark.slow
def test_a_run_is_a_sweep_of_one_arm(tmp_path: Path, cache: Path) -> None:
    """Its calls are the sweep's; its settings are columns, as they are that of nothing swept."""
    changes = {**SHORT, "links.openai.rtt_s": 0.2}
    first = run("vanilla", calls=2, turns=1, settings=changes)
    assert first.n_known == 0
    assert list(first.turns.columns[6:8]) == ["caller.dialogue", "links.openai.rtt_s"]
    counted = Counted()
    again = run("vanilla", calls=3, turns=1, settings=changes, progress=counted)
    assert counted.ran == 1 and again.n_known == 2
    values = again.turns[again.turns["call"] < 2]
    pd.testing.assert_frame_equal(values, first.turns)
    swept = sweep.sweep(Experiment({"vanilla": "vanilla"}, settings=changes, calls=3, turns=1))
    assert swept.n_known == 3
    shared = [c for c in again.turns if c in swept.turns]
    pd.testing.assert_frame_equal(swept.turns, again.turns[shared])
    anew = run("vanilla", calls=3, turns=1, settings=changes, fresh=True)
    assert anew.n_known == 0 and anew.digest == again.digest
    heard = run("vanilla", calls=1, turns=1, settings=changes, tracks=tmp_path / "calls")
    assert heard.n_known == 0 and (tmp_path / "calls" / "call-0000.wav").stat().st_size > 44
    pd.testing.assert_frame_equal(heard.turns, first.turns[first.turns["call"] < 1])


PROBE = """
import sys
import labkit as lab
results = lab.run(calls=1, turns=1)
heavy = ("livekit", "aiohttp", "matplotlib", "scipy", "tqdm", "IPython")
print(results.n_known, [name for name in heavy if name in sys.modules])
"""


@pytest.mark.slow
def test_a_known_run_starts_no_worker_and_loads_little(tmp_path: Path, cache: Path) -> None:
    said = [
        subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120)
        for _ in range(2)
    ]
    assert [done.stderr for done in said] == ["", ""], "a script that is no terminal sees no bar"
    assert said[0].stdout == "0 ['tqdm']\n"
    assert said[1].stdout == "1 []\n"
    done = labkit("run", "--calls", "1", "--turns", "1", cwd=tmp_path)
    assert "1 of 1 calls were already known" in done.stdout
    done = labkit("run", "--calls", "1", "--turns", "1", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["n_known"] == 1


def test_the_bar_counts_known_calls_and_leaves_them_out_of_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    class Bar(tqdm.auto.tqdm):
        instances: list[Any] = []  # noqa: RUF012

        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, file=Terminal(), ncols=100, mininterval=0, **more)
            self.instances.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    with reported(None, 90, 100) as tell:
        tell(91, 100)
        tell(95, 100)
        (bar,) = Bar.instances
        state = bar.format_dict
        assert (state["initial"], state["n"], state["total"]) == (90, 95, 100)
        state |= {"elapsed": 10.0, "rate": None}  # five calls in ten seconds, so five more take ten
        assert "00:10<00:10" in bar.format_meter(**state)
        assert "calls (90 known already)" in bar.fp.getvalue()


def test_zero_workers_are_one_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert workers.n_workers(0) == 8 and workers.n_workers(3) == 3


# ---------------------------------------------------------------------------- failures


POISON = """
import json, os
from vanilla import build_session, INSTRUCTIONS
from livekit.agents import Agent, JobContext, WorkerOptions, cli

PARAMETERS = {"agent.what": "works"}

async def entrypoint(ctx: JobContext) -> None:
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    what = p["agent.what"]
    if what == "dies":
        os.kill(os.getpid(), 9)
    if what == "raises":
        raise LookupError("no such thing")
    await ctx.connect()
    await build_session(p).start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)

if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
"""


@pytest.mark.slow
def test_failed_points_are_rows_that_can_be_replayed(tmp_path: Path, cache: Path) -> None:
    shutil.copy(agents_dir() / "vanilla.py", tmp_path)
    (tmp_path / "poison.py").write_text(POISON)
    words = ["sweep", "poison.py", "--grid", "agent.what=dies,works,raises", "--calls", "1"]
    words += ["--turns", "1", "--set", "caller.dialogue=order_status", "--json"]
    done = labkit(*words, "--out", "t.parquet", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    rows = {row["agent.what"]: row for row in found["points"]}
    assert {k: row["failed_calls"] for k, row in rows.items()} == {
        "dies": 1, "works": 0, "raises": 1,
    }  # fmt: skip
    assert "its process was ended by SIGKILL" in rows["dies"]["error"]
    assert "LookupError: no such thing" in rows["raises"]["error"]
    assert rows["works"]["p50_s"] > 0.3 and rows["raises"]["p50_s"] is None
    replay = next(f["replay"] for f in found["troubles"] if "raises" in f["replay"])
    again = subprocess.run(
        [*LABKIT, *shlex.split(replay)[1:], "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 1 and json.loads(again.stdout)["failed_calls"] == 1
    # what failed is tried again, the rest is known
    done = labkit(*words[:-1], "--dry-run", "--json", cwd=tmp_path)
    known = {row["agent.what"]: row["n_known"] for row in json.loads(done.stdout)["points"]}
    assert known == {"dies": 0, "works": 1, "raises": 0}


@pytest.mark.slow
def test_a_replayed_call_is_the_same_call(cache: Path) -> None:
    experiment = Experiment(
        {"a": "vanilla@preemptive.enabled=false"}, settings=SHORT, calls=2, turns=1, first=3
    )
    results = sweep.sweep(experiment)
    assert list(results.calls["call"]) == [3, 4]
    words = [*shlex.split(results.calls["replay"].iloc[1])[1:], "--out", str(cache / "x.parquet")]
    subprocess.run([*LABKIT, *words], check=True, capture_output=True, timeout=120)
    (again,) = pd.read_parquet(cache / "x.parquet").to_dict("records")
    row = results.turns.iloc[1]
    assert again["call"] == 4
    assert again["response_latency_s"] == row["response_latency_s"]
    assert again["said"] == row["said"]


def test_points_of_a_table_without_turns() -> None:
    calls = {"arm": ["a"], "x": [1.0], "call": [0], "status": ["failed"], "error": ["why"]}
    results = tables.Results(pd.DataFrame(), pd.DataFrame({**calls, "replay": ["do"]}))
    (row,) = by_point(results, ["x"]).to_dict("records")
    assert row["failed_calls"] == 1 and row["error"] == "why" and row["p50_s"] != row["p50_s"]
    assert results.troubles.to_dict("records") == [
        {"arm": "a", "error": "why", "n": 1, "calls": 1, "fatal": True, "replay": "do"}
    ]


# ---------------------------------------------------------------------------- the command


def labkit(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LABKIT, *words], cwd=cwd, capture_output=True, text=True, timeout=240)


def test_a_dry_run_lists_points_and_runs_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "points.toml").write_text(
        '[[point]]\nlinks.openai.rtt_s = 0.5\n[[point]]\ncaller.persona = "terse"\nturns = 2\n'
    )
    done = labkit(
        "sweep", "vanilla", "vanilla@preemptive.enabled=false", "--points", "points.toml",
        "--calls", "7", "--dry-run", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["n_turns"] for row in found["points"]] == [35, 14, 35, 14]
    assert [row["n_known"] for row in found["points"]] == [0] * 4
    assert found["points"][1]["caller.persona"] == "terse"
    assert found["expected_s"] is None, "nothing is known of the speed"
    assert not (cache / "calls.sqlite").exists() or not store.CallStore().latest(1)


BAD = {
    "a name": (["vanila"], ["'vanila'", "did you mean vanilla?"]),
    "a notebook's name": (["00_anatomy_of_a_trun"], ["did you mean 00_anatomy_of_a_turn?"]),
    "two notebooks": (["00", "vanilla"], ["on its own"]),
    "a grid's form": (["vanilla", "--grid", "turns"], ["'turns'", "NAME=A,B,…"]),
    "a grid's gap": (["vanilla", "--grid", "turns=1,,2"], ["'turns=1,,2'"]),
    "a grid's name": (
        ["vanilla", "--grid", "links.openai.rtt=1"], ["did you mean links.openai.rtt_s?"],
    ),
    "a grid's value": (["vanilla", "--grid", "links.openai.rtt_s=-1"], ["at least 0"]),
    "swept turns": (["vanilla", "--grid", "turns=two"], ["turns=two", "whole number"]),
    "calls": (["vanilla", "--calls", "0"], ["calls=0", "at least 1"]),
    "workers": (["vanilla", "--workers", "-1"], ["workers=-1", "one per core"]),
    "points": (["vanilla", "--points", "none.toml"], ["none.toml"]),
    "out": (["vanilla", "--out", "x.csv"], ["x.csv", ".parquet"]),
    "a parameter": (["00", "--grid", "n_cals=3"], ["'n_cals'", "did you mean n_calls?"]),
    "no parameter": (["00"], ["at least one parameter"]),
    "a notebook's scheduler": (
        ["00", "--grid", "n_calls=2", "--scheduler", "tcp://a:1"], ["--scheduler is for agents"],
    ),
    "a scheduler": (["vanilla", "--scheduler", "nowhere"], ["nowhere", "tcp://HOST:PORT"]),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_clear_line(what: str, tmp_path: Path, cache: Path) -> None:
    words, said = BAD[what]
    if what == "a scheduler":
        pytest.importorskip("distributed", reason="the extra labkit[dask] is not installed")
    folder = tmp_path / "here"
    folder.mkdir()
    done = labkit("sweep", *words, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    for text in said:
        assert text in line
    assert list(folder.iterdir()) == []


def test_numbers_are_checked_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="workers=-1: must be at least 1, or 0 for one per core"):
        sweep.sweep(Experiment({"a": "vanilla"}), workers=-1)
    with pytest.raises(UsageError, match="calls=0"):
        sweep.sweep(Experiment({"a": "vanilla"}, calls=0))


# ---------------------------------------------------------------------------- killed


KILLS = 20
SWEEP = ["sweep", "vanilla", "vanilla@preemptive.enabled=false", "--calls", "15", "--turns", "1",
         "--set", "caller.dialogue=order_status", "--workers", "2", "--json"]  # fmt: skip


def workers_of(pid: int) -> list[int]:
    """The living processes of a sweep's fork server: itself, its hosts, their calls."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})


def alive(pids: set[int]) -> set[int]:
    return {p for p in pids if Path(f"/proc/{p}").exists()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_twenty_times_it_comes_to_the_same_table(tmp_path: Path, cache: Path) -> None:
    """SIGKILL of the sweep or of a worker, at random moments, then once undisturbed."""
    draw = random.Random(20)
    whom = ["the sweep", "a worker"] * (KILLS // 2)
    draw.shuffle(whom)
    process: subprocess.Popen[bytes] | None = None
    orphans: set[int] = set()
    killed = dict.fromkeys(whom, 0)
    known = []
    try:
        for victim in whom:
            if process is None or process.poll() is not None:
                process = subprocess.Popen(
                    [*LABKIT, *SWEEP], cwd=tmp_path,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            until = time.monotonic() + 60
            while not workers_of(process.pid) and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(draw.uniform(0.0, 4.0))
            own = workers_of(process.pid)
            if victim == "a worker" and own:
                os.kill(draw.choice(own), signal.SIGKILL)
                killed[victim] += 1
            else:
                process.kill()
                process.wait()
                orphans |= set(own)
                killed["the sweep"] += 1
            kept = store.CallStore()
            known.append(len(kept.latest(1000)))
            kept.close()
    finally:
        if process is not None:
            process.kill()
            process.wait()
    until = time.monotonic() + 60  # one that is only starting notices when it has started
    while alive(orphans) and time.monotonic() < until:
        time.sleep(0.1)
    assert alive(orphans) == set(), "a worker must not outlive its sweep"
    assert sum(killed.values()) == KILLS and min(killed.values()) > 0
    assert known == sorted(known), "what was finished stays finished"
    last = labkit(*SWEEP, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    undisturbed = labkit(*SWEEP, "--fresh", cwd=tmp_path)
    assert json.loads(last.stdout)["digest"] == json.loads(undisturbed.stdout)["digest"]
    assert json.loads(last.stdout)["n_turns"] == 30
    print(f"killed {killed}; calls known after each kill: {known}")
