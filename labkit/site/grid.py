"""Runs one notebook at every point of a grid of its parameters.

Each point has a folder of its own with the executed copy, the page and the figures. The calls
inside are kept one by one, so running a point again costs only what is really new.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.engine.progress import Progress, reported
from labkit.site.notebooks import (
    Notebook,
    NotebookError,
    NotebookFailed,
    figures_of,
    plan,
    run_notebook,
)


@dataclass(frozen=True)
class Place:
    """A notebook's parameters at one point of a grid, as texts, and the folder it goes to."""

    parameters: Mapping[str, str]
    folder: Path

    @property
    def assignments(self) -> list[str]:
        return [f"{k}={v}" for k, v in self.parameters.items()]


def places_of(
    notebook: Notebook, wanted: Sequence[Mapping[str, object]], preset: str, to: Path
) -> list[Place]:
    """Every wanted point (parameters and values), checked, with its folder in ``to``.

    Raises:
        NotebookError: a preset, parameter or value that cannot be used; nothing was run.
    """
    found: dict[Path, Place] = {}
    for values in wanted:
        if not values:
            raise NotebookError(f"{notebook.name}: name at least one parameter to sweep")
        texts = {k: str(v) for k, v in values.items()}
        place = Place(texts, to / notebook.name / _slug(texts))
        plan(notebook, place.assignments, preset, to)
        found[place.folder] = place
    return list(found.values())


def sweep_notebook(
    notebook: Notebook,
    places: Sequence[Place],
    *,
    preset: str = "default",
    workers: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Runs a notebook at each point, one after another.

    Args:
        workers: Worker processes; 0 for one per core.
        progress: Called with (points done, points in all).

    Returns:
        One row per point that was run: its parameters, ``status``, ``verdict``, ``statement``,
        ``page``, ``error``, ``wall_s`` and ``replay``, the command that runs it again. Fewer rows
        than points: it was interrupted.
    """
    rows = []
    try:
        with reported(progress, 0, len(places), "point") as tell:
            for place in places:
                rows.append(_run(notebook, place, preset, workers))
                tell(len(rows), len(places))
    except KeyboardInterrupt:
        pass  # the rows that are missing say so
    return pd.DataFrame(rows)


def _run(notebook: Notebook, place: Place, preset: str, workers: int) -> dict[str, Any]:
    words = ["labkit", "notebook", str(notebook.path)]
    words += [w for text in place.assignments for w in ("-p", text)]
    words += ["--preset", preset, "--to", str(place.folder)]
    row: dict[str, Any] = {
        **place.parameters, "status": "ok", "verdict": "", "statement": "", "page": "", "error": "",
        "wall_s": float("nan"), "replay": shlex.join(words),
    }  # fmt: skip
    began = time.perf_counter()
    try:
        page = run_notebook(
            str(notebook.path), place.assignments, to=place.folder, preset=preset, workers=workers
        )
    except NotebookFailed as e:
        return row | {"status": "failed", "error": str(e)}
    executed = place.folder / "notebooks" / notebook.path.name
    verdict = figures_of(notebook, executed) / "verdict.json"
    if verdict.is_file():
        said = json.loads(verdict.read_text("utf-8"))
        row |= {k: said.get(k, "") for k in ("verdict", "statement")}
    return row | {"page": str(page), "wall_s": time.perf_counter() - began}


def _slug(parameters: Mapping[str, str]) -> str:
    text = ",".join(f"{k}={v}" for k, v in parameters.items())
    plain = "".join(c if c.isalnum() or c in "=,.-_" else "-" for c in text)
    if plain == text and len(text) < 100:
        return plain
    return f"{plain[:90]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
