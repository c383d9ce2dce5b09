"""Runs an experiment: every call of every point, each of them once and for all."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.engine import store
from labkit.engine.calls import work_off
from labkit.engine.encoding import Rows
from labkit.engine.experiment import Experiment
from labkit.engine.progress import Progress
from labkit.engine.workers import n_workers
from labkit.engine.workload import Workload, checked_path

if TYPE_CHECKING:
    import pandas as pd

    from labkit.engine.tables import Results

_SAMPLE = 100


def sweep(
    experiment: Experiment,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    fresh: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Runs an experiment, or as many of its calls as are not known yet.

    Args:
        experiment: What to run.
        workers, scheduler, fresh, out, progress: As of :func:`labkit.engine.run.run`.

    Returns:
        One table of turns and one of calls for all points, with ``arm`` and the swept settings as
        columns. A call that failed is a row of ``calls`` with its error; ``replay`` is the command
        that runs a call again.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: no table was written.
    """

    def terms(work: Workload) -> dict[str, Any]:
        return {
            "arms": {p.arm: p.spec.agent for p in work.points},
            "points": [{"arm": p.arm, **p.spec.settings} for p in work.points],
            "settings": dict(experiment.settings), "seed": experiment.seed,
            "n_calls": experiment.calls, "n_turns": experiment.turns, "clock": experiment.clock,
        }  # fmt: skip

    return carry_out(
        experiment, terms, out, workers=workers, scheduler=scheduler, fresh=fresh, progress=progress
    )


def carry_out(
    experiment: Experiment,
    terms: Callable[[Workload], Mapping[str, Any]],
    out: str | Path | None = None,
    **how: Any,
) -> Results:
    """What a run and a sweep do alike.

    Args:
        experiment: What to run.
        terms: Terms for the provenance; ``n_calls_finished``, of all points, is added.
        out: Where to write the tables.
        **how: For :func:`labkit.engine.calls.work_off`.
    """
    began = time.perf_counter()
    if out is not None:
        checked_path(out)
    work = Workload(experiment)
    interrupted = work_off(work, **how)
    from labkit.engine.provenance import provenance
    from labkit.engine.tables import Results, each_once  # pandas, which has had time to load by now

    turns, calls = work.frames()
    run = {**terms(work), "n_calls_finished": len(calls)}
    if assumed := each_once(calls, "assumed"):
        run["assumed"] = assumed
    results = Results(
        turns,
        calls,
        provenance(**json.loads(json.dumps(run, default=str))),
        wall_s=time.perf_counter() - began,
        interrupted=interrupted,
        n_known=work.n_found,
    )
    if out is not None:
        results.save_if_possible(out)
    return results


def plan(experiment: Experiment, *, workers: int = 0) -> pd.DataFrame:
    """What a sweep would do, without doing it.

    Returns:
        One row per point: ``arm``, the swept settings, ``n_calls``, ``n_turns`` in all,
        ``n_known`` calls that will not be run, and ``expected_s`` of wall time with so many
        workers, from the speed of known calls; NaN if there are none.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: it could not be run.
    """
    import pandas as pd

    crowd, work = n_workers(workers), Workload(experiment)
    with closing(store.CallStore()) as kept:
        if work.virtual:
            work.look_up(kept)
        turn_s = _turn_s(work.known.values() or kept.latest(_SAMPLE))
    known = Counter(job.point for job in work.jobs if job.key in work.known)
    rows, n_calls = [], experiment.calls
    for i, point in enumerate(work.points):
        n_turns = point.spec.n_turns
        left = (n_calls - known[i]) * n_turns
        rows.append({
            "arm": point.arm, **point.swept, "n_calls": n_calls, "n_turns": n_calls * n_turns,
            "n_known": known[i], "expected_s": left * turn_s / crowd if left else 0.0,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _turn_s(calls: Iterable[Rows]) -> float:
    """Median wall seconds per turn; the first call of a worker takes longer."""
    speeds = [c["call"]["wall_s"] / c["call"]["n_turns"] for c in calls if c["call"]["n_turns"]]
    return statistics.median(speeds) if speeds else float("nan")
