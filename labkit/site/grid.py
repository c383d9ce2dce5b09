"""Runs one notebook at every point of a grid of its parameters.

Each point has a folder of its own with the executed copy, the page, the figures and ``point.json``.
A point is not run again while the notebook's code, its parameters, labkit, the data and the
packages are the same; and the calls inside are kept each by itself, so that running one again costs
only what is really new.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.engine import store
from labkit.engine.workers import Cluster
from labkit.paths import data_dir
from labkit.site.notebooks import (
    Notebook,
    NotebookError,
    NotebookFailed,
    default_values,
    figures_of,
    plan,
    run_notebook,
)

_PACKAGE = Path(__file__).resolve().parents[1]
_RECORD = "point.json"
_NEUTRAL = ("workers", "figures_to")
"""Parameters that do not change what comes out."""
_ONE = threading.Lock()
"""Running a notebook changes the process's environment for a while."""


@dataclass(frozen=True)
class Point:
    """A notebook at one place.

    Attributes:
        place: Its parameters as texts.
        folder: Where it goes.
        key: What names it.
        arm_turns: Caller turns in each of its main arms.
    """

    place: Mapping[str, str]
    folder: Path
    key: str
    arm_turns: int

    @property
    def known(self) -> dict[str, Any] | None:
        """What an earlier run of the same point left."""
        try:
            record: dict[str, Any] = json.loads((self.folder / _RECORD).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        good = record.get("key") == self.key and record.get("status") == "ok"
        return record if good and Path(record["page"]).is_file() else None


def points(
    notebook: Notebook, places: Sequence[Mapping[str, object]], preset: str, to: Path
) -> list[Point]:
    """Every point, checked.

    Args:
        notebook: What to run.
        places: Parameters and values of each point.
        preset: ``smoke``, ``default`` or ``full``.
        to: Folder of all points.

    Raises:
        NotebookError: a preset, parameter or value that cannot be used; nothing was run.
    """
    defaults, common, found = default_values(notebook), _common(), []
    for place in places:
        if not place:
            raise NotebookError(f"{notebook.name}: name at least one parameter to sweep")
        texts = {k: str(v) for k, v in place.items()}
        values = plan(notebook, _assignments(texts), preset, to, 1)
        own = {k: v for k, v in values.items() if k not in _NEUTRAL}
        folder = to / notebook.name / _slug(texts)
        all_values = defaults | values
        turns = math.prod(int(all_values[n]) for n in ("n_calls", "n_turns") if n in all_values)
        found.append(Point(texts, folder, _hash([common, _content(notebook), own]), turns))
    return found


def sweep_notebook(
    notebook: Notebook,
    wanted: Sequence[Point],
    *,
    preset: str = "default",
    workers: int = 0,
    scheduler: str | None = None,
    fresh: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> pd.DataFrame:
    """Runs a notebook at those points that are not known yet.

    Args:
        notebook: What to run.
        wanted: What :func:`points` returned.
        preset: ``smoke``, ``default`` or ``full``.
        workers: Worker processes of each; 0 for one per core.
        scheduler: Address of a Dask scheduler: each point then runs on one of its workers.
        fresh: Run every point, even those that are known.
        progress: Called with (points done, points in all), at first with those already known.

    Returns:
        One row per point: its parameters, ``status``, ``verdict``, ``statement``, ``page``,
        ``error``, ``wall_s``, and ``replay``, the command that runs it again.

    Raises:
        UsageError: the scheduler cannot be used.
    """
    rows = {p.folder: known for p in wanted if not fresh and (known := p.known)}
    missing = list({p.folder: p for p in wanted if p.folder not in rows}.values())
    done = len(wanted) - len(missing)
    tell = progress or (lambda done, total: None)
    tell(done, len(wanted))
    try:
        run = _on(Cluster(scheduler)) if scheduler and missing else _here
        for point, record in run(notebook, missing, preset, workers):
            record["replay"] = _replay(notebook, point, preset)
            (point.folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
            rows[point.folder] = record
            done += 1
            tell(done, len(wanted))
    except KeyboardInterrupt:
        pass  # the rows that are missing say so
    hidden = ("key", "parameters")
    return pd.DataFrame([
        {**p.place, **{k: v for k, v in rows[p.folder].items() if k not in hidden}}
        for p in wanted
        if p.folder in rows
    ])  # fmt: skip


_Run = Callable[[Notebook, Sequence[Point], str, int], Any]


def _here(notebook: Notebook, missing: Sequence[Point], preset: str, workers: int) -> Any:
    for point in missing:
        yield point, _run_point(notebook, point, preset, workers, point.folder)


def _on(cluster: Cluster) -> _Run:
    def run(notebook: Notebook, missing: Sequence[Point], preset: str, workers: int) -> Any:
        from concurrent.futures import as_completed

        jobs = {cluster.submit_within(_run_there, notebook, p, preset, workers): p for p in missing}
        try:
            for job in as_completed(jobs):
                point = jobs[job]
                try:
                    record, files = job.result()
                except Exception as e:  # its worker died too often
                    record = _record(point, "failed", f"{type(e).__name__}: {e}")
                    files = {}
                for name, content in files.items():
                    target = point.folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
                point.folder.mkdir(parents=True, exist_ok=True)
                yield point, record
        finally:
            cluster.close(at_once=True)

    return run


def _run_there(
    notebook: Notebook, point: Point, preset: str, workers: int
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Runs a point on another machine and returns its record and its files."""
    own = plan(notebook, _assignments(point.place), preset, point.folder, 1)
    own = {k: v for k, v in own.items() if k not in _NEUTRAL}
    if _hash([_common(), _content(notebook), own]) != point.key:
        error = "this Dask worker has another labkit, other data or other packages"
        return _record(point, "failed", error), {}
    with _ONE, tempfile.TemporaryDirectory(prefix="labkit-point-") as folder:
        record = _run_point(notebook, point, preset, workers, Path(folder))
        files = [p for p in Path(folder).rglob("*") if p.is_file()]
        return record, {str(p.relative_to(folder)): p.read_bytes() for p in files}


def _run_point(
    notebook: Notebook, point: Point, preset: str, workers: int, folder: Path
) -> dict[str, Any]:
    began = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        page = run_notebook(
            str(notebook.path),
            _assignments(point.place),
            to=folder,
            preset=preset,
            workers=workers,
        )
    except NotebookFailed as e:
        return _record(point, "failed", str(e))
    record = _record(point, "ok", "")
    verdict = figures_of(notebook, folder / "notebooks" / notebook.path.name) / "verdict.json"
    if verdict.is_file():
        said = json.loads(verdict.read_text("utf-8"))
        record |= {k: said.get(k, "") for k in ("verdict", "statement")}
    record |= {"page": str(point.folder / page.name), "wall_s": time.perf_counter() - began}
    return record


def _record(point: Point, status: str, error: str) -> dict[str, Any]:
    return {
        "key": point.key, "parameters": dict(point.place), "status": status, "verdict": "",
        "statement": "", "page": "", "error": error, "wall_s": float("nan"),
    }  # fmt: skip


def _replay(notebook: Notebook, point: Point, preset: str) -> str:
    words = ["labkit", "notebook", str(notebook.path)]
    words += [w for text in _assignments(point.place) for w in ("-p", text)]
    return shlex.join([*words, "--preset", preset, "--to", str(point.folder)])


def _assignments(place: Mapping[str, str]) -> list[str]:
    return [f"{k}={v}" for k, v in place.items()]


def _slug(place: Mapping[str, str]) -> str:
    text = ",".join(_assignments(place))
    plain = "".join(c if c.isalnum() or c in "=,.-_" else "-" for c in text)
    return plain if plain == text and len(text) < 100 else f"{plain[:90]}-{_hash(text)[:6]}"


def _common() -> str:
    """What the outcome of any notebook depends on: all of labkit, the data, the packages."""
    files = [p for p in sorted(_PACKAGE.rglob("*")) if p.suffix in (".py", ".j2", ".css", ".json")]
    files += sorted(data_dir().rglob("*.toml"))
    found = hashlib.sha256(store.installed().encode())
    for file in files:
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


def _content(notebook: Notebook) -> list[str]:
    """A notebook's text and its code; a comment in code changes nothing."""
    cells = json.loads(notebook.path.read_text("utf-8"))["cells"]
    return [_code(c) if c["cell_type"] == "code" else "".join(c["source"]) for c in cells]


def _code(cell: Mapping[str, Any]) -> str:
    text = "".join(cell["source"])
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:  # a magic
        return text


def _hash(terms: object) -> str:
    text = json.dumps(terms, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
