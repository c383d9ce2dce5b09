"""A sweep on a Dask cluster gives the pool's table, also when a worker is lost under way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.sweep import sweep
from labkit.errors import UsageError

pytest.importorskip("distributed", reason="the extra labkit[dask] is not installed")

EXPERIMENT = Experiment(
    {"a": "vanilla", "b": "vanilla@preemptive.enabled=false"},
    settings={"caller.dialogue": "order_status"},
    calls=5,
    turns=1,
    seed=11,
)


class Cluster:
    """A scheduler and two workers of one thread each: one under a nanny, one without."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder
        port = self.address.rpartition(":")[2]
        self.processes = [self._start("scheduler", "--port", port)]
        self.processes.append(self._start("worker", self.address, "--nthreads", "1"))
        self.processes.append(self._start("worker", self.address, "--nthreads", "1", "--no-nanny"))

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1"]
        with (self.folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--no-dashboard", *words], cwd=self.folder, stdout=log, stderr=log
            )

    def kill_a_worker(self) -> None:
        os.kill(self.processes[2].pid, signal.SIGKILL)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    own = Cluster(tmp_path)
    yield own
    own.stop()


def children_in(folder: Path) -> list[str]:
    """Worker processes that were started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder:
                command = (process / "cmdline").read_text().replace("\0", " ")
                found += [command] if "labkit.engine.forks" in command else []
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_lost_worker_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    on_the_pool = sweep(EXPERIMENT, workers=2, fresh=True)
    killed = []

    def kill(done: int, total: int) -> None:
        if done == 2:
            cluster.kill_a_worker()
            killed.append(total - done)

    on_the_cluster = sweep(EXPERIMENT, scheduler=cluster.address, fresh=True, progress=kill)
    assert killed == [8]
    assert set(on_the_cluster.calls["status"]) == {"ok"}
    assert on_the_cluster.digest == on_the_pool.digest
    cluster.stop()
    until = time.monotonic() + 15
    while children_in(tmp_path) and time.monotonic() < until:
        time.sleep(0.2)
    assert children_in(tmp_path) == [], "the processes beside the workers end with them"


def test_where_no_scheduler_answers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.engine.workers._CONNECT_S", 1)
    with pytest.raises(UsageError, match=r"scheduler=tcp://127\.0\.0\.1:1: "):
        sweep(EXPERIMENT, scheduler="tcp://127.0.0.1:1", fresh=True)
    with pytest.raises(UsageError, match="write it as tcp://HOST:PORT"):
        sweep(EXPERIMENT, scheduler="127.0.0.1:8786", fresh=True)
