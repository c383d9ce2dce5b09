"""Dots with intervals in named rows: results of several arms, in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from labkit.report.palette import ABOVE, ACCENT, INK, Look, figure_of, ms_axis, new_axes, note


class Dot(NamedTuple):
    """A value with its interval."""

    row: str  # its row; rows keep the order of their first dots
    name: str  # in the legend, once for all dots of that name
    ends_s: tuple[float, float, float]  # value, lower and upper end, which may be NaN
    look: Look
    filled: bool = True
    note: str = ""  # written beside it


def dots(
    shown: Sequence[Dot],
    x_name: str,
    *,
    claimed_s: tuple[float, float] | None = None,
    claimed: str = "claimed",
) -> Axes:
    """Draws dots with lines for their intervals; those of one row lie below each other.

    Args:
        claimed_s: A published band, seconds; its upper end is a line.
    """
    rows = list(dict.fromkeys(dot.row for dot in shown))
    ax = new_axes(8.0, 0.5 * len(rows) + 1.6)
    for y, row in enumerate(rows):
        own = [dot for dot in shown if dot.row == row]
        for k, dot in enumerate(own):
            at = y + 0.26 * (k - (len(own) - 1) / 2)
            value, low, high = (1000 * end for end in dot.ends_s)
            colour = dot.look.colour
            ax.plot([low, high], [at, at], color=colour, linewidth=1.6, zorder=3)
            ax.plot([value], [at], dot.look.marker, color=colour, markersize=7.5, zorder=4,
                    markerfacecolor=colour if dot.filled else "white", label=dot.name)  # fmt: skip
            beyond = high if high > value else value
            note(ax, dot.note, (beyond, at), (7, 0), va="center", color=INK)
    ax.margins(x=0.15)
    left, right = ax.get_xlim()
    if min(end for dot in shown for end in dot.ends_s if not math.isnan(end)) >= 0:
        left = 0.0
    ax.set_xlim(left, right + 0.1 * (right - left))  # room for the notes
    if claimed_s is not None:
        low, high = (1000 * end for end in claimed_s)
        ax.axvspan(low, high, color=ACCENT, alpha=0.15, linewidth=0)
        ax.axvline(high, color=ACCENT, linewidth=1.2, linestyle="--")
        note(ax, claimed, (high, 1.0), (4, -3), 8, xycoords=ABOVE, va="top", color=ACCENT)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.6)
    ax.grid(True, axis="x")
    ms_axis(ax, x_name)
    legend = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure_of(ax).legend(legend.values(), legend.keys(), loc="outside lower center", ncols=4)
    return ax
