"""Runs an experiment: every call of every point, in parallel, each of them once and for all.

A call whose rows are in the store is not run again. Rows are stored the moment a call ends, so a
sweep that is killed loses only the calls in flight, and the next one goes on where it stopped.
"""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from labkit.study import store, tables
from labkit.study.encoding import Rows, decode
from labkit.study.experiment import Experiment, Point
from labkit.study.run import Progress, UsageError, close_pool, identity, lost_call, pool, run_rows
from labkit.tunnel.worker import CallSpec

_TRIES = 3
"""A call whose worker died this often is given up."""


@dataclass(frozen=True)
class _Job:
    point: int
    spec: CallSpec
    key: str


def sweep(
    experiment: Experiment,
    *,
    workers: int = 1,
    fresh: bool = False,
    progress: Progress | None = None,
) -> tables.Results:
    """Runs an experiment, or as much of it as is not known yet.

    Args:
        experiment: What to run.
        workers: Worker processes.
        fresh: Run every call, even those that are known.
        progress: Called with (calls done, calls in all).

    Returns:
        One table of turns and one of calls for all points, with ``arm`` and the swept settings as
        columns. A call that failed is a row of ``calls`` with its error.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: nothing was run.
    """
    began = time.perf_counter()
    if workers < 1:
        raise UsageError(f"workers={workers}: must be at least 1")
    points = experiment.runs()
    virtual = experiment.clock == "virtual"
    jobs = [
        _Job(i, spec, store.key(spec) if virtual else f"{i}-{call}")
        for call in range(experiment.calls)
        for i, point in enumerate(points)
        for spec in [replace(point.spec, call=call)]
    ]
    kept = store.CallStore() if virtual else None
    known = kept.find([j.key for j in jobs]) if kept and not fresh else {}
    missing = list({j.key: j for j in jobs if j.key not in known}.values())
    done = len(jobs) - len(missing)
    interrupted = False
    try:
        for job, blob, final in _run(missing, workers):
            known[job.key] = decode(blob)
            if kept and final:
                kept.add(job.key, blob)
            done += 1
            if progress is not None:
                progress(done, len(jobs))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if kept:
            kept.close()
    results = _tabulate(experiment, points, jobs, known)
    results.wall_s = time.perf_counter() - began
    results.interrupted = interrupted
    return results


def _run(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, bytes, bool]]:
    """Each job with its encoded rows, as they come, and whether these are worth keeping."""
    tries: dict[str, int] = defaultdict(int)
    waiting = jobs
    while waiting:
        executor = pool(workers)
        futures = {executor.submit(run_rows, job.spec): job for job in waiting}
        waiting = []
        try:
            for future in concurrent.futures.as_completed(futures):
                job = futures[future]
                try:
                    yield job, future.result(), True
                except concurrent.futures.BrokenExecutor as e:
                    # one worker died, and all calls that were under way or waiting went with it
                    tries[job.key] += 1
                    if tries[job.key] < _TRIES:
                        waiting.append(job)
                    else:
                        yield job, lost_call(job.spec, f"the worker process died: {e}"), False
        except BaseException:
            close_pool(executor)
            raise


def _tabulate(
    experiment: Experiment,
    points: list[Point],
    jobs: list[_Job],
    known: dict[str, Rows],
) -> tables.Results:
    heads = [{**identity(p.spec, p.arm), **p.swept} for p in points]
    turns: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for job in sorted(jobs, key=lambda j: (j.point, j.spec.call)):
        if job.key in known:
            turns += [{**heads[job.point], **row} for row in known[job.key]["turns"]]
            calls.append({**heads[job.point], **known[job.key]["call"]})
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
    return tables.Results(pd.DataFrame(turns), pd.DataFrame(calls), provenance)
