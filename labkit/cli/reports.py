"""``labkit notebook`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import labkit.cli.console as console


def notebook(
    name: Annotated[str, typer.Argument(help="Such as `00_anatomy_of_a_turn` or just `00`.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Change a parameter."),
    ] = None,
    preset: console.Preset = "default",
    workers: console.Workers = 0,
    to: Annotated[Path, typer.Option(help="Where the executed copy and HTML go.")] = Path(
        "reports"
    ),
) -> None:
    """Run one notebook through papermill: executed copy, figures and an HTML page."""
    from labkit.site.notebooks import run_notebook

    with console.usage():
        page = run_notebook(name, parameter or [], to=to, preset=preset, workers=workers)
    console.out.print(f"{page}", highlight=False)


def report(
    only: Annotated[
        list[str] | None, typer.Option(help="Only these notebooks (name or number).")
    ] = None,
    preset: console.Preset = "default",
    to: Annotated[Path, typer.Option(help="Where the site goes.")] = Path("reports"),
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Run the notebooks, regenerate every figure, and build the HTML report."""
    from labkit.site.site import build

    with console.usage():
        index = build(only or [], preset=preset, to=to, say=lambda text: console.err.print(text))
    console.out.print(f"report: {index}", highlight=False)
    if open_:
        typer.launch(index.resolve().as_uri())
