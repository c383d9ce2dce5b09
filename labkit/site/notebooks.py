"""Runs the committed notebooks: parameters checked, an executed copy, one static HTML page.

A notebook is an ordinary papermill notebook and runs without this module. This adds
errors for misspelt parameters and values of the wrong type (papermill ignores them), presets, and a
page that can be sent to someone. The committed notebook itself is never written to.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.engine.workers import n_workers
from labkit.errors import UsageError, one_of, unknown
from labkit.report.saving import checkout, figures_dir
from labkit.site.export import export

PRESETS = ("smoke", "default", "full")
_SCRATCH = "figures"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(UsageError):
    """An unknown notebook, parameter or preset, or a bad value; says what is allowed."""


class NotebookFailed(NotebookError):
    """A notebook that ran and stopped in a cell; the message names the cell."""

    exit_code = 1


@dataclass(frozen=True)
class Notebook:
    """A committed notebook, described by its metadata under ``labkit``."""

    path: Path
    question: str  # its title
    presets: Mapping[str, Mapping[str, Any]]  # parameters by the preset's name
    key_figure: str = ""  # the chart that speaks for the study
    in_readme: bool = False  # whether the README shows that chart (``readme``)
    promises: str = ""
    """``before`` or ``after`` if the level it tests is what is claimed without or with all
    techniques; the README quotes both."""

    @property
    def name(self) -> str:
        return self.path.stem


def notebooks_dir() -> Path:
    """The folder of the committed notebooks: the checkout's, else that of the current folder."""
    return (checkout() or Path.cwd()) / "notebooks"


def all_notebooks() -> list[Notebook]:
    """Every committed notebook, in order of its name."""
    return [_describe(path) for path in sorted(notebooks_dir().glob("*.ipynb"))]


def find(name: str) -> Notebook:
    """A notebook by path, name, number or any prefix that only one has.

    Raises:
        NotebookError: none or several match.
    """
    given = Path(name)
    if given.suffix == ".ipynb" and given.is_file():
        return _describe(given)
    paths = sorted(notebooks_dir().glob("*.ipynb"))
    names = [path.stem for path in paths]
    wanted = given.stem if given.suffix == ".ipynb" else name
    found = [p for p in paths if p.stem == wanted] or [
        p for p in paths if p.stem.startswith(wanted)
    ]
    if len(found) == 1 and wanted:
        return _describe(found[0])
    if len(found) > 1:
        raise NotebookError(f"{name!r} is ambiguous: it may be {', '.join(p.stem for p in found)}")
    if not names:
        raise NotebookError(f"no notebooks in {notebooks_dir()}: run from a checkout of labkit")
    raise NotebookError(unknown("notebook", name, names))


def _describe(path: Path) -> Notebook:
    content = json.loads(path.read_text(encoding="utf-8"))
    own = content.get("metadata", {}).get("labkit", {})
    first = next((c for c in content["cells"] if c["cell_type"] == "markdown"), None)
    text = "".join(first["source"]) if first else ""
    title = next((x[2:].strip() for x in text.splitlines() if x.startswith("# ")), path.stem)
    return Notebook(
        path, title, own.get("presets", {}), own.get("key_figure", ""),
        own.get("readme", False), own.get("promises", ""),
    )  # fmt: skip


def run_notebook(
    name: str,
    parameters: Sequence[str] = (),
    *,
    to: Path = Path("reports"),
    preset: str = "default",
    workers: int = 0,
) -> Path:
    """Runs a notebook through papermill and exports it as one static HTML page.

    Figures go to ``figures/`` of the checkout when the study runs as it is committed; with another
    preset or with changed parameters they go to ``figures`` inside ``to``, so that trying things
    out never changes what is committed.

    Args:
        name: Such as ``00_anatomy_of_a_turn`` or just ``00``, or a path.
        parameters: ``NAME=VALUE`` texts.
        to: Folder of the report; the executed copy goes to ``notebooks`` in it.
        preset: ``smoke``, ``default`` or ``full``.
        workers: Worker processes; 0 for one per core.

    Returns:
        The HTML page.

    Raises:
        NotebookError: something given cannot be used; nothing was run.
        NotebookFailed: a cell failed; the executed copy and the traceback are kept.
    """
    notebook = find(name)
    values = plan(notebook, parameters, preset, to, workers)
    target = to / "notebooks" / notebook.path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    _execute(notebook, target, values)
    page = to / f"{notebook.name}.html"
    page.write_text(export(target, notebook.question), encoding="utf-8")
    return page


def plan(
    notebook: Notebook, parameters: Sequence[str], preset: str, to: Path, workers: int = 0
) -> dict[str, Any]:
    """What will be injected into a notebook: preset first, then the given parameters.

    Raises:
        NotebookError: an unknown preset or parameter, or a value of the wrong kind.
    """
    from papermill import inspect_notebook

    known: dict[str, dict[str, Any]] = inspect_notebook(str(notebook.path))
    if preset not in {*PRESETS, *notebook.presets}:
        allowed = dict.fromkeys([*PRESETS, *notebook.presets])
        raise NotebookError(f"{notebook.name}: preset={preset}: {one_of(preset, allowed)}")
    values: dict[str, Any] = dict(notebook.presets.get(preset, {}))
    _refuse_unknown(notebook, values, known)
    given: dict[str, Any] = {}
    for text in parameters:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise NotebookError(f"parameter {text!r}: write it as NAME=VALUE")
        _refuse_unknown(notebook, [key.strip()], known)
        given[key.strip()] = _value(key.strip(), value.strip(), known[key.strip()])
    as_committed = preset == "default" and not (set(given) - {"workers"})
    if "figures_to" in known:
        values["figures_to"] = _SCRATCH if as_committed else _inside(to / "figures")
    if "workers" in known:
        values["workers"] = n_workers(workers)
    return values | given


def figures_of(notebook: Notebook, executed: Path) -> Path:
    """The folder into which an executed copy saved its figures."""
    return figures_dir(parameters_of(executed).get("figures_to")) / notebook.name


def parameters_of(executed: Path) -> dict[str, Any]:
    """The parameters that papermill gave an executed copy."""
    metadata = json.loads(executed.read_text(encoding="utf-8"))["metadata"]
    used: dict[str, Any] = metadata.get("papermill", {}).get("parameters", {})
    return used


def _inside(folder: Path) -> str:
    """A folder as a notebook names it: from the checkout where that is possible."""
    full, root = folder.resolve(), figures_dir(".").resolve()
    return str(full.relative_to(root)) if full.is_relative_to(root) else str(full)


def _refuse_unknown(notebook: Notebook, names: Any, known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise NotebookError(f"{notebook.name}: {unknown('parameter', name, known)}")


def _value(name: str, text: str, declared: Mapping[str, Any]) -> Any:
    """A parameter's text as the kind of value that the notebook declares."""
    kind = str(declared.get("inferred_type_name") or "").strip()
    if kind in ("None", "str", ""):
        return text.strip("'\"")
    wanted = f"{name}={text}: expected {kind}"
    lowered = {"true": "True", "false": "False"}.get(text.lower(), text)
    try:
        value = ast.literal_eval(lowered)
    except (ValueError, SyntaxError):
        raise NotebookError(wanted) from None
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    base = kind.partition("[")[0]
    types: dict[str, type] = {"int": int, "float": float, "bool": bool, "list": list, "dict": dict}
    if base in types and type(value) is not types[base]:
        raise NotebookError(wanted)
    return value


def _execute(notebook: Notebook, target: Path, values: dict[str, Any]) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    trace = target.with_suffix(".traceback.txt")
    trace.unlink(missing_ok=True)
    try:
        with _this_python():
            papermill.execute_notebook(
                str(notebook.path), str(target), parameters=values, kernel_name="python3",
                progress_bar=False, log_output=False,
            )  # fmt: skip
    except PapermillExecutionError as e:
        trace.write_text(_ANSI.sub("", "\n".join(e.traceback)) + "\n", encoding="utf-8")
        message = _ANSI.sub("", str(e.evalue))
        raise NotebookFailed(
            f"{notebook.name}: cell {e.cell_index} failed with {e.ename}: {message} "
            f"(traceback: {trace})"
        ) from None
    except RuntimeError as e:  # of nbclient and jupyter_client: the kernel died
        raise NotebookFailed(f"{notebook.name}: {e} (copy: {target})") from None


@contextmanager
def _this_python() -> Iterator[None]:
    """Makes ``python3`` mean the running interpreter, whatever kernels are registered."""
    package = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory(prefix="labkit-kernel-") as folder:
        spec = Path(folder) / "kernels" / "python3"
        spec.mkdir(parents=True)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        kernel = {
            "argv": [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher",
                     "-f", "{connection_file}", "--HistoryManager.enabled=False",
                     "--log-level=ERROR"],
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            # so that it also works from a checkout that is not installed, and that pictures are
            # shown whatever backend the shell asks for
            "env": {
                "PYTHONPATH": os.pathsep.join(paths),
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "TQDM_DISABLE": "1",  # nobody watches, and a page keeps what was shown
            },
        }  # fmt: skip
        (spec / "kernel.json").write_text(json.dumps(kernel))
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before
