"""``labkit compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import labkit.cli.console as console
from labkit.engine.experiment import N_CALLS, Experiment
from labkit.engine.workload import checked_path
from labkit.errors import UsageError
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    import pandas as pd

    from labkit.engine.tables import Results


def compare(
    agents: Annotated[
        list[str], typer.Argument(help="The baseline first; `AGENT@NAME=VALUE,…` changes settings.")
    ],
    calls: Annotated[
        int | None,
        typer.Option(help="Calls of each agent; with `--until decided` the most, 160 by default."),
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            help="`calls`, or `decided`: look up to four times and stop when all is decided."
        ),
    ] = "calls",
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
    out_file: console.Out = None,
    worth: Annotated[
        float, typer.Option(help="Smallest mean saving worth having, seconds.")
    ] = 0.05,
    worth_p95: Annotated[
        float, typer.Option(help="Smallest change of the p95 that counts, seconds.")
    ] = 0.2,
    max_harm: Annotated[
        float,
        typer.Option(help="Largest rise of premature replies and missed turns accepted, 0 to 1."),
    ] = 0.02,
    json_: console.Json = False,
) -> None:
    """Compare agents on the same callers, turn by turn: gain, harm and what to do."""
    from labkit.engine.sweep import sweep
    from labkit.evidence.sequential import LIMIT, decide
    from labkit.evidence.verdict import Rules

    def run(experiment: Experiment) -> Results:
        return sweep(experiment, workers=workers, scheduler=scheduler, fresh=fresh,
                     progress=console.bar(json_))  # fmt: skip

    with console.usage():
        if len(agents) < 2:
            raise UsageError("compare needs a baseline and at least one other agent")
        if out_file is not None:
            checked_path(out_file)
        most = LIMIT if until == "decided" else N_CALLS
        given = console.settings(set_, dialogue)
        given |= console.of_job(metadata, room_metadata, attributes, env_file)
        results, table = decide(
            Experiment(
                {text: text for text in agents}, settings=given,
                calls=most if calls is None else calls, turns=turns, seed=seed,
            ),
            agents[0], until=until, run=run,
            rules=Rules(worth_saving_s=worth, max_harm=max_harm, worth_p95_s=worth_p95),
        )  # fmt: skip
        if out_file is not None:
            results.save_if_possible(out_file)
        if not results.interrupted:  # half a comparison would be none
            if json_:
                print(table.to_json(orient="records", indent=2))
            else:
                _print(agents[0], table, results)
    console.end(results, out_file, json_)


def _print(baseline: str, table: pd.DataFrame, results: Results) -> None:
    from labkit.report.verdict_text import table as words
    from labkit.report.verdicts import rows

    columns = ("arm", "saved per turn", "by speaker", "p50", "p95", "harm (points)")
    shown = console.table(f"saved compared with {baseline} (ms; 95% CI)", columns)
    judged = rows(table)
    for arm, row in words(judged).iterrows():
        shown.add_row(str(arm), *(str(cell) for cell in row.iloc[: len(columns) - 1]))
    console.out.print(shown)
    for r in judged.to_dict("records"):
        console.tell(f"{r['arm']}: {r['advice']} ({r['reason']})")
    told = results.provenance
    if told["until"] == "decided":
        end = "decided" if told["decided"] else "not decided"
        console.tell(
            f"{end} after {told['n_calls']} calls of each agent, look {told['looks']} of "
            f"{told['of_looks']}; intervals are those of this look"
        )
