"""The sweep command: agents or a notebook over a grid, as tables for people and for machines."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from labkit.engine.experiment import Experiment, load_points, places
from labkit.engine.run import Progress
from labkit.engine.sweep import plan, sweep
from labkit.errors import UsageError
from labkit.evidence.points import by_point, failures
from labkit.evidence.summary import ms, percent
from labkit.settings import parse_assignments
from labkit.site.grid import points as notebook_points
from labkit.site.grid import sweep_notebook
from labkit.site.notebooks import Notebook, all_notebooks, find
from labkit.tunnel.agentfile import builtin_agents

Bar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Request:
    """What was asked for; the fields are the command's arguments and options."""

    what: Sequence[str]
    grid: Sequence[str] = ()
    points: Path | None = None
    calls: int | None = None
    turns: int | None = None
    seed: int | None = None
    set: Sequence[str] = ()
    workers: int = 0
    scheduler: str | None = None
    out: Path | None = None
    preset: str = "default"
    fresh: bool = False

    @property
    def cores(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))


@dataclass
class Outcome:
    """What is to be said.

    Attributes:
        points: One row per point.
        shown: Which columns a person sees, and their heads.
        failed: One row per failure: ``where``, ``error``, ``replay``.
        facts: Single figures.
        note: A sentence that sums up.
        code: The command's exit code.
    """

    points: pd.DataFrame
    shown: Mapping[str, str]
    note: str
    failed: pd.DataFrame = field(default_factory=pd.DataFrame)
    facts: Mapping[str, Any] = field(default_factory=dict)
    code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For machines: seconds, shares, null where something is not known."""
        points, failed = (
            json.loads(t.to_json(orient="records")) for t in (self.points, self.failed)
        )
        return {"points": points, "failures": failed, **self.facts}

    def table(self) -> Table:
        """For people."""
        table = Table()
        for head in self.shown.values():
            table.add_column(head, overflow="fold")
        for row in self.points.to_dict("records"):
            table.add_row(*(_cell(row, name) for name in self.shown))
        return table

    def complaints(self) -> Iterator[str]:
        """A line per failure, with the command that runs it again."""
        for row in self.failed.to_dict("records"):
            yield f"{row['where']} failed: {row['error']}\n  {row['replay']}"


def carry_out(request: Request, dry_run: bool, bar: Bar) -> Outcome:
    """Does what was asked for.

    Args:
        request: What was asked for.
        dry_run: Only tell what would be done.
        bar: Makes a progress bar with a label.

    Raises:
        UsageError: nothing was run.
    """
    if request.workers < 0:
        raise UsageError(f"workers={request.workers}: must be at least 1, or 0 for one per core")
    grid: dict[str, list[str]] = {}
    for text in request.grid:
        name, sign, values = text.partition("=")
        if not sign or not name or not all(v.strip() for v in values.split(",")):
            raise UsageError(f"grid {text!r}: write it as NAME=A,B,…")
        grid[name.strip()] = [v.strip() for v in values.split(",")]
    single = load_points(request.points) if request.points else []
    notebook = _notebook(request.what)
    if notebook is not None:
        return _sweep_notebook(notebook, request, places(grid, single), dry_run, bar)
    return _sweep_agents(request, grid, single, dry_run, bar)


def _notebook(what: Sequence[str]) -> Notebook | None:
    """The notebook that is meant, if it is one."""
    names = [text.partition("@")[0].partition(":")[0] for text in what]
    agents = [n for n in names if n.endswith(".py") or n in builtin_agents()]
    if len(agents) == len(names):
        return None
    (first, *_) = [n for n in names if n not in agents]
    if first.endswith(".ipynb") or first[:1].isdigit():
        if len(what) > 1:
            raise UsageError(f"{', '.join(what)}: a notebook is swept alone")
        return find(first)
    known = [*builtin_agents(), *(n.name for n in all_notebooks())]
    close = difflib.get_close_matches(first, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"no agent or notebook {first!r}{hint}; there are {', '.join(known)}")


def _sweep_agents(
    request: Request,
    grid: Mapping[str, Sequence[object]],
    single: Sequence[Mapping[str, object]],
    dry_run: bool,
    bar: Bar,
) -> Outcome:
    given: dict[str, Any] = {
        "calls": request.calls, "turns": request.turns, "seed": request.seed,
    }  # fmt: skip
    experiment = Experiment(
        {text: text for text in request.what},
        grid,
        single,
        settings=parse_assignments(list(request.set)),
        **{k: v for k, v in given.items() if v is not None},
    )
    if request.out is not None and request.out.suffix != ".parquet":
        raise UsageError(f"out={request.out}: the name must end in .parquet")
    heads = {"arm": "arm"} | {name: name for name in experiment.axes}
    if dry_run:
        table = plan(experiment, workers=request.cores)
        expected = float(table["expected_s"].sum(skipna=False))
        shown = {"n_calls": "calls", "n_turns": "turns", "n_known": "known", "expected_s": "time"}
        note = f"{len(table)} points, {table['n_turns'].sum()} turns, {table['n_known'].sum()} of "
        note += f"{table['n_calls'].sum()} calls known; {_duration(expected)} to go"
        return Outcome(table, heads | shown, note, facts={"expected_s": _plain(expected)})
    with bar("calls") as progress:
        results = sweep(
            experiment,
            workers=request.cores,
            scheduler=request.scheduler,
            fresh=request.fresh,
            progress=progress,
        )
    if request.out is not None:
        results.save(request.out)
    table, bad = by_point(results, experiment.axes), failures(results)
    bad.insert(0, "where", [f"{r.arm} call {r.call}" for r in bad.itertuples()])
    shown = {"p50": "p50 ms", "p95": "p95 ms", "harm": "harm", "n_turns": "turns"}
    shown |= {"failed_calls": "failed calls"}
    note = f"{len(results.turns)} turns in {len(results.calls)} calls, {results.wall_s:.1f} s; "
    note += f"digest {results.digest}" + (f"; tables: {request.out}" if request.out else "")
    if results.interrupted:
        note += "; interrupted: the same command goes on from here"
    facts = {
        "digest": results.digest, "n_turns": len(results.turns), "n_calls": len(results.calls),
        "wall_s": results.wall_s, "interrupted": results.interrupted,
    }  # fmt: skip
    code = 130 if results.interrupted else int(len(bad) > 0)
    return Outcome(table, heads | shown, note, bad, facts, code)


def _sweep_notebook(
    notebook: Notebook,
    request: Request,
    wanted: Sequence[Mapping[str, object]],
    dry_run: bool,
    bar: Bar,
) -> Outcome:
    own = {"n_calls": request.calls, "n_turns": request.turns, "seed": request.seed}
    fixed = {k: v for k, v in own.items() if v is not None} | parse_assignments(list(request.set))
    to = request.out or Path("reports") / "sweeps"
    points = notebook_points(notebook, [{**fixed, **p} for p in wanted], request.preset, to)
    heads = {name: name for point in points for name in point.place}
    if dry_run:
        known = [point.known for point in points]
        each = pd.Series([k["wall_s"] for k in known if k], dtype=float).median()
        expected = float(each) * known.count(None) if any(known) else math.nan
        table = pd.DataFrame([
            {**p.place, "n_turns": p.arm_turns, "known": k is not None,
             "expected_s": 0.0 if k else each}
            for p, k in zip(points, known, strict=True)
        ])  # fmt: skip
        note = f"{len(points)} points, {len(points) - known.count(None)} known; "
        note += f"{_duration(expected)} to go"
        shown = heads | {"n_turns": "turns per arm", "known": "known", "expected_s": "time"}
        return Outcome(table, shown, note, facts={"expected_s": _plain(expected)})
    with bar(notebook.name) as progress:
        table = sweep_notebook(
            notebook, points, preset=request.preset, workers=request.workers,
            scheduler=request.scheduler, fresh=request.fresh, progress=progress,
        )  # fmt: skip
    bad = table[table["status"] != "ok"] if len(table) else table
    where = [", ".join(f"{k}={row[k]}" for k in heads) for row in bad.to_dict("records")]
    shown = heads | {"status": "status", "verdict": "verdict", "page": "page"}
    missing = len(points) - len(table)
    note = f"{len(table)} of {len(points)} points in {to / notebook.name}"
    note += "; interrupted: the same command goes on from here" if missing else ""
    code = 130 if missing else int(len(bad) > 0)
    return Outcome(table, shown, note, bad.assign(where=where), {"interrupted": missing > 0}, code)


def _cell(row: Mapping[Any, Any], name: str) -> str:
    if name in ("p50", "p95"):
        return _interval(*(ms(row[f"{name}{end}_s"]) for end in ("", "_low", "_high")))
    if name == "harm":
        return _interval(*(percent(row[f"harm{end}"]) for end in ("", "_low", "_high")))
    value = row[name]
    if name == "expected_s":
        return _duration(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _interval(value: str, low: str, high: str) -> str:
    return f"{value} [{low}–{high}]" if value != "–" else value


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
