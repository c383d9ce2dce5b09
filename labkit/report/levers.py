"""Which lever buys how much, and what it costs: the ranked chart of removal savings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from labkit.evidence.units import number
from labkit.report.palette import (
    ABOVE,
    BESIDE,
    INK,
    OWNERS,
    SOFT,
    Chart,
    draw_ci,
    figure_of,
    ms_axis,
    name_rows,
    new_axes,
    note,
    owner_bar,
)
from labkit.report.saving import ends, records

_COLUMNS = ("harm", "false\nendpoints", "price")
"""Heads of the columns at the right."""
_APART_PT = 50.0
_FIRST_PT = 22.0
_LEGEND = (
    "order: what each saves at least, the left end of its interval\n"
    "harm: change of turns with a premature or no reply, in 100 turns\n"
    "false endpoints: change in 100 turns\nprice: US dollars more for 1,000 turns"
)


def ranked(table: pd.DataFrame, most: int | None = None) -> Chart:
    """Draws what each lever saves per turn with its 95% CI, what saves most for certain on top.

    Harm and false endpoints are changes in 100 turns; price is what 1,000 turns cost more, in US
    dollars.

    Args:
        table: ``Levers.table``.
        most: How many levers are drawn; all by default.
    """
    shown = table[table["saving_s"].notna()].head(most or len(table))
    rows = records(shown)
    ax = new_axes(6.8, 0.27 * len(rows) + 2.0)
    for y, row in enumerate(rows):
        _row(ax, y, row)
    _limits(ax, shown)
    for k, name in enumerate(_COLUMNS):
        note(ax, name, (1, 1), (_FIRST_PT + k * _APART_PT, 4), xycoords="axes fraction",
             ha="center", va="bottom", fontweight="bold")  # fmt: skip
    note(ax, "← slower", (0, 1), (-4, 4), 8, xycoords=ABOVE, ha="right", va="bottom", color=SOFT)
    note(ax, "faster →", (0, 1), (4, 4), 8, xycoords=ABOVE, va="bottom", color=SOFT)
    ax.axvline(0, color=INK, linewidth=1.0, zorder=1)
    name_rows(ax, [str(row["lever"]) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ms_axis(ax, "response latency saved per turn; 95% CI")
    owners = [o for o in OWNERS if o in set(shown["owner"])]
    patches = [
        Patch(facecolor=OWNERS[o][0], hatch=OWNERS[o][1], edgecolor="white", label=o)
        for o in owners
    ]
    figure_of(ax).legend(handles=patches, loc="outside lower center", ncols=len(patches))
    note(ax, _LEGEND, (0, 0), (0, -34), 7.5, xycoords="axes fraction", va="top", color=SOFT)
    return Chart(ax, shown.drop(columns=["code", "how"], errors="ignore"))


def _row(ax: Axes, y: int, row: Mapping[str, Any]) -> None:
    value, low, high = (1000 * end for end in ends(row, "saving", "_s"))
    owner_bar(ax, y, 0.0, value, str(row["owner"]), 0.66)
    draw_ci(ax, y, low, high)
    side = -1 if value < 0 else 1
    tip = min(value, low, 0.0) if side < 0 else max(value, high, 0.0)
    note(ax, number(round(value)), (tip, y), (4 * side, 0), 8, va="center",
         ha="left" if side > 0 else "right")  # fmt: skip
    texts = (*map(in_100, (row["harm"], row["n_false_endpoints"])), price_text(row["usd"]))
    for k, text in enumerate(texts):
        note(ax, text, (1, y), (_FIRST_PT + k * _APART_PT, 0), 8, xycoords=BESIDE, ha="center",
             va="center")  # fmt: skip


def _limits(ax: Axes, shown: pd.DataFrame) -> None:
    """Room for the numbers at the ends of the bars."""
    values = 1000 * shown[["saving_s", "saving_low_s", "saving_high_s"]]
    low, high = min(values.min().min(), 0.0), max(values.max().max(), 0.0)
    room = (high - low) or 1.0
    ax.set_xlim(low - (0.14 if low < -0.5 else 0.03) * room, high + 0.14 * room)


def in_100(per_turn: float) -> str:
    """A change per turn, in 100 turns."""
    return number(round(100 * per_turn, 1), sign=True)


def price_text(usd: float) -> str:
    """A change of the price of a turn, as US dollars for 1,000 turns."""
    return number(round(1000 * usd, 2), sign=True)
