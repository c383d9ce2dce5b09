"""A notebook at every point of a grid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.site.grid import places_of, sweep_notebook
from labkit.site.notebooks import NotebookError, find

CODE = ["# what for\n", "result = width * 2\n", "assert width < 9\n", "print(result)\n"]


def write(path: Path, code: list[str], prose: str = "# How wide?") -> None:
    head: dict[str, Any] = {"metadata": {}, "id": "a"}
    code_head: dict[str, Any] = {"execution_count": None, "outputs": [], "cell_type": "code"}
    cells = [
        {**head, "cell_type": "markdown", "source": [prose]},
        {**code_head, "metadata": {"tags": ["parameters"]}, "id": "b",
         "source": ["width: int = 1  # metres\n", "workers: int = 1  # processes"]},
        {**code_head, "metadata": {}, "id": "c", "source": code},
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(content))


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "99_width.ipynb"
    write(path, CODE)
    return path


def sweep(path: Path, *widths: int) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    own = find(str(path))
    wanted = places_of(own, [{"width": w} for w in widths], "default", path.parent / "out")
    table = sweep_notebook(own, wanted, progress=lambda *now: told.append(now))
    return table.to_dict("records"), told


def test_every_point_is_run_and_failures_are_rows(notebook: Path) -> None:
    rows, told = sweep(notebook, 2, 9, 2)
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert [row["width"] for row in rows] == ["2", "9"]
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "AssertionError" in rows[1]["error"]
    assert rows[1]["replay"].startswith("labkit notebook ") and "width=9" in rows[1]["replay"]
    assert Path(rows[0]["page"]).is_file()
    folder = notebook.parent / "out" / "99_width" / "width=2"
    assert '"4' in (folder / "notebooks" / notebook.name).read_text().replace("\\n", '"')


@pytest.mark.parametrize(
    ("place", "words"),
    [({"with": 1}, "did you mean width?"), ({"width": "wide"}, "expected int"),
     ({}, "at least one parameter")],
)  # fmt: skip
def test_what_cannot_run_is_refused(notebook: Path, place: dict[str, object], words: str) -> None:
    with pytest.raises(NotebookError, match=words.replace("?", r"\?")):
        places_of(find(str(notebook)), [{"width": 2}, place], "default", notebook.parent / "out")


@pytest.mark.slow
def test_papermill_alone_runs_a_study(tmp_path: Path) -> None:
    """From any folder, with parameters, without a command of labkit's."""
    study = Path(__file__).resolve().parents[2] / "notebooks" / "18_tune_by_hand.ipynb"
    given = {"n_calls": 2, "n_turns": 2, "min_turns": 1, "min_delay_s": 0.2,
             "n_who_calls": 1, "n_who_turns": 1}  # fmt: skip
    words = [w for name, value in given.items() for w in ("-p", name, str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(study), "out.ipynb", *words,
         "-p", "figures_to", str(tmp_path / "figures"), "--no-progress-bar"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280,
        # the tests' own back end would keep figures out of the notebook
        env={k: v for k, v in os.environ.items() if k != "MPLBACKEND"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    executed = json.loads((tmp_path / "out.ipynb").read_text())
    outputs = [o for c in executed["cells"] for o in c.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 4
    assert '"min_delay": 0.2' in json.dumps(outputs).replace('\\"', '"')
    assert (tmp_path / "figures" / "18_tune_by_hand" / "frontier.png").is_file()
