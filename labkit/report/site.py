"""The report: runs the notebooks and builds one static site that works from ``file://``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labkit.report.notebooks import (
    Notebook,
    NotebookError,
    NotebookFailed,
    all_notebooks,
    figures_of,
    find,
    plan,
    run_notebook,
    templates_dir,
)
from labkit.study.tables import code_version

Say = Callable[[str], object]


def build(
    only: Sequence[str] = (),
    *,
    preset: str = "default",
    to: Path = Path("reports"),
    say: Say = print,
) -> Path:
    """Runs notebooks and writes the site: an index, a page per study and a provenance page.

    A notebook that stops does not stop the others; the index is written, then the error is raised.

    Args:
        only: Notebooks by name or number; all of them by default.
        preset: ``smoke``, ``default`` or ``full``.
        to: Folder of the site.
        say: Called with a line of progress now and then.

    Returns:
        The index page.

    Raises:
        NotebookError: a notebook or preset that does not exist (nothing was run), or no notebooks.
        NotebookFailed: at least one notebook stopped in a cell.
    """
    chosen = [find(name) for name in dict.fromkeys(only)] if only else all_notebooks()
    if not chosen:
        raise NotebookError("there are no notebooks here: run from a checkout of labkit")
    for notebook in chosen:
        plan(notebook, (), preset, to)
    failures: dict[str, str] = {}
    for i, notebook in enumerate(chosen, 1):
        say(f"[{i}/{len(chosen)}] {notebook.name}: {notebook.question}")
        try:
            run_notebook(str(notebook.path), to=to, preset=preset)
        except NotebookFailed as e:
            failures[notebook.name] = str(e)
            say(str(e))
    index = write(chosen, to, preset, failures)
    if failures:
        raise NotebookFailed("; ".join(failures.values()))
    return index


def write(
    notebooks: Sequence[Notebook], to: Path, preset: str, failures: dict[str, str] | None = None
) -> Path:
    """Writes the index and the provenance page for notebooks that were run into ``to``.

    Args:
        notebooks: What the site shows, in this order.
        to: Folder of the site, with the executed copies in ``notebooks``.
        preset: Named in the footer.
        failures: What went wrong, by notebook name.

    Returns:
        The index page.
    """
    from jinja2 import Environment, FileSystemLoader

    studies = [_study(n, to, (failures or {}).get(n.name, "")) for n in notebooks]
    pages = Environment(
        loader=FileSystemLoader(templates_dir() / "site"), trim_blocks=True, lstrip_blocks=True
    )
    common = {
        "css": (templates_dir() / "style.css").read_text(),
        "code": code_version(),
        "preset": preset,
        "studies": studies,
    }
    for name in ("index", "provenance"):
        text = pages.get_template(f"{name}.html.j2").render(common)
        (to / f"{name}.html").write_text(text, encoding="utf-8")
    return to / "index.html"


def _study(notebook: Notebook, to: Path, failed: str) -> dict[str, Any]:
    study: dict[str, Any] = {
        "name": notebook.name,
        "question": notebook.question,
        "page": f"{notebook.name}.html",
        "failed": failed,
    }
    executed = to / "notebooks" / notebook.path.name
    if failed:
        study["page"] = f"notebooks/{notebook.path.name}"
        return study
    source = figures_of(notebook, executed)
    # the site carries its own copies, so that the folder can be sent to someone
    target = to / "figures" / notebook.name
    if source.is_dir() and source.resolve() != target.resolve():
        shutil.copytree(source, target, dirs_exist_ok=True)
    study["parameters"] = json.loads(executed.read_text(encoding="utf-8"))["metadata"]["papermill"][
        "parameters"
    ]
    verdict = target / "verdict.json"
    study["verdict"] = json.loads(verdict.read_text()) if verdict.is_file() else None
    study["records"] = [_record(path, notebook.name) for path in sorted(target.glob("*.json"))
                        if path.name != "verdict.json"]  # fmt: skip
    key = target / f"{notebook.key_figure}.png"
    study["figure"] = f"figures/{notebook.name}/{key.name}" if key.is_file() else ""
    if study["records"]:
        study["terms"] = list(_flat(study["records"][0]["record"]))
    return study


def _record(path: Path, notebook: str) -> dict[str, Any]:
    record = json.loads(path.read_text())
    links = {s: f"figures/{notebook}/{path.stem}.{s}" for s in ("png", "csv", "json")}
    return {"figure": path.stem, "data_sha256": record["data_sha256"], "record": record, **links}


def _flat(record: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, value in record.items():
        if key in ("data_sha256", "drawing", "figure", "notebook"):
            continue
        if isinstance(value, dict):
            rows += [(f"{key}: {name}", str(v)) for name, v in value.items()]
        else:
            rows.append((key, str(value)))
    return rows
