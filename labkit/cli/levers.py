"""``labkit levers``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import labkit.cli.console as console
from labkit.engine.experiment import N_CALLS_OF_MANY
from labkit.errors import UsageError
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    import pandas as pd

    from labkit.evidence.levers import Levers


def levers(
    agent: Annotated[
        str, typer.Argument(help="A built-in agent, `path.py` or `path.py:object`.")
    ] = "vanilla",
    calls: Annotated[
        int, typer.Option(help="Calls for each lever, the same for all.")
    ] = N_CALLS_OF_MANY,
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
    out_file: console.Out = None,
    chart: Annotated[Path | None, typer.Option(help="Draw the ranking here (.png).")] = None,
    json_: console.Json = False,
) -> None:
    """Measure which lever buys how many milliseconds, at what harm and price, and how to move it.

    The same calls are run again with one thing moved at a time: each setting to another value, each
    provider's parameter halved, each link next door, the agent's own hooks and tools instant.
    """
    from labkit.evidence.levers import levers as measure

    with console.usage():
        if chart is not None and chart.suffix != ".png":
            raise UsageError(f"chart={chart}: the name must end in .png")
        given = console.settings(set_, dialogue)
        given |= console.of_job(metadata, room_metadata, attributes, env_file)
        found = measure(
            agent, calls=calls, turns=turns, seed=seed, settings=given,
            workers=workers, scheduler=scheduler, out=out_file, progress=console.bar(json_),
        )  # fmt: skip
    if json_:
        console.print_json({
            "levers": _records(found.table), "interactions": _records(found.interactions),
            "skipped": _records(found.skipped), "digest": found.results.digest,
            "n_turns": len(found.results.turns), "n_calls": len(found.results.calls),
            "n_known": found.results.n_known, "interrupted": found.results.interrupted,
        })  # fmt: skip
    else:
        _print(agent, found)
    if chart is not None and len(found.table):
        _draw(found.table, chart)
        if not json_:
            console.tell(f"chart: {chart}")
    console.end(found.results, out_file, json_)


def _records(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="records"))


def _print(agent: str, found: Levers) -> None:
    from labkit.report.levers import in_100, price_text

    columns = ("lever", "moved", "ms bought [95% CI]", "harm", "false endpoints", "price")
    shown = console.table(
        f"{agent}: what each lever buys per turn, all else equal", columns, left=("moved",)
    )
    rows = found.table.to_dict("records")
    for r in rows:
        bought = console.with_ci(r, "saving_s")
        harm = map(in_100, (r["harm"], r["n_false_endpoints"]))
        shown.add_row(r["lever"], r["moved"], bought, *harm, price_text(r["usd"]))
    console.out.print(shown)
    console.tell("order: what each saves at least, the lower end of its CI")
    console.tell("harm: change of turns with a premature or no reply, in 100 turns")
    console.tell("false endpoints: change in 100 turns; price: US dollars more for 1,000 turns")
    if len(found.interactions):
        pairs = console.table(
            "the best two at a time: what they save together less the sum of each alone",
            ("first", "second", "ms [95% CI]"), left=("second",),
        )  # fmt: skip
        for r in found.interactions.to_dict("records"):
            pairs.add_row(r["first"], r["second"], console.with_ci(r, "interaction_s"))
        console.out.print(pairs)
    for r in rows:
        if r["saving_low_s"] > 0:
            console.tell(f"{r['lever']}: {r['code'] or r['how']}")
    for r in found.skipped.to_dict("records"):
        console.tell(f"not moved: {r['lever']}: {r['reason']}")


def _draw(table: pd.DataFrame, path: Path) -> None:
    from labkit.report.levers import ranked
    from labkit.report.palette import figure_of, use_style

    use_style()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure_of(ranked(table).drawing).savefig(path, metadata={"Software": None})
