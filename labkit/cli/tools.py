"""``labkit config``, ``doctor`` and ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import labkit.cli.console as console


def config(
    name: Annotated[str | None, typer.Argument(help="Only names that contain this.")] = None,
    json_: console.Json = False,
) -> None:
    """List every setting: its unit, default, meaning and source."""
    from labkit.settings import FAMILIES, SETTINGS, SettingError, Settings

    chosen = [s for s in SETTINGS.values() if name is None or name in s.name]
    with console.usage():
        if not chosen:
            Settings({str(name): ""})
            raise SettingError(f"no setting contains {name!r}")
    if json_:
        console.print_json([s.row() for s in chosen])
        return
    columns = ("setting", "default", "allowed", "meaning", "source")
    table = console.table("", columns, left=columns)
    for s in chosen:
        default = "agent's" if s.default is None else str(s.default)
        table.add_row(s.name, default, s.allowed, s.help, s.source)
    console.out.print(table)
    for family, meaning in FAMILIES.items():
        console.out.print(f"{family}: {meaning}", highlight=False, markup=False)


def doctor(
    agents: Annotated[
        list[str] | None,
        typer.Argument(
            help="Agents, whose files are read: what each needs and whether it is here. With "
            "--hermetic: agents; default two built-in ones."
        ),
    ] = None,
    hermetic: Annotated[
        bool, typer.Option(help="Check that agents cannot touch each other's results.")
    ] = False,
    json_: console.Json = False,
) -> None:
    """Tell what is installed and missing, what protects, and which keys are set (never values)."""
    from labkit.doctor import examine

    if hermetic:
        _hermetic(agents or ["vanilla", "stacked"], json_)
        return
    if agents:
        _needs(agents, json_)
        return
    found = examine()
    if json_:
        console.print_json(found)
    else:
        table = Table(show_header=False)
        for group, rows in found.items():
            if group == "problems":
                continue
            table.add_section()
            for key, value in rows.items():
                table.add_row(group, key, str(value))
        console.out.print(table)
        for problem in found["problems"]:
            console.err.print(problem, style="red", markup=False)
        if not found["problems"]:
            console.out.print("all good", style="green")
    if found["problems"]:
        raise typer.Exit(1)


def _needs(agents: list[str], json_: bool) -> None:
    """What agents need, before any run; exits with 1 if something of it is not here."""
    from labkit.needs import needs

    with console.usage():
        found = {agent: needs(agent) for agent in agents}
    if json_:
        console.print_json({agent: [n.row() for n in rows] for agent, rows in found.items()})
    for agent, rows in found.items() if not json_ else ():
        columns = ("line", "needs", "here", "what to do")
        table = console.table(agent, columns, left=columns)
        for need in rows:
            table.add_row(need.where, need.what, "yes" if need.ok else "no", need.do)
        console.out.print(table)
    missing = [n for rows in found.values() for n in rows if not n.ok]
    if missing:
        if not json_:
            for need in missing:
                console.err.print(f"{need.where}: {need.what}: {need.do}", style="red",
                                  markup=False, highlight=False, soft_wrap=True)  # fmt: skip
        raise typer.Exit(1)
    if not json_:
        console.tell("the tunnel has all that was found in the text")


def _hermetic(agents: list[str], json_: bool) -> None:
    from labkit.doctor import hermetic

    with console.usage():
        found = hermetic(list(dict.fromkeys(agents)))
    rows = found.to_dict("records")
    if json_:
        console.print_json(rows)
    else:
        table = console.table("", ("agent", "alone", "hermetic", "differs"), ("alone", "differs"))
        for row in rows:
            table.add_row(row["agent"], row["alone"], "yes" if row["hermetic"] else "no",
                          row["differs"])  # fmt: skip
        console.out.print(table)
    if not found["hermetic"].all():
        raise typer.Exit(1)


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

    with console.usage():
        run_server(
            str(profile) if profile else None,
            port,
            key,
            lambda text: console.out.print(text, highlight=False, soft_wrap=True),
        )
