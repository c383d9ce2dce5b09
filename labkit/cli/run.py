"""``labkit run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import labkit.cli.console as console
from labkit.engine.experiment import N_CALLS
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    from labkit.engine.tables import Results


def run(
    agent: Annotated[
        str, typer.Argument(help="A built-in agent, `path.py` or `path.py:object`.")
    ] = "vanilla",
    calls: console.Calls = N_CALLS,
    turns: console.Turns = N_TURNS,
    seed: console.Seed = SEED,
    set_: console.Set = None,
    metadata: console.Metadata = None,
    room_metadata: console.RoomMetadata = None,
    attributes: console.Attributes = None,
    env_file: console.EnvFile = None,
    dialogue: console.Dialogue = None,
    first: Annotated[int, typer.Option(help="Index of the first call, to repeat one call.")] = 0,
    clock: Annotated[str, typer.Option(help="`virtual`, or `wall` for real time.")] = "virtual",
    workers: console.Workers = 0,
    scheduler: console.Scheduler = None,
    fresh: console.Fresh = False,
    out_file: console.Out = None,
    wav: Annotated[
        Path | None,
        typer.Option(help="Write one stereo WAV per call into this folder; runs every call."),
    ] = None,
    json_: console.Json = False,
) -> None:
    """Run one agent against simulated callers and say where the milliseconds go."""
    from labkit.engine.run import run as run_arm

    with console.usage():
        given = console.settings(set_, dialogue)
        given |= console.of_job(metadata, room_metadata, attributes, env_file)
        results = run_arm(
            agent, settings=given, calls=calls, turns=turns, seed=seed,
            first=first, clock=clock, workers=workers, scheduler=scheduler, fresh=fresh,
            out=out_file, tracks=wav, progress=console.bar(json_),
        )  # fmt: skip
    from labkit.evidence.summary import metrics

    found = metrics(results) | {"n_known": results.n_known}
    if json_:
        console.print_json(found)
    else:
        _print(agent, results, found)
    console.end(results, out_file, json_)


def _print(agent: str, results: Results, found: dict[str, Any]) -> None:
    from labkit.evidence.summary import OUTCOMES, unanswered
    from labkit.evidence.units import ms, percent
    from labkit.measure.stages import STAGES

    if not found["answered_rate"] and not found["interrupted_rate"]:
        console.tell(f"{agent}: {unanswered(results)}")
        return
    latency = console.table(f"{agent}: response latency (mouth-to-ear)", ("", "ms", "95% CI"))
    latency.min_width = 52
    for p in (50, 95, 99):
        low, high = found[f"p{p}_ci_s"]
        latency.add_row(f"p{p}", ms(found[f"p{p}_s"]), f"{ms(low)} – {ms(high)}")
    stages = console.table(
        "where it goes (means over answered turns; slack: room to take longer)",
        ("stage", "ms", "slack", "owner", "what it is"),
        left=("owner", "what it is"),
    )
    for name, (owner, meaning) in STAGES.items():
        slack = found["slack_s"].get(name)
        spare = ms(slack) if slack else ""  # none is said of what was waited for in every turn
        length = ms(found["stages_s"].get(name))
        stages.add_row(name.removesuffix("_s"), length, spare, owner, meaning)
    harm = console.table("outcomes", ("outcome", "% of turns", "95% CI"))
    for outcome in OUTCOMES:
        low, high = found[f"{outcome}_rate_ci"] or (None, None)
        rate = percent(found[f"{outcome}_rate"])
        harm.add_row(outcome, rate, f"{percent(low)} – {percent(high)}")
    for table in (latency, stages, harm):
        console.out.print(table)
    if found["fillers"]:
        console.tell(
            f"{found['fillers']} turns began with a filler: time to the first sound "
            f"{ms(found['p50_s'])} ms, to the answer {ms(found['answer_p50_s'])} ms (p50)"
        )
    never = [name for name, n in found["tools"].items() if not n]
    if never:
        console.tell(
            f"tools never called: {', '.join(never)}; a line that asks for one exercises it "
            "(--dialogue)"
        )
    for override in found["overrides"]:
        console.tell(f"set from outside on {Path(agent.partition(':')[0]).name}: {override}")
    for assumed in found["assumed"]:
        console.tell(f"assumed, as no source states it: {assumed}")
    for note in found["notes"]:
        console.tell(note)
    console.tell(
        f"{found['n_turns']} turns in {found['n_calls']} calls; {found['simulated_s']:,.0f} s of "
        f"conversation; largest residual {ms(found['residual_s'])} ms; digest {found['digest']}"
    )
