"""``labkit cache``."""

from __future__ import annotations

from contextlib import closing

import typer

import labkit.cli.console as console

app = typer.Typer(
    no_args_is_help=True,
    help="Look after the kept results of earlier calls. They may be deleted at any time.",
)


@app.command()
def info(json_: console.Json = False) -> None:
    """Tell where the cache is, how large, and how many calls it holds."""
    from labkit.engine.store import CallStore

    with closing(CallStore()) as kept:
        found = kept.info()
    if json_:
        console.print_json(found)
        return
    where = found["path"] or "in memory alone: the folder cannot be used"
    console.tell(
        f"{found['calls']} calls in {found['bytes'] / 1e6:.1f} MB, {found['damaged']} damaged and "
        f"set aside\n{where}"
    )


@app.command()
def verify(json_: console.Json = False) -> None:
    """Check every entry; those that are damaged are set aside, and run again when needed."""
    from labkit.engine.store import CallStore

    with closing(CallStore()) as kept:
        good, bad = kept.verify()
    if json_:
        console.print_json({"good": good, "damaged": bad})
    else:
        console.tell(f"{good} calls are in order, {bad} were damaged and are set aside")


@app.command()
def clear() -> None:
    """Forget all results; the next run computes them again."""
    from labkit.engine.store import CallStore

    with closing(CallStore()) as kept:
        before = kept.info()["calls"]
        kept.clear()
    console.tell(f"{before} calls forgotten")
