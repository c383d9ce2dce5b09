"""``labkit sweep``: agents, or a notebook, over a grid."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import labkit.cli.console as console
from labkit.engine.experiment import N_CALLS, Experiment, load_points, places
from labkit.errors import UsageError, unknown
from labkit.tunnel.agentfile import builtin_agents
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    import pandas as pd

    from labkit.engine.tables import Results
    from labkit.site.notebooks import Notebook


def sweep(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(help="Agents (`AGENT@NAME=VALUE,…`), or one notebook (name or number)."),
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B,…", help="Values of a setting or parameter."),
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help="A TOML file with one [[point]] table per point.")
    ] = None,
    calls: console.Calls = N_CALLS,
    turns: console.Turns = N_TURNS,
    seed: console.Seed = SEED,
    set_: console.Set = None,
    metadata: console.Metadata = None,
    room_metadata: console.RoomMetadata = None,
    attributes: console.Attributes = None,
    env_file: console.EnvFile = None,
    dialogue: console.Dialogue = None,
    workers: console.Workers = 0,
    scheduler: console.Scheduler = None,
    fresh: console.Fresh = False,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Tables of agents (.parquet); folder of a notebook's points."),
    ] = None,
    preset: console.Preset = "default",
    dry_run: Annotated[bool, typer.Option(help="Only list points, turns and time.")] = False,
    json_: console.Json = False,
) -> None:
    """Run agents or a notebook over a grid. Known calls are not run again; kill it at any time."""
    with console.usage():
        axes = _grid(grid or ())
        single = load_points(points) if points else []
        notebook = _notebook(what)
        if notebook is not None:
            if scheduler or fresh:
                raise UsageError(
                    f"{notebook.name}: --{'scheduler' if scheduler else 'fresh'} is for agents; a "
                    "notebook runs on this machine and reuses known calls"
                )
            names = {"calls": "n_calls", "turns": "n_turns", "seed": "seed"}
            chosen = {
                parameter: context.params[name]
                for name, parameter in names.items()
                if str(context.get_parameter_source(name)).endswith("COMMANDLINE")
            }
            of_job = console.of_job(metadata, room_metadata, attributes, env_file)
            fixed = chosen | console.settings(set_, dialogue) | of_job
            wanted = [{**fixed, **place} for place in places(axes, single)]
            to = out_file or Path("reports") / "sweeps"
            _sweep_notebook(notebook, wanted, preset, workers, to, dry_run, json_)
            return
        given = console.settings(set_, dialogue)
        given |= console.of_job(metadata, room_metadata, attributes, env_file)
        experiment = Experiment(
            {text: text for text in what}, axes, single, settings=given,
            calls=calls, turns=turns, seed=seed,
        )  # fmt: skip
        if dry_run:
            _print_plan(experiment, workers, json_)
            return
        from labkit.engine.sweep import sweep as run_all

        results = run_all(
            experiment, workers=workers, scheduler=scheduler, fresh=fresh, out=out_file,
            progress=console.bar(json_),
        )  # fmt: skip
    _print_results(results, experiment.axes, json_)
    console.end(results, out_file, json_)


def _grid(texts: Sequence[str]) -> dict[str, list[str]]:
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        if not sign or not name or not all(v.strip() for v in values.split(",")):
            raise UsageError(f"grid {text!r}: write it as NAME=A,B,…")
        grid[name.strip()] = [v.strip() for v in values.split(",")]
    return grid


def _notebook(what: Sequence[str]) -> Notebook | None:
    """The notebook that is meant, if it is one."""
    names = [text.partition("@")[0].partition(":")[0] for text in what]
    agents = [n for n in names if n.endswith(".py") or n in builtin_agents()]
    if len(agents) == len(names):
        return None
    from labkit.site.notebooks import all_notebooks, find

    (first, *_) = [n for n in names if n not in agents]
    if first.endswith(".ipynb") or first[:1].isdigit():
        if len(what) > 1:
            raise UsageError(f"{', '.join(what)}: sweep a notebook on its own")
        return find(first)
    known = [*builtin_agents(), *(n.name for n in all_notebooks())]
    raise UsageError(unknown("agent or notebook", first, known))


def _print_plan(experiment: Experiment, workers: int, json_: bool) -> None:
    from labkit.engine.sweep import plan

    table = plan(experiment, workers=workers)
    expected_s = float(table["expected_s"].sum(skipna=False))
    if json_:
        known = None if math.isnan(expected_s) else expected_s
        console.print_json({"points": _records(table), "expected_s": known})
        return
    shown = {"n_calls": "calls", "n_turns": "turns", "n_known": "known", "expected_s": "time"}
    _print_points(table, ["arm", *experiment.axes], shown)
    console.tell(
        f"{len(table)} points, {table['n_turns'].sum()} turns, {table['n_known'].sum()} of "
        f"{table['n_calls'].sum()} calls known; {console.duration(expected_s)} to go"
    )


def _print_results(results: Results, axes: Sequence[str], json_: bool) -> None:
    from labkit.evidence.points import by_point

    table = by_point(results, axes)
    if json_:
        console.print_json({
            "points": _records(table), "troubles": _records(results.troubles),
            "digest": results.digest, "n_turns": len(results.turns), "n_calls": len(results.calls),
            "n_known": results.n_known, "wall_s": results.wall_s,
            "interrupted": results.interrupted,
        })  # fmt: skip
        return
    shown = {"p50_s": "p50 ms", "p95_s": "p95 ms", "harm": "harm", "n_turns": "turns"}
    _print_points(table, ["arm", *axes], shown | {"failed_calls": "failed calls"})
    console.tell(
        f"{len(results.turns)} turns in {len(results.calls)} calls; digest {results.digest}"
    )


def _sweep_notebook(
    notebook: Notebook,
    wanted: Sequence[Mapping[str, object]],
    preset: str,
    workers: int,
    to: Path,
    dry_run: bool,
    json_: bool,
) -> None:
    import pandas as pd

    from labkit.site.grid import places_of, sweep_notebook

    found = places_of(notebook, wanted, preset, to)
    if dry_run:
        table = pd.DataFrame([{**p.parameters, "folder": str(p.folder)} for p in found])
    else:
        table = sweep_notebook(
            notebook, found, preset=preset, workers=workers, progress=console.bar(json_)
        )
    names = list(dict.fromkeys(name for place in found for name in place.parameters))
    bad = table[table["status"] != "ok"] if "status" in table else table.head(0)
    where = [", ".join(f"{k}={row[k]}" for k in names) for row in bad.to_dict("records")]
    bad = bad.assign(where=where)
    missing = len(found) - len(table)
    if json_:
        console.print_json({
            "points": _records(table), "failures": _records(bad), "interrupted": missing > 0,
        })  # fmt: skip
    else:
        shown = ("folder",) if dry_run else ("status", "verdict", "page")
        _print_points(table, names, {name: name for name in shown}, bad)
        again = "; interrupted: run the same again, its calls are kept" if missing else ""
        console.tell(f"{len(table)} of {len(found)} points in {to / notebook.name}{again}")
    if missing or len(bad):
        raise typer.Exit(130 if missing else 1)


def _records(table: pd.DataFrame) -> Any:
    """Rows for machines: seconds, proportions, null where something is not known."""
    return json.loads(table.to_json(orient="records"))


def _print_points(
    points: pd.DataFrame,
    names: Sequence[str],
    more: Mapping[str, str],
    bad: pd.DataFrame | None = None,
) -> None:
    """One row per point: what names it, and more columns by their heads; then what failed."""
    heads = {name: name for name in names} | dict(more)
    shown = console.table("", list(heads.values()), left=list(heads.values()))
    for row in points.to_dict("records"):
        shown.add_row(*(_cell(row, name) for name in heads))
    console.out.print(shown)
    for row in bad.to_dict("records") if bad is not None else ():
        console.fail(f"{row['where']} failed: {row['error']}", row["replay"])


def _cell(row: Mapping[Any, Any], name: str) -> str:
    if name in ("p50_s", "p95_s", "harm"):
        return console.with_ci(row, name)
    value = row[name]
    if name == "expected_s":
        return console.duration(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)
