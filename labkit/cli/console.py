"""What the commands share: options, printing, exit codes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from labkit.errors import UsageError

if TYPE_CHECKING:
    from labkit.engine.progress import Progress
    from labkit.engine.tables import Results

out = Console()
err = Console(stderr=True)

Calls = Annotated[int, typer.Option(help="Number of calls; in a sweep, at each point of each arm.")]
Turns = Annotated[int, typer.Option(help="Caller turns in each call.")]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; see `labkit config`."),
]
Metadata = Annotated[
    str | None,
    typer.Option(metavar="JSON|TEXT", help="The job's metadata (`job.metadata`), for the agent."),
]
RoomMetadata = Annotated[
    str | None,
    typer.Option(metavar="JSON|TEXT", help="The room's metadata (`job.room_metadata`)."),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="An attribute of the caller in the room, such as `sip.phoneNumber=+15550100`.",
    ),
]
EnvFile = Annotated[
    Path | None, typer.Option(help="Variables for the agent's environment (`job.env_file`).")
]
Dialogue = Annotated[
    str | None,
    typer.Option(
        help="Your own lines for the callers: a .toml, or a .txt with one line per turn; all of "
        "them are said unless fewer turns are asked for."
    ),
]
Workers = Annotated[int, typer.Option(help="Worker processes; 0: one per core.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Run on a Dask cluster: tcp://HOST:PORT of its scheduler.")
]
Fresh = Annotated[bool, typer.Option(help="Rerun all calls, known ones too.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the turns here (.parquet).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Preset = Annotated[str, typer.Option(help="`smoke`, `default` or `full`.")]


@contextmanager
def usage() -> Iterator[None]:
    """Turns a usage error into one clear line and its exit code."""
    try:
        yield
    except UsageError as e:
        err.print(f"labkit: {e}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(e.exit_code) from None


def of_job(
    metadata: str | None,
    room_metadata: str | None,
    attributes: Sequence[str] | None,
    env_file: Path | None,
) -> dict[str, str]:
    """The settings that ``--metadata`` and the options beside it stand for.

    Raises:
        UsageError: an attribute without an equals sign.
    """
    given: dict[str, str] = {}
    for pair in attributes or ():
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--attributes {pair!r}: write it as NAME=VALUE")
        given[f"participant.attributes.{name.strip()}"] = value
    named = {"job.metadata": metadata, "job.room_metadata": room_metadata, "job.env_file": env_file}
    return given | {name: str(value) for name, value in named.items() if value is not None}


def settings(set_: list[str] | None, dialogue: str | None = None) -> dict[str, Any]:
    """What ``--set`` and ``--dialogue`` choose.

    Raises:
        SettingError: an assignment without an equals sign.
    """
    from labkit.settings import parse_assignments

    chosen: dict[str, Any] = {**parse_assignments(set_ or [])}
    return chosen if dialogue is None else chosen | {"caller.dialogue": dialogue}


def bar(json_: bool) -> Progress | None:
    """A progress bar for people, silence for machines."""
    from labkit.engine.progress import quiet

    return quiet if json_ else None


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def table(title: str, columns: Sequence[str], left: Sequence[str] = ()) -> Table:
    """An empty table of figures; the first column and those in ``left`` hold words."""
    made = Table(title=title or None, title_justify="left")
    for name in columns:
        words = name == columns[0] or name in left
        made.add_column(name, justify="left" if words else "right", overflow="fold")
    return made


def tell(text: str) -> None:
    """A line for people."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def end(results: Results, out_file: Path | None, json_: bool) -> None:
    """Says how many calls were known and where the tables are; exits if any call failed."""
    if not json_:
        known = f"{results.n_known} of {len(results.calls)} calls were already known"
        tell(f"{known}; {results.wall_s:.1f} s")
        if out_file is not None and not results.unsaved:
            tell(f"turns, calls and provenance: {out_file}")
    troubles = results.troubles
    for trouble in troubles.to_dict("records"):
        complain(trouble)
    if results.interrupted:
        err.print(
            f"interrupted after {len(results.calls)} finished calls; the same command goes on "
            "from here",
            style="yellow",
        )
        raise typer.Exit(130)
    if len(troubles) or results.unsaved:
        raise typer.Exit(1)
    if len(results.turns) and not results.turns["outcome"].isin(_SPOKEN).any():
        err.print(
            "no caller was answered, and nothing says why: `labkit doctor AGENT` reads what the "
            "agent needs, `--wav FOLDER` lets one listen",
            style="red",
        )
        raise typer.Exit(1)


_SPOKEN = ("answered", "interrupted", "premature")


def complain(trouble: Mapping[Any, Any]) -> None:
    """What went wrong in an arm's calls, how often, and the command that shows it again."""
    n, calls = trouble["n"], trouble["calls"]
    many = f"{calls} call" + ("s" if calls > 1 else "")
    often = f"{many} failed" if trouble["fatal"] else f"error in the agent, {n} × in {many}"
    fail(f"{trouble['arm']}: {often}: {trouble['error']}", trouble["replay"])


def fail(text: str, replay: str) -> None:
    """A line about a failure, and the command that runs it again."""
    err.print(f"{text}\n  {replay}", style="red", markup=False, highlight=False, soft_wrap=True)


def with_ci(row: Mapping[Any, Any], name: str) -> str:
    """A figure of a row with its 95% CI: a time in milliseconds, anything else as per cent."""
    from labkit.evidence.units import ms, percent

    form, unit = (ms, "_s") if name.endswith("_s") else (percent, "")
    stem = name.removesuffix(unit)
    value, low, high = (form(row[f"{stem}{end}{unit}"]) for end in ("", "_low", "_high"))
    return f"{value} [{low} – {high}]" if value != "–" else value


def duration(seconds: float) -> str:
    """A duration in suitable units."""
    if math.isnan(seconds):
        return "unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
