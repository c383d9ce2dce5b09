"""Notebooks are run as committed, with parameters that are checked, and say where they failed."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from handmade import write_notebook

from labkit.report.saving import figures_dir
from labkit.site import notebooks
from labkit.site.notebooks import NotebookError, NotebookFailed, find, plan, run_notebook

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = sorted((ROOT / "notebooks").glob("*.ipynb"))
USUAL = {"seed", "n_calls", "figures_to"}
OF_RUNS = {"clock", "workers"}


@pytest.fixture
def tiny(tmp_path):
    return write_notebook(tmp_path / "in" / "00_tiny.ipynb", "n_calls", smoke={"n_calls": 2})


def planned(path, *parameters, preset="default"):
    return plan(find(str(path)), parameters, preset, Path("out"))


# ---------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("n_calls=9", 9),
        ("delay_s=1", 1.0),
        ("delay_s=0.25", 0.25),
        ("clock=wall", "wall"),
        ("steps=[0.5]", [0.5]),
        ("keep=false", False),
    ],
)
def test_a_parameter_is_read_as_the_kind_it_is_declared_as(tiny, given, value):
    name = given.partition("=")[0]
    found = planned(tiny, given)[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "n_call=9",
            r"00_tiny: unknown parameter 'n_call' .did you mean n_calls\?.*one of seed, n_c",
        ),
        ("n_calls=many", "n_calls=many: expected int"),
        ("n_calls=1.5", "n_calls=1.5: expected int"),
        ("delay_s=slow", "delay_s=slow: expected float"),
        ("keep=perhaps", "keep=perhaps: expected bool"),
        ("steps=0.5", r"steps=0.5: expected list\[float\]"),
        ("n_calls", "write it as NAME=VALUE"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused_in_one_line(tiny, given, message):
    with pytest.raises(NotebookError, match=message) as refused:
        planned(tiny, given)
    assert "\n" not in str(refused.value)


def test_presets_come_first_and_given_parameters_win(tiny):
    assert planned(tiny, preset="smoke")["n_calls"] == 2
    assert planned(tiny, "n_calls=3", preset="smoke")["n_calls"] == 3


def test_an_unknown_preset_is_refused_with_the_ones_there_are(tiny):
    with pytest.raises(
        NotebookError, match="00_tiny: preset=quick: must be one of smoke, default, full"
    ):
        planned(tiny, preset="quick")


def test_only_a_run_as_committed_writes_committed_figures(tiny):
    assert planned(tiny)["figures_to"] == "figures"
    assert planned(tiny, "workers=3")["figures_to"] == "figures"
    tried = planned(tiny, preset="smoke")["figures_to"]
    assert figures_dir(tried) == Path("out/figures").resolve()
    assert planned(tiny, "n_calls=3")["figures_to"] != "figures"


def test_a_refused_run_leaves_nothing_behind(tiny, tmp_path):
    with pytest.raises(NotebookError):
        run_notebook(str(tiny), ["n_call=3"], to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_notebook_is_found_by_number_and_a_wrong_name_gets_the_closest():
    assert find("00").name == "00_anatomy_of_a_turn"
    assert find("00_anatomy_of_a_turn.ipynb").path == COMMITTED[0]
    with pytest.raises(NotebookError, match="did you mean 00_anatomy_of_a_turn"):
        find("00_anatomy_of_turn")


# ---------------------------------------------------------------------------- runs


def test_a_run_leaves_an_executed_copy_and_a_page_and_the_source_alone(tiny, tmp_path):
    before = tiny.read_bytes()
    page = run_notebook(str(tiny), ["n_calls=5"], to=tmp_path / "out")
    assert tiny.read_bytes() == before
    copy = nbformat.read(tmp_path / "out" / "notebooks" / "00_tiny.ipynb", as_version=4)
    assert copy.cells[-1].outputs[0].data["text/plain"] == "5"
    assert page == tmp_path / "out" / "00_tiny.html"
    assert "What does 00_tiny ask?" in page.read_text()


def test_a_failing_cell_is_named_and_what_ran_is_kept(tmp_path):
    path = write_notebook(
        tmp_path / "00_bad.ipynb", "print('so far')", "raise ValueError('too hot')", "1 + 1"
    )
    with pytest.raises(NotebookFailed) as failed:
        run_notebook(str(path), to=tmp_path / "out")
    message = str(failed.value)
    assert "00_bad: cell 4 failed with ValueError: too hot" in message  # one cell is injected
    trace = tmp_path / "out" / "notebooks" / "00_bad.traceback.txt"
    assert str(trace) in message
    assert "raise ValueError('too hot')" in trace.read_text()
    assert "\x1b" not in trace.read_text()
    copy = json.loads((tmp_path / "out" / "notebooks" / "00_bad.ipynb").read_text())
    assert "so far" in json.dumps(copy)
    assert not (tmp_path / "out" / "00_bad.html").exists()


def test_a_kernel_that_dies_is_a_failed_notebook(tmp_path):
    path = write_notebook(tmp_path / "00_dies.ipynb", "import os; os._exit(1)")
    with pytest.raises(NotebookFailed, match="00_dies: Kernel died"):
        run_notebook(str(path), to=tmp_path / "out")


# ---------------------------------------------------------------------------- what is committed


def cells_of(path):
    return json.loads(path.read_text())["cells"]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_committed_notebooks_hold_no_outputs_and_nothing_injected(path):
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert "injected-parameters" not in cell["metadata"].get("tags", [])
        assert not {"papermill", "execution"} & set(cell["metadata"])
    assert "papermill" not in content["metadata"]
    assert content["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_committed_notebooks_have_the_common_parts(path):
    tags = [tag for cell in cells_of(path) for tag in cell["metadata"].get("tags", [])]
    for tag in ("parameters", "checks", "verdict", "provenance"):
        assert tags.count(tag) >= 1, tag
    assert cells_of(path)[0]["source"][0].startswith("# ")
    assert any("## Limits" in "".join(c["source"]) for c in cells_of(path))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_every_parameter_is_seen_by_papermill_and_explained(path):
    from papermill import inspect_notebook

    (cell,) = [c for c in cells_of(path) if "parameters" in c["metadata"].get("tags", [])]
    lines = [line for line in "".join(cell["source"]).splitlines() if line.strip()]
    known = inspect_notebook(str(path))
    assert len(known) == len(lines), "one assignment a line, or papermill does not see it"
    runs_agents = path.stem != "17_turn_detection"  # that one asks a detector
    assert set(known) >= (USUAL | OF_RUNS if runs_agents else USUAL)
    assert [name for name, parameter in known.items() if not parameter["help"]] == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_presets_and_key_figure_fit_the_notebook(path):
    found = find(str(path))
    for preset in ("smoke", "default", "full"):
        assert plan(found, (), preset, Path("out"))
    assert (ROOT / "figures" / found.name / f"{found.key_figure}.png").is_file()


def test_all_notebooks_are_listed_in_order():
    assert [n.path for n in notebooks.all_notebooks()] == COMMITTED
