"""``labkit eot``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import labkit.cli.console as console
from labkit.engine.experiment import N_CALLS_UNANSWERED
from labkit.errors import UsageError
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    import pandas as pd

    from labkit.evidence.eot import Eot

_SHOWN = 40
"""Policies of a grid of one's own that are printed."""


def eot(
    calls: Annotated[
        int, typer.Option(help="Calls whose turns are taken; none is run.")
    ] = N_CALLS_UNANSWERED,
    turns: console.Turns = N_TURNS,
    seed: console.Seed = SEED,
    set_: console.Set = None,
    recordings: Annotated[
        Path | None,
        typer.Option(help="Your own instead: a folder of WAVs and a CSV (file,end_s,pauses_s)."),
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Thresholds, such as 0.3,0.36; 0 to 1 by 0.01 by default.")
    ] = None,
    action_delay: Annotated[
        str | None, typer.Option(help="Action delays, seconds; 0.2 to 1.0 by 0.1 by default.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Timeouts, seconds; 1.0 to 3.5 by 0.5 by default.")
    ] = None,
    early: Annotated[
        bool, typer.Option("--early", help="Also ask the detector 0.2 s after the last sound.")
    ] = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the marked silences here (.parquet).")
    ] = None,
    json_: console.Json = False,
) -> None:
    """Sweep the published end-of-turn policies: false cut-offs and latency, beside what was found.

    At each silence a policy acts once it has lasted the action delay and the local detector's score
    is at or over the threshold, or when it reaches the timeout.
    """
    from labkit.evidence import eot_policy
    from labkit.evidence.eot import eot as measure
    from labkit.settings import parse_assignments

    with console.usage():
        found = measure(
            calls=calls, turns=turns, seed=seed, settings=parse_assignments(set_ or []),
            recordings=recordings, early=early, out=out_file, progress=console.bar(json_),
            thresholds=_numbers("threshold", threshold, eot_policy.THRESHOLDS),
            action_delays_s=_numbers("action-delay", action_delay, eot_policy.ACTION_DELAYS_S),
            timeouts_s=_numbers("timeout", timeout, eot_policy.TIMEOUTS_S),
        )  # fmt: skip
    own_grid = any(x is not None for x in (threshold, action_delay, timeout))
    if json_:
        console.print_json(_record(found))
    else:
        _print(found, own_grid)
    if out_file is not None and not found.results.unsaved and not json_:
        console.tell(f"silences, calls and provenance: {out_file}")
    if found.results.unsaved:
        raise typer.Exit(1)


def _numbers(name: str, text: str | None, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """Reads ``0.3,0.36``."""
    if text is None:
        return otherwise
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{name}={text}: expected numbers, such as 0.3,0.36") from None


def _record(found: Eot) -> dict[str, Any]:
    from labkit.evidence.eot_comparison import moments, speakers
    from labkit.evidence.eot_policy import auc, counted

    pauses, ends = counted(found.silences)

    def rows(table: Any) -> Any:
        return json.loads(table.to_json(orient="records"))

    return {
        "comparison": rows(found.comparison), "sweep": rows(found.sweep),
        "speakers": rows(speakers(found.silences, 0.36)), "moments": rows(moments(found.silences)),
        "auc": auc(ends["score"], pauses["score"]), "n_ends": len(ends), "n_pauses": len(pauses),
        "n_turns": len(ends), "digest": found.results.digest, "wall_s": found.results.wall_s,
    }  # fmt: skip


def _print(found: Eot, own_grid: bool) -> None:
    from labkit.evidence import eot_bench
    from labkit.evidence.eot_policy import auc, counted
    from labkit.report.eot import COLUMNS, comparison_rows

    bench = eot_bench.load()
    for detector, own in found.comparison.groupby("detector", sort=False):
        title = f"{bench[str(detector)].name}: published ({bench.date}) and here"
        table = console.table(title, COLUMNS, left=COLUMNS[:2])
        for row in comparison_rows(own):
            table.add_row(*row)
        console.out.print(table)
    if own_grid:
        _print_grid(found.sweep[found.sweep["detector"] == eot_bench.LOCAL])
    pauses, ends = counted(found.silences)
    area = auc(ends["score"], pauses["score"])
    console.tell(
        f"{len(ends)} ends, {len(pauses)} mid-turn silences of 0.2 to 5 s, "
        f"{found.silences['voice'].nunique()} speakers (published: {bench.n_ends} and "
        f"{bench.n_pauses}); area under the curve {area:.3f}; {found.results.wall_s:.1f} s; "
        f"digest {found.results.digest}"
    )


def _print_grid(swept: pd.DataFrame) -> None:
    from labkit.evidence.eot_comparison import named
    from labkit.evidence.eot_policy import KNOBS, Policy
    from labkit.evidence.units import ms, percent

    columns = ("threshold / delay / timeout", "false cut-offs", "latency (ms)", "ends detected")
    grid = console.table("the policies asked for", columns)
    for r in swept.head(_SHOWN).to_dict("records"):
        shown = percent(r["false_cutoffs"]), ms(r["latency_s"]), percent(r["ends_detected"])
        grid.add_row(named(Policy(*(r[k] for k in KNOBS))), *shown)
    console.out.print(grid)
    if len(swept) > _SHOWN:
        console.tell(f"{len(swept) - _SHOWN} more policies: --json has them all")
