"""The calls of an experiment, and the rows of those that are known: what every run works off."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.engine import store
from labkit.engine.encoding import Rows
from labkit.engine.experiment import Experiment, Point
from labkit.errors import UsageError
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.spec import CallSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Job:
    """One call: the index of its point, what it runs, and the key of its rows in the store."""

    point: int
    spec: CallSpec
    key: str


class Workload:
    """Every call of an experiment, the first of all points before the second of any.

    Attributes:
        experiment: What is run.
        points: Its points, checked.
        jobs: Its calls, in the order in which they are run.
        known: The rows of the calls that are known so far, by key.
        n_found: How many of the jobs :meth:`look_up` found in the store.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: something in it cannot be used.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.points = experiment.runs()
        self.virtual = experiment.clock == "virtual"
        common = store.installed() if self.virtual else ""
        keys = [
            store.point_key(p.spec, common) if self.virtual else str(i)
            for i, p in enumerate(self.points)
        ]
        self.jobs = [
            Job(i, replace(point.spec, call=call), store.call_key(keys[i], call))
            for call in range(experiment.first, experiment.first + experiment.calls)
            for i, point in enumerate(self.points)
        ]
        self.known: dict[str, Rows] = {}
        self.n_found = 0

    def look_up(self, kept: store.CallStore) -> None:
        """Takes from the store what it has."""
        self.known |= kept.find(job.key for job in self.jobs)
        self.n_found = sum(job.key in self.known for job in self.jobs)

    @property
    def missing(self) -> list[Job]:
        """The jobs that have no rows yet, of equal ones the last."""
        return list({j.key: j for j in self.jobs if j.key not in self.known}.values())

    def finished(self, point: int) -> set[int]:
        """The calls of a point that are known."""
        return {j.spec.call for j in self.jobs if j.point == point and j.key in self.known}

    def frames(
        self, points: Container[int] | None = None, calls: Container[int] | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The tables of turns and of calls, in order: all, or some points and calls by index."""
        import pandas as pd

        from labkit.measure.timeline import call_row
        from labkit.tunnel.record import CallRecord

        heads = [{**_identity(p), **p.swept} for p in self.points]
        turn_rows: list[dict[str, Any]] = []
        call_rows: list[dict[str, Any]] = []
        for job in sorted(self.jobs, key=lambda j: (j.point, j.spec.call)):
            if job.key not in self.known or (points is not None and job.point not in points):
                continue
            if calls is None or job.spec.call in calls:
                head, rows = heads[job.point], self.known[job.key]
                turn_rows += [{**head, **row} for row in rows["turns"]]
                call_rows.append({**head, **rows["call"], "replay": _replay_command(job.spec)})
        # a table of no calls has columns, too: a run may be interrupted before the first has ended
        columns = None if call_rows else [*heads[0], *call_row(CallRecord.lost(0, 0, "")), "replay"]
        return pd.DataFrame(turn_rows), pd.DataFrame(call_rows, columns=columns)


def _identity(point: Point) -> dict[str, Any]:
    """The first columns of every table: enough to run a call again.

    ``experiment_id`` names what was run: the agent's code, the settings and the clock.
    """
    spec = point.spec
    path, wanted = find_agent(spec.agent)
    code = hashlib.sha256(path.read_bytes()).hexdigest()
    terms = [code, wanted, spec.settings, spec.n_turns, spec.virtual]
    text = json.dumps(terms, sort_keys=True, default=str)
    return {
        "experiment_id": hashlib.sha256(text.encode()).hexdigest()[:8],
        "arm": point.arm,
        "agent": spec.agent,
        "settings": json.dumps(spec.settings, sort_keys=True),
        "turns_asked": spec.n_turns,
        "clock": "virtual" if spec.virtual else "wall",
    }


def _replay_command(spec: CallSpec) -> str:
    """What to type to run a call again, alone."""
    words = ["labkit", "run", spec.agent]
    for name, value in spec.settings.items():
        words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    words += f"--turns {spec.n_turns} --seed {spec.seed} --first {spec.call} --calls 1".split()
    return shlex.join([*words, "--fresh", *([] if spec.virtual else ["--clock", "wall"])])


def checked_path(out: str | Path) -> Path:
    """Where tables are to be written.

    Raises:
        UsageError: the name does not end in ``.parquet``.
    """
    if Path(out).suffix != ".parquet":
        raise UsageError(f"out={out}: the name must end in .parquet")
    return Path(out)
