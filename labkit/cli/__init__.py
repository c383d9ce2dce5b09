"""The command line: each command checks its arguments, calls the library and prints."""

from __future__ import annotations

import sys

import typer

from labkit.cli import cache
from labkit.cli.compare import compare
from labkit.cli.eot import eot
from labkit.cli.levers import levers
from labkit.cli.reports import notebook, report
from labkit.cli.run import run
from labkit.cli.sweep import sweep
from labkit.cli.tools import config, doctor, serve

app = typer.Typer(
    name="labkit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A wind tunnel for LiveKit voice agents: real agents, emulated providers, virtual time.",
)
for command in (run, compare, levers, sweep, eot, config, doctor, serve, notebook, report):
    app.command()(command)
app.add_typer(cache.app, name="cache")


def main() -> None:
    """The console script."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
