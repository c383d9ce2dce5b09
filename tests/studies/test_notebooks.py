"""Notebooks read as a study is told: short cells that do one thing each, and no programming."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
MAX_LINES = 15
PROGRAMMING = (
    ast.For, ast.While, ast.If, ast.IfExp, ast.With, ast.Try, ast.FunctionDef, ast.ClassDef,
    ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp,
)  # fmt: skip
"""What belongs in the study's module, where it can be tested."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code_of(path: Path) -> list[tuple[list[str], str]]:
    """Tags and source of each code cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        (cell["metadata"].get("tags", []), "".join(cell["source"]))
        for cell in cells
        if cell["cell_type"] == "code"
    ]


@every_notebook
def test_cells_are_short(path: Path) -> None:
    long = [
        source.splitlines()[0]
        for tags, source in code_of(path)
        if "parameters" not in tags
        and sum(bool(line.strip()) for line in source.splitlines()) > MAX_LINES
    ]
    assert not long, f"these cells have more than {MAX_LINES} lines"


@every_notebook
def test_nothing_is_programmed_in_a_notebook(path: Path) -> None:
    found = [
        f"{type(node).__name__}: {source.splitlines()[node.lineno - 1].strip()}"
        for _, source in code_of(path)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, PROGRAMMING)
    ]
    assert not found, "this belongs in labkit/studies"


@every_notebook
def test_a_study_has_the_name_of_its_notebook_and_a_module_of_its_own(path: Path) -> None:
    sources = [source for _, source in code_of(path)]
    calls = [
        node
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lab.Study"
    ]
    assert [ast.literal_eval(call.args[0]) for call in calls] == [path.stem]
    modules = [line for s in sources for line in s.splitlines() if "labkit.studies" in line]
    assert len(modules) == 1, "from labkit.studies import NAME"


@every_notebook
def test_the_verdict_comes_before_the_provenance_which_comes_last(path: Path) -> None:
    tags = [cell_tags for cell_tags, _ in code_of(path)]
    assert tags[-1] == ["provenance"]
    (at,) = [i for i, own in enumerate(tags) if "verdict" in own]
    assert "study.conclude(" in code_of(path)[at][1]
