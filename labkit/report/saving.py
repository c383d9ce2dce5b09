"""Charts on disk: the picture, the exact numbers drawn, and where they come from.

A rerun that changes nothing must leave the files alone, byte for byte. So none of them holds a
time, a duration or a commit (the commit that holds the file says that), and a picture is drawn
again only if its numbers or the drawing itself changed: another version of matplotlib may write
other bytes for the same picture. Numbers have changed if they are not :func:`alike`: a nanosecond
more or less, as another rounding somewhere in the tunnel gives, says nothing new.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.report.palette import figure_of

_HERE = Path(__file__).resolve().parent
_TERMS = ("agent", "agents", "arms", "settings", "seed", "n_calls", "n_turns", "clock")
_CODE = ("version",)
"""What of the code's identity is recorded: commit and dirty flag would change with every commit."""
_MACHINE = "platform"
"""Kept from the machine that wrote the record, as long as the rest is the same."""
_DECIMAL = re.compile(rb"\d+\.\d+")
_NAME = re.compile(rb"\b[a-z][0-9a-f]{10}\b")
_DECIMALS = 9
"""Numbers are written to the nanosecond, the tick of the tunnel's clock."""
_RELATIVE, _ABSOLUTE = 1e-6, 1e-7
"""Numbers that differ by no more are alike: a microsecond in a second."""


def checkout() -> Path | None:
    """The root of the checkout this package runs from; None when it is installed elsewhere."""
    root = _HERE.parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def figures_dir(to: str | Path | None = None) -> Path:
    """Where figures go.

    Args:
        to: A folder; a relative one starts at the checkout. The default is ``figures``.

    Returns:
        The folder, which need not exist yet. Without a checkout, paths start at the current folder.
    """
    return (checkout() or Path.cwd()) / Path(to or "figures")


def save(
    drawing: Axes | Figure,
    name: str,
    data: pd.DataFrame,
    provenance: Mapping[str, Any],
    to: str | Path | None = None,
) -> Path:
    """Saves a figure as ``NAME.png`` (150 dpi), ``NAME.csv`` and ``NAME.json``.

    Args:
        drawing: The figure, or any axes of it.
        name: ``NOTEBOOK/FIGURE``, such as ``00_anatomy_of_a_turn/waterfall``.
        data: The numbers drawn, in seconds and proportions.
        provenance: Where they come from: ``results.provenance``.

    Returns:
        The picture's path.
    """
    figure = figure_of(drawing)
    notebook, _, short = name.rpartition("/")
    if _complete(provenance):
        provenance = {k: v for k, v in provenance.items() if k != "n_calls_finished"}
    stem = figures_dir(to) / name
    picture, table, source = (stem.with_suffix(s) for s in (".png", ".csv", ".json"))
    numbers = as_csv(data)
    if table.is_file() and _same_table(kept := table.read_text(encoding="utf-8"), numbers):
        numbers = kept
    record = {
        "notebook": notebook,
        "figure": short,
        "parameters": {k: provenance[k] for k in _TERMS if k in provenance},
        "data_sha256": hashlib.sha256(numbers.encode()).hexdigest(),
        "drawing": _drawing(figure),
        **{k: v for k, v in provenance.items() if k not in _TERMS},
        "code": {k: v for k, v in provenance.get("code", {}).items() if k in _CODE},
    }
    before = _read(source)
    if not picture.is_file() or any(before.get(k) != record[k] for k in ("data_sha256", "drawing")):
        stem.parent.mkdir(parents=True, exist_ok=True)
        # without its "Software" entry the picture does not change with matplotlib's version number
        figure.savefig(picture, metadata={"Software": None})
    _write(table, numbers)
    if _without_machine(before) != _without_machine(_plain(record)):
        write_json(source, record)
    return picture


def _complete(run: Mapping[str, Any]) -> bool:
    """Whether every call finished, so that their number says nothing new."""
    wanted = run.get("n_calls", 0) * len(run.get("points", [run]))
    return bool(run.get("n_calls_finished") == wanted)


def as_csv(data: pd.DataFrame) -> str:
    """A table as text that does not depend on how its last binary digits fell."""
    tidy = data.copy()
    for column in tidy.select_dtypes("float").columns:
        tidy[column] = tidy[column].round(_DECIMALS) + 0.0  # no negative zero
    return str(tidy.to_csv(index=False, lineterminator="\n"))


def alike(one: Any, other: Any) -> bool:
    """Whether two values say the same, but for the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = all(isinstance(v, (int, float)) for v in (one, other))
        return numbers and math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(one == other)


def _same_table(one: str, other: str) -> bool:
    tables = [pd.read_csv(io.StringIO(text)) for text in (one, other)]
    rows = [[_plain(list(row)) for row in t.itertuples(index=False)] for t in tables]
    return list(tables[0]) == list(tables[1]) and alike(*rows)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dicts, keyed by column name."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def ends(row: Mapping[str, Any], name: str, suffix: str = "") -> tuple[float, float, float]:
    """An estimate in a row: its value and the ends of its interval."""
    return row[f"{name}{suffix}"], row[f"{name}_low{suffix}"], row[f"{name}_high{suffix}"]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON unless the file already says the same; NaN becomes null."""
    text = json.dumps(_plain(dict(content)), indent=2, sort_keys=True, ensure_ascii=False)
    if not alike(_read(path), json.loads(text)):
        _write(path, text + "\n")


def _plain(value: Any) -> Any:
    """JSON has no NaN, and the last binary digits of a number are noise."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, _DECIMALS)
    return value


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _read(source: Path) -> dict[str, Any]:
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_machine(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != _MACHINE}


def _drawing(figure: Figure) -> str:
    """Identity of everything that is drawn: its hash as SVG, which holds no pixels and no fonts.

    Coordinates count to a hundredth of a point, and names, which are hashes of coordinates, do not.
    """
    with io.BytesIO() as buffer, plt.rc_context({"svg.hashsalt": "labkit", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        drawn = _DECIMAL.sub(lambda number: b"%.2f" % float(number[0]), buffer.getvalue())
        return hashlib.sha256(_NAME.sub(b"", drawn)).hexdigest()[:12]
