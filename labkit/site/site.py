"""The report: runs the notebooks and builds one static site that works from ``file://``."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

from labkit.engine.provenance import code_version
from labkit.report.saving import checkout
from labkit.site import gallery
from labkit.site.export import TEMPLATES, assets
from labkit.site.notebooks import (
    Notebook,
    NotebookError,
    NotebookFailed,
    all_notebooks,
    find,
    plan,
    run_notebook,
)
from labkit.site.pages import claims_ledger, study

Say = Callable[[str], object]
T = TypeVar("T")


def build(
    only: Sequence[str] = (),
    *,
    preset: str = "default",
    to: Path = Path("reports"),
    say: Say = print,
) -> Path:
    """Runs notebooks, several at once, and writes the site.

    The site has an index, a page per study and a provenance page. A notebook that stops does not
    stop the others; the index is written, then the error is raised.

    Args:
        only: Notebooks by name or number; all of them by default.
        say: Called with a line of progress now and then.

    Returns:
        The index page.

    Raises:
        NotebookError: a notebook or preset that does not exist (nothing was run), or no notebooks.
        NotebookFailed: at least one notebook stopped in a cell.
    """
    chosen = [find(name) for name in dict.fromkeys(only)] if only else all_notebooks()
    chosen = list({notebook.path.resolve(): notebook for notebook in chosen}.values())
    if not chosen:
        raise NotebookError("no notebooks here: run from a checkout of labkit")
    names = [notebook.name for notebook in chosen]
    if len(set(names)) < len(names):
        raise NotebookError(
            f"a report needs notebooks with different names, got {', '.join(names)}"
        )
    for notebook in chosen:
        plan(notebook, (), preset, to)
    failures = run_all(chosen, preset, to, say)
    index = write(chosen, to, preset, failures)
    if failures:
        raise NotebookFailed("; ".join(failures.values()))
    root = checkout()
    if root is not None and preset == "default":
        gallery.update(root / "README.md")
    return index


def run_all(
    notebooks: Sequence[Notebook], preset: str, to: Path, say: Say = print
) -> dict[str, str]:
    """Runs notebooks in processes of their own, as many at once as there are cores.

    Returns:
        What went wrong, by name, for those that stopped, in the order given.
    """
    cores = len(os.sched_getaffinity(0))
    at_once = min(cores, len(notebooks))
    failed: dict[str, str] = {}
    # a fresh interpreter each: papermill and the kernels' folder are set up process-wide
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context, initializer=_end_with_parent) as pool:
        jobs = {
            pool.submit(
                run_notebook, str(n.path), to=to, preset=preset, workers=max(1, cores // at_once)
            ): n
            for n in notebooks
        }
        say(f"running {len(jobs)} notebook{'s' if len(jobs) > 1 else ''}, {at_once} at once")
        try:
            for done, job in enumerate(_watched(as_completed(jobs), len(jobs)), 1):
                name = jobs[job].name
                try:
                    job.result()
                except NotebookFailed as e:
                    failed[name] = str(e)
                except BrokenExecutor as e:
                    failed[name] = f"{name}: the process that ran it died ({e})"
                say(f"[{done}/{len(jobs)}] {failed.get(name, name)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {n.name: failed[n.name] for n in notebooks if n.name in failed}


def _end_with_parent() -> None:
    """Ends this process, and with it its kernel, once the one that asked for it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _watched(ended: Iterable[T], total: int) -> Iterator[T]:
    """Passes jobs on as they end, with a bar and the time left below the lines in a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("notebooks", total=total)
        for job in ended:
            yield job
            bar.advance(task)


def write(
    notebooks: Sequence[Notebook], to: Path, preset: str, failures: dict[str, str] | None = None
) -> Path:
    """Writes the index and the provenance page for notebooks that were run into ``to``.

    ``failures`` says what went wrong, by notebook name. Returns the index page.
    """
    from jinja2 import Environment, FileSystemLoader

    studies = [study(n, to, (failures or {}).get(n.name, "")) for n in notebooks]
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES / "site"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    common = {
        **assets(),
        "code": code_version(),
        "preset": preset,
        "studies": studies,
        "ledger": claims_ledger(studies),
    }
    to.mkdir(parents=True, exist_ok=True)
    for name in ("index", "provenance"):
        text = pages.get_template(f"{name}.html.j2").render(common)
        (to / f"{name}.html").write_text(text, encoding="utf-8")
    return to / "index.html"
