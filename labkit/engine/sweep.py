"""Runs an experiment: every call of every point, in parallel, each of them once and for all.

A call whose rows are in the store is not run again. Rows are stored the moment a call ends, so a
sweep that is killed loses only the calls in flight, and the next one goes on where it stopped.
"""

from __future__ import annotations

import json
import queue
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from labkit.engine import store, tables
from labkit.engine.encoding import Rows, decode
from labkit.engine.experiment import Experiment, Point
from labkit.engine.replay import replay_command
from labkit.engine.run import Progress, identity, lost_call, run_rows
from labkit.engine.workers import Workers, born, connect
from labkit.errors import UsageError
from labkit.tunnel.worker import CallSpec

_TRIES = 3
"""A call whose worker died this often is given up."""
_SAMPLE = 100


@dataclass(frozen=True)
class Job:
    """One call of a sweep: the index of its point, what it runs, and the name of its rows."""

    point: int
    spec: CallSpec
    key: str


class Changed(RuntimeError):
    """What a call depends on is not what it was when the sweep began."""


def sweep(
    experiment: Experiment,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> tables.Results:
    """Runs an experiment, or as much of it as is not known yet.

    Args:
        experiment: What to run.
        workers: Worker processes of this machine.
        scheduler: Address of a running Dask cluster (``tcp://HOST:PORT``), to run there instead.
        fresh: Run every call, even those that are known.
        progress: Called with (calls done, calls in all), at first with those already known.

    Returns:
        One table of turns and one of calls for all points, with ``arm`` and the swept settings as
        columns. A call that failed is a row of ``calls`` with its error; ``replay`` is the command
        that runs a call again.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: nothing was run.
    """
    began = time.perf_counter()
    points = experiment.runs()
    if workers < 1:
        raise UsageError(f"workers={workers}: must be at least 1")
    jobs = jobs_of(experiment, points)
    kept = store.CallStore() if experiment.clock == "virtual" else None
    known = kept.find(j.key for j in jobs) if kept and not fresh else {}
    missing = list({j.key: j for j in jobs if j.key not in known}.values())
    done, interrupted = len(jobs) - len(missing), False
    if progress is not None:
        progress(done, len(jobs))
    try:
        for job, rows in collect(missing, workers, scheduler, kept) if missing else ():
            known[job.key] = rows
            done += 1
            if progress is not None:
                progress(done, len(jobs))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if kept:
            kept.close()
    results = tabulate(experiment, points, jobs, known)
    results.wall_s = time.perf_counter() - began
    results.interrupted = interrupted
    return results


def plan(experiment: Experiment, *, workers: int = 1) -> pd.DataFrame:
    """What a sweep would do, without doing it.

    Returns:
        One row per point: ``arm``, the swept settings, ``n_calls``, ``n_turns`` in all,
        ``n_known`` calls that will not be run, and ``expected_s`` of wall time with so many
        workers, from the speed of known calls; NaN if there are none.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: it could not be run.
    """
    points = experiment.runs()
    jobs = jobs_of(experiment, points)
    kept = store.CallStore()
    try:
        known = kept.find(j.key for j in jobs) if experiment.clock == "virtual" else {}
        turn_s = _turn_s(known.values() or kept.latest(_SAMPLE))
    finally:
        kept.close()
    n_known = Counter(j.point for j in jobs if j.key in known)
    rows = []
    for i, point in enumerate(points):
        left = (experiment.calls - n_known[i]) * point.spec.n_turns
        rows.append({
            "arm": point.arm,
            **point.swept,
            "n_calls": experiment.calls,
            "n_turns": experiment.calls * point.spec.n_turns,
            "n_known": n_known[i],
            "expected_s": left * turn_s / workers if left else 0.0,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _turn_s(calls: Iterable[Rows]) -> float:
    """Median wall seconds per turn; the first call of a worker takes longer."""
    speeds = [c["call"]["wall_s"] / c["call"]["n_turns"] for c in calls if c["call"]["n_turns"]]
    return float(pd.Series(speeds, dtype=float).median())


def jobs_of(experiment: Experiment, points: list[Point]) -> list[Job]:
    """Every call, the first of all points before the second of any."""
    if experiment.calls < 1:
        raise UsageError(f"calls={experiment.calls}: must be at least 1")
    common = store.installed()
    virtual = experiment.clock == "virtual"
    names = [store.point_key(p.spec, common) if virtual else str(i) for i, p in enumerate(points)]
    return [
        Job(i, replace(point.spec, call=call), store.call_key(names[i], call))
        for call in range(experiment.first, experiment.first + experiment.calls)
        for i, point in enumerate(points)
    ]


def collect(
    jobs: Iterable[Job],
    n_workers: int,
    scheduler: str | None = None,
    kept: store.CallStore | None = None,
) -> Iterator[tuple[Job, Rows]]:
    """Runs calls and yields each with its rows as it ends.

    Args:
        jobs: What to run, in this order; asked for the next one when there is a worker for it.
        n_workers: Worker processes of this machine.
        scheduler: Address of a Dask scheduler, to run there instead.
        kept: Where the rows of good calls are kept. Failed ones are not, as what made them fail
            may have been a full disk or want of memory.
    """
    there = connect(n_workers, scheduler)
    try:
        for job, blob in _run(jobs, there):
            rows = decode(blob)
            if kept and rows["call"]["status"] == "ok":
                kept.add(job.key, blob)
            yield job, rows
    except BaseException:
        there.close(at_once=True)
        raise
    there.close()


def _run(jobs: Iterable[Job], there: Workers) -> Iterator[tuple[Job, bytes]]:
    """Each job with its encoded rows, as they come.

    Nobody can tell which call was to blame for a worker's death, and all that were under way die
    with it. Those are run again at the end, each alone, so that only the guilty one is given up.
    """
    fresh, suspects = iter(jobs), deque[Job]()
    deaths: Counter[str] = Counter()
    running: dict[Future[bytes], Job] = {}
    ended: queue.SimpleQueue[Future[bytes]] = queue.SimpleQueue()

    def begin(job: Job) -> None:
        future = there.submit(run_checked, job.spec, job.key)
        running[future] = job
        future.add_done_callback(ended.put)

    while True:
        while len(running) < there.crowd and (job := next(fresh, None)):
            begin(job)
        if not running:
            if not suspects:
                return
            begin(suspects.popleft())
        future = ended.get()
        job = running.pop(future)
        try:
            rows = future.result()
        except there.lost as e:
            deaths[job.key] += 1
            if deaths[job.key] < _TRIES:
                suspects.append(job)
                continue
            reason = str(e).partition("\n")[0]
            rows = lost_call(job.spec, f"the worker process died: {reason}")
        except CancelledError:
            raise UsageError(
                "the Dask cluster has gone; finished calls are kept: run the sweep again"
            ) from None
        except Exception as e:
            rows = lost_call(job.spec, f"{type(e).__name__}: {e}")
        yield job, rows


def run_checked(spec: CallSpec, key: str) -> bytes:
    """Runs one call in this worker and returns its encoded rows.

    Raises:
        Changed: they would be kept under a name that does not say what was run.
    """
    rows = run_rows(spec)
    if spec.virtual and store.key(spec, born()) != key:
        raise Changed(
            "the agent, the data, labkit or its packages are not those that the sweep began with: "
            "run it again, in a new session if need be; Dask workers need the same installation"
        )
    return rows


def tabulate(
    experiment: Experiment,
    points: list[Point],
    jobs: list[Job],
    known: Mapping[str, Rows],
) -> tables.Results:
    """The tables of the calls that are known, in the order of points and calls."""
    terms = {
        "arms": {p.arm: p.spec.agent for p in points},
        "points": [{"arm": p.arm, **p.spec.settings} for p in points],
        "settings": dict(experiment.settings),
        "seed": experiment.seed,
        "n_calls": experiment.calls,
        "n_turns": experiment.turns,
        "clock": experiment.clock,
    }
    provenance = tables.provenance(**json.loads(json.dumps(terms, default=str)))
    return tables.Results(*frames(points, jobs, known), provenance)


def frames(
    points: Sequence[Point], jobs: Iterable[Job], known: Mapping[str, Rows]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of turns and of calls."""
    heads = [{**identity(p.spec, p.arm), **p.swept} for p in points]
    turns: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for job in sorted(jobs, key=lambda j: (j.point, j.spec.call)):
        if job.key in known:
            turns += [{**heads[job.point], **row} for row in known[job.key]["turns"]]
            replay = {"replay": replay_command(job.spec)}
            calls.append({**heads[job.point], **known[job.key]["call"], **replay})
    return pd.DataFrame(turns), pd.DataFrame(calls)
