"""Figures on disk: the picture, the exact numbers drawn, and where they come from.

A rerun that changes nothing must leave the files alone, byte for byte, so there is no time stamp in
any of them, and they are written only if the numbers, what was run, or the drawing changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

_HERE = Path(__file__).resolve().parent
_TERMS = ("agent", "agents", "arms", "settings", "seed", "n_calls", "n_turns", "clock")
_DECIMALS = 9
"""Numbers are written to the nanosecond, the tick of the tunnel's clock."""


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
        data: The numbers drawn, in seconds and shares.
        provenance: Where they come from: ``results.provenance``.
        to: The folder of all figures; see :func:`figures_dir`.

    Returns:
        The picture's path.
    """
    figure = drawing if isinstance(drawing, Figure) else drawing.figure.get_figure(root=True)
    assert isinstance(figure, Figure)
    notebook, _, short = name.rpartition("/")
    stem = figures_dir(to) / name
    numbers = as_csv(data)
    record = {
        "notebook": notebook,
        "figure": short,
        "parameters": {k: provenance[k] for k in _TERMS if k in provenance},
        "data_sha256": hashlib.sha256(numbers.encode()).hexdigest(),
        "drawing": _drawing(figure),
        **{k: v for k, v in provenance.items() if k not in _TERMS},
    }
    picture, table, source = (stem.with_suffix(s) for s in (".png", ".csv", ".json"))
    if _current(record, numbers, picture, table, source):
        return picture
    stem.parent.mkdir(parents=True, exist_ok=True)
    # without its "Software" entry the picture does not change with matplotlib's version number
    figure.savefig(picture, metadata={"Software": None})
    table.write_text(numbers, newline="\n")
    write_json(source, record)
    return picture


def as_csv(data: pd.DataFrame) -> str:
    """A table as text that does not depend on how its last binary digits fell."""
    tidy = data.copy()
    for column in tidy.select_dtypes("float").columns:
        tidy[column] = tidy[column].round(_DECIMALS) + 0.0  # no negative zero
    return str(tidy.to_csv(index=False, lineterminator="\n"))


def write_json(path: Path, content: Mapping[str, Any]) -> bool:
    """Writes JSON unless the file already says the same; tells whether it wrote."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if path.is_file() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return True


def _current(
    record: dict[str, Any], numbers: str, picture: Path, table: Path, source: Path
) -> bool:
    if not (picture.is_file() and table.is_file() and source.is_file()):
        return False
    try:
        known = json.loads(source.read_text())
    except json.JSONDecodeError:
        return False
    same = all(known.get(k) == record[k] for k in ("parameters", "data_sha256", "drawing"))
    return same and table.read_text() == numbers


def _drawing(figure: Figure) -> str:
    """Identity of the drawing apart from its numbers: the code, the style and every text."""
    texts = [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text)]
    found = hashlib.sha256(_code().encode())
    found.update("\n".join(texts).encode())
    found.update(repr(figure.get_size_inches().tolist()).encode())
    return found.hexdigest()[:12]


@cache
def _code() -> str:
    files = [*_HERE.glob("*.py"), *(_HERE / "style").glob("*.mplstyle")]
    kept = [p for p in sorted(files) if p.stem not in ("notebooks", "site", "reading", "saving")]
    return "".join(p.read_text() for p in kept)
