"""``labkit compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import labkit.cli.console as console
from labkit.engine.experiment import N_CALLS, Experiment
from labkit.errors import UsageError
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    import pandas as pd


def compare(
    agents: Annotated[
        list[str], typer.Argument(help="The baseline first; `AGENT@NAME=VALUE,…` changes settings.")
    ],
    calls: console.Calls = N_CALLS,
    turns: console.Turns = N_TURNS,
    seed: console.Seed = SEED,
    set_: console.Set = None,
    workers: console.Workers = 0,
    scheduler: console.Scheduler = None,
    fresh: console.Fresh = False,
    out_file: console.Out = None,
    worth: Annotated[float, typer.Option(help="Smallest saving worth having, seconds.")] = 0.05,
    max_harm: Annotated[
        float,
        typer.Option(help="Largest rise of premature replies and missed turns accepted, 0 to 1."),
    ] = 0.02,
    json_: console.Json = False,
) -> None:
    """Compare agents on the same callers: savings, harm and a verdict, paired by call."""
    from labkit.engine.sweep import sweep
    from labkit.settings import parse_assignments

    with console.usage():
        if len(agents) < 2:
            raise UsageError("compare needs a baseline and at least one other agent")
        results = sweep(
            Experiment(
                {text: text for text in agents}, settings=parse_assignments(set_ or []),
                calls=calls, turns=turns, seed=seed,
            ),
            workers=workers, scheduler=scheduler, fresh=fresh, out=out_file,
            progress=console.bar(json_),
        )  # fmt: skip
        from labkit.evidence.compare import compare as compare_arms
        from labkit.evidence.verdict import Rules

        if not results.interrupted:  # half a comparison would be none
            arms = results.arms
            rules = Rules(worth_saving_s=worth, max_harm=max_harm)
            table = compare_arms(arms[agents[0]], {k: arms[k] for k in agents[1:]}, rules=rules)
            if json_:
                print(table.to_json(orient="records", indent=2))
            else:
                _print(agents[0], table)
    console.end(results, out_file, json_)


def _print(baseline: str, table: pd.DataFrame) -> None:
    from labkit.evidence.units import ms

    rows = table.to_dict("records")
    columns = ("arm", "p50", "p95", "saved p50", "saved p95", "harm", "verdict")
    shown = console.table(f"compared with {baseline} (ms; 95% CI)", columns, left=("verdict",))
    for r in rows:
        changes = (console.with_ci(r, name) for name in ("saving_p50_s", "saving_p95_s", "harm"))
        shown.add_row(r["arm"], ms(r["p50_s"]), ms(r["p95_s"]), *changes, r["verdict"])
    console.out.print(shown)
    for r in rows:
        more = f" (about {r['more_calls']} more calls would settle it)" if r["more_calls"] else ""
        console.tell(f"{r['arm']}: {r['verdict']}: {r['reason']}{more}")
