"""The command line. Thin: each command checks its words, calls the library and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="labkit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A wind tunnel for LiveKit voice agents: real agents, emulated providers, virtual time.",
)
out = Console()
err = Console(stderr=True)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; see `labkit config`."),
]
Workers = Annotated[int, typer.Option(help="Worker processes.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@contextmanager
def _usage() -> Iterator[None]:
    """Turns a usage error into one clear line and exit code 2, a notebook that stopped into 1."""
    from labkit.errors import UsageError
    from labkit.site.notebooks import NotebookFailed

    try:
        yield
    except UsageError as e:
        err.print(f"labkit: {e}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1 if isinstance(e, NotebookFailed) else 2) from None


@contextmanager
def _progress(label: str, quiet: bool) -> Iterator[Any]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    hidden = quiet or not err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task(label, total=None)

        def tell(done: int, total: int) -> None:
            if bar.tasks[0].total is None:  # what is known already says nothing of the speed
                bar.reset(task, completed=done, total=total)
            bar.update(task, completed=done, total=total)

        yield tell


@app.command()
def run(
    agent: Annotated[
        str, typer.Argument(help="A built-in agent, `path.py` or `path.py:object`.")
    ] = "vanilla",
    calls: Annotated[int, typer.Option(help="How many calls.")] = 20,
    turns: Annotated[int, typer.Option(help="Caller turns in each call.")] = 5,
    seed: Seed = 7,
    set_: Set = None,
    first: Annotated[int, typer.Option(help="Index of the first call, to repeat one.")] = 0,
    clock: Annotated[str, typer.Option(help="`virtual`, or `wall` for the speed of life.")] = (
        "virtual"
    ),
    workers: Workers = 1,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the turns here (.parquet).")
    ] = None,
    wav: Annotated[
        Path | None, typer.Option(help="Write one stereo WAV per call into this folder.")
    ] = None,
    json_: Json = False,
) -> None:
    """Run one agent against simulated callers and say where the milliseconds go."""
    from labkit.engine.run import run as run_arm
    from labkit.evidence.summary import figures
    from labkit.settings import parse_assignments

    with _usage(), _progress(f"calls to {agent}", json_) as progress:
        results = run_arm(
            agent,
            calls=calls,
            turns=turns,
            seed=seed,
            settings=parse_assignments(set_ or []),
            clock=clock,
            workers=workers,
            out=out_file,
            tracks=wav,
            first=first,
            progress=progress,
        )
    found = figures(results)
    if json_:
        print(json.dumps(found, indent=2))
    else:
        _print_run(agent, results, found)
    if out_file is not None and not json_:
        out.print(f"turns, calls and provenance: {out_file}")
    if results.interrupted:
        err.print(f"interrupted after {found['n_calls']} finished calls", style="yellow")
        raise typer.Exit(130)
    if found["failed_calls"]:
        raise typer.Exit(1)


def _print_run(agent: str, results: Any, found: dict[str, Any]) -> None:
    from labkit.evidence.summary import OUTCOMES, ms, percent
    from labkit.measure.timeline import STAGES

    for _, call in results.calls[results.calls["status"] != "ok"].iterrows():
        err.print(f"call {call['call']} failed: {call['error']}", style="red", markup=False)
    latency = Table(
        title=f"{agent}: response latency at the caller's ear",
        title_justify="left",
        min_width=52,
    )
    for name in ("", "ms", "95% interval"):
        latency.add_column(name, justify="left" if not name else "right")
    for p in (50, 95, 99):
        low, high = found[f"p{p}_ci_s"]
        latency.add_row(f"p{p}", ms(found[f"p{p}_s"]), f"{ms(low)} – {ms(high)}")
    stages = Table(title="where it goes (mean over answered turns)", title_justify="left")
    for name in ("stage", "ms", "owner", "what it is"):
        stages.add_column(name, justify="right" if name == "ms" else "left")
    for name, (owner, meaning) in STAGES.items():
        stages.add_row(name.removesuffix("_s"), ms(found["stages_s"].get(name)), owner, meaning)
    harm = Table(title="outcomes", title_justify="left")
    for name in ("outcome", "share", "95% interval"):
        harm.add_column(name, justify="left" if name == "outcome" else "right")
    for outcome in OUTCOMES:
        low, high = found[f"{outcome}_rate_ci"] or (None, None)
        harm.add_row(
            outcome, percent(found[f"{outcome}_rate"]), f"{percent(low)} – {percent(high)}"
        )
    for table in (latency, stages, harm):
        out.print(table)
    out.print(
        f"{found['n_turns']} turns in {found['n_calls']} calls; {found['simulated_s']:,.0f} s of "
        f"conversation in {found['wall_s']:.1f} s; largest residual "
        f"{ms(found['residual_s'])} ms; digest {found['digest']}",
        highlight=False,
    )
    first = results.calls.iloc[0] if len(results.calls) else None
    if first is not None and first.get("overrides"):
        out.print(f"set from outside the agent file: {first['overrides']}", highlight=False)


@app.command()
def compare(
    agents: Annotated[
        list[str], typer.Argument(help="The baseline first; `AGENT@NAME=VALUE,…` changes settings.")
    ],
    calls: Annotated[int, typer.Option(help="How many calls each.")] = 40,
    turns: Annotated[int, typer.Option(help="Caller turns in each call.")] = 5,
    seed: Seed = 7,
    set_: Set = None,
    workers: Workers = 1,
    worth: Annotated[float, typer.Option(help="Smallest saving worth having, seconds.")] = 0.05,
    max_harm: Annotated[
        float, typer.Option(help="Largest rise of cut-ins and missed turns accepted, a share.")
    ] = 0.02,
    json_: Json = False,
) -> None:
    """Compare agents that hear the same callers: savings, harm and a verdict, paired by call."""
    from labkit.engine.experiment import Experiment
    from labkit.engine.sweep import sweep as run_all
    from labkit.errors import UsageError
    from labkit.evidence.compare import compare as compare_arms
    from labkit.evidence.verdict import Rules
    from labkit.settings import parse_assignments

    with _usage():
        if len(agents) < 2:
            raise UsageError("compare needs a baseline and at least one other agent")
        experiment = Experiment(
            {text: text for text in agents},
            settings=parse_assignments(set_ or []),
            calls=calls,
            turns=turns,
            seed=seed,
        )
        with _progress("calls", json_) as progress:
            arms = run_all(experiment, workers=workers, progress=progress).arms
        rules = Rules(worth_saving_s=worth, max_harm=max_harm)
        table = compare_arms(arms[agents[0]], {k: arms[k] for k in agents[1:]}, rules=rules)
    if json_:
        print(table.to_json(orient="records", indent=2))
    else:
        _print_comparison(agents[0], table)


def _print_comparison(baseline: str, table: Any) -> None:
    from labkit.evidence.summary import ms, percent

    shown = Table(title=f"against {baseline} (ms; 95% intervals)", title_justify="left")
    for name in ("arm", "p50", "p95", "saved p50", "saved p95", "harm", "verdict"):
        left = name in ("arm", "verdict")
        shown.add_column(name, justify="left" if left else "right", overflow="fold")
    for _, r in table.iterrows():
        shown.add_row(
            r["arm"],
            ms(r["p50_s"]),
            ms(r["p95_s"]),
            f"{ms(r['saving_p50_s'])} ({ms(r['saving_p50_low_s'])} – {ms(r['saving_p50_high_s'])})",
            f"{ms(r['saving_p95_s'])} ({ms(r['saving_p95_low_s'])} – {ms(r['saving_p95_high_s'])})",
            f"{percent(r['harm'])} ({percent(r['harm_low'])} – {percent(r['harm_high'])})",
            r["verdict"],
        )
    out.print(shown)
    for _, r in table.iterrows():
        more = f" (some {r['more_calls']} more calls would tell)" if r["more_calls"] else ""
        out.print(f"{r['arm']}: {r['verdict']}: {r['reason']}{more}", highlight=False, markup=False)


@app.command()
def sweep(
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
    calls: Annotated[int | None, typer.Option(help="Calls at each point; 20.")] = None,
    turns: Annotated[int | None, typer.Option(help="Caller turns in each call; 5.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it; 7.")] = None,
    set_: Set = None,
    workers: Annotated[int, typer.Option(help="Worker processes; 0: one per core.")] = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="Run on a Dask cluster: tcp://HOST:PORT of its scheduler.")
    ] = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", help="Tables of agents (.parquet); folder of a notebook's points."),
    ] = None,
    preset: Annotated[str, typer.Option(help="A notebook's preset.")] = "default",
    fresh: Annotated[bool, typer.Option(help="Run what is known already, too.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only list points, turns and time.")] = False,
    json_: Json = False,
) -> None:
    """Run agents or a notebook over a grid. What is known is not run again; kill it at any time."""
    from labkit.site.sweeping import Request, carry_out

    request = Request(
        tuple(what), tuple(grid or ()), points, calls, turns, seed, tuple(set_ or ()), workers,
        scheduler, out_, preset, fresh,
    )  # fmt: skip
    with _usage():
        outcome = carry_out(request, dry_run, lambda label: _progress(label, json_))
    if json_:
        print(json.dumps(outcome.as_dict(), indent=2))
    else:
        out.print(outcome.table())
        for line in outcome.complaints():
            err.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        out.print(outcome.note, highlight=False, soft_wrap=True)
    if outcome.code:
        raise typer.Exit(outcome.code)


@app.command()
def config(
    name: Annotated[str | None, typer.Argument(help="Only names that contain this.")] = None,
    json_: Json = False,
) -> None:
    """List every setting: its unit, default, meaning and source."""
    from labkit.settings import FAMILIES, SETTINGS, SettingError, Settings

    chosen = [s for s in SETTINGS.values() if name is None or name in s.name]
    with _usage():
        if not chosen:
            Settings({str(name): ""})
            raise SettingError(f"no setting contains {name!r}")
    if json_:
        print(json.dumps([s.row() for s in chosen], indent=2))
        return
    table = Table(show_lines=False)
    for column in ("setting", "default", "allowed", "meaning", "source"):
        table.add_column(column, overflow="fold")
    for s in chosen:
        default = "agent's" if s.default is None else str(s.default)
        table.add_row(s.name, default, s.allowed, s.help, s.source)
    out.print(table)
    for family, meaning in FAMILIES.items():
        out.print(f"{family}: {meaning}", highlight=False, markup=False)


@app.command()
def doctor(json_: Json = False) -> None:
    """Tell what is installed, what is missing, and which keys are set (never their values)."""
    from labkit.doctor import examine

    found = examine()
    if json_:
        print(json.dumps(found, indent=2))
    else:
        table = Table(show_header=False)
        for group, rows in found.items():
            if group == "problems":
                continue
            table.add_section()
            for key, value in rows.items():
                table.add_row(group, key, str(value))
        out.print(table)
        for problem in found["problems"]:
            err.print(problem, style="red", markup=False)
        if not found["problems"]:
            out.print("all good", style="green")
    if found["problems"]:
        raise typer.Exit(1)


@app.command()
def serve(
    profile: Annotated[
        Path | None, typer.Option(help="A TOML file laid over the provider profiles.")
    ] = None,
    port: Annotated[int, typer.Option(help="First port; one per provider follows. 0: any.")] = 8800,
    key: Annotated[
        str | None, typer.Option(help="Accept only this API key; any key by default.")
    ] = None,
) -> None:
    """Serve the emulated providers on loopback, on the wall clock, for any other client."""
    from labkit.tunnel.serve import serve as run_server

    with _usage():
        run_server(
            str(profile) if profile else None,
            port,
            key,
            lambda text: out.print(text, highlight=False, soft_wrap=True),
        )


@app.command()
def notebook(
    name: Annotated[str, typer.Argument(help="Such as `00_anatomy_of_a_turn` or just `00`.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Change a parameter."),
    ] = None,
    preset: Annotated[str, typer.Option(help="`smoke`, `default` or `full`.")] = "default",
    workers: Annotated[int, typer.Option(help="Worker processes; 0: one per core.")] = 0,
    to: Annotated[Path, typer.Option(help="Where the executed copy and HTML go.")] = Path(
        "reports"
    ),
) -> None:
    """Run one notebook through papermill: executed copy, figures and an HTML page."""
    from labkit.site.notebooks import run_notebook

    with _usage():
        page = run_notebook(name, parameter or [], to=to, preset=preset, workers=workers)
    out.print(f"{page}", highlight=False)


@app.command()
def report(
    only: Annotated[
        list[str] | None, typer.Option(help="Only these notebooks (name or number).")
    ] = None,
    preset: Annotated[str, typer.Option(help="`smoke`, `default` or `full`.")] = "default",
    to: Annotated[Path, typer.Option(help="Where the site goes.")] = Path("reports"),
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Run the notebooks, regenerate every figure, and build the HTML report."""
    from labkit.site.site import build

    with _usage():
        index = build(only or [], preset=preset, to=to, say=lambda text: err.print(text))
    out.print(f"report: {index}", highlight=False)
    if open_:
        typer.launch(index.resolve().as_uri())


def main() -> None:
    """The console script."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
