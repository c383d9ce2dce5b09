"""The distribution of the response latency, beside published figures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor
from labkit.evidence.units import whole_interval
from labkit.report.palette import ACCENT, MAIN, SOFT, Chart, ms_axis, new_axes, note

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def distribution_points(turns: pd.DataFrame) -> pd.DataFrame:
    """The numbers of :func:`distribution`: quantiles of the response latency, 95% CI over calls.

    Returns:
        One row per quantile from 1% to 99%: ``quantile``, ``value_s``, ``low_s``, ``high_s``.
    """
    steps = np.unique(np.r_[np.linspace(0.02, 0.98, 49), 0.01, 0.05, 0.95, 0.99].round(2))
    rows = []
    for q in steps:
        rows.append({"quantile": q, **statistics.quantile(turns, q).row("value_s", "_s")})
    return pd.DataFrame(rows)


def distribution(turns: pd.DataFrame, anchors: Sequence[Anchor] = ()) -> Chart:
    """Draws the % of turns answered within a number of milliseconds.

    The curve runs from the fastest 1% of turns to the slowest 1%; its band is the 95% CI over
    calls. p50 and p95 are marked with theirs. Published figures (``anchors``) are drawn at the
    quantile they refer to: a hollow mark for a value, with a line where its CI was published, a bar
    for a range.
    """
    ax = new_axes(8.0, 4.9)
    points = distribution_points(turns)
    level = points["quantile"].to_numpy()
    ax.fill_betweenx(level, points["low_s"] * 1000, points["high_s"] * 1000, color=MAIN, alpha=0.18,
                     linewidth=0)  # fmt: skip
    ax.plot(points["value_s"] * 1000, level, color=MAIN)
    right = 1000 * float(points["value_s"].max())
    for q in (0.5, 0.95):
        found = statistics.quantile(turns, q)
        value, low, high = (1000 * v for v in (found.value, found.low, found.high))
        ax.plot([low, high], [q, q], color=MAIN, linewidth=3.5, solid_capstyle="butt")
        ax.plot([value], [q], "o", color=MAIN, markersize=7, markeredgecolor="white")
        text = f"p{q * 100:.0f} {value:,.0f} ms\n{whole_interval(low, high)}"
        note(ax, text, (value, q), (10, -9), va="top", fontweight="bold", color=MAIN)
        right = max(right, high)
    _anchors(ax, anchors)
    right = max([right, *(1000 * a.high_s for a in anchors)]) * 1.06
    slowest = 1000 * float(turns["response_latency_s"].max())
    if slowest > right:
        ax.annotate(f"slowest turn {slowest:,.0f} ms →", (1, 0.78), ha="right",
                    xycoords=("axes fraction", "data"), fontsize=8.5, color=SOFT)  # fmt: skip
    ax.set_xlim(0, right)
    ax.set_ylim(0, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 0.95, 1], ["0%", "25%", "50%", "75%", "95%", "100%"])
    ax.grid(True, axis="y")
    ax.set_ylabel("turns answered by then")
    ms_axis(ax, "mouth-to-ear response latency")
    return Chart(ax, points)


def _anchors(ax: Axes, anchors: Sequence[Anchor]) -> None:
    names = list(dict.fromkeys(a.name for a in anchors))
    for name, marker in zip(names, itertools.cycle(_MARKERS), strict=False):
        own = [a for a in anchors if a.name == name]
        for a in own:
            ends = [a.low_s * 1000, a.high_s * 1000], [a.quantile] * 2
            if a.value_s is None:
                ax.plot(*ends, color=ACCENT, linewidth=5, solid_capstyle="butt", zorder=4)
            else:
                ax.plot(*ends, color=SOFT, linewidth=1.2, zorder=4)
                ax.plot([a.value_s * 1000], [a.quantile], marker, color=SOFT, markersize=7,
                        markerfacecolor="white", zorder=4)  # fmt: skip
        band = any(a.value_s is None for a in own)
        ax.plot([], [], marker if not band else "", color=ACCENT if band else SOFT,
                linewidth=5 if band else 0, markerfacecolor="white", label=name)  # fmt: skip
    if names:
        ax.legend(loc="lower right", title="published, for comparison", alignment="left")
