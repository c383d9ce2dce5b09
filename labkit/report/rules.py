"""How rules err: what they find, and what they wrongly take for it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence.units import Unit
from labkit.report.labels import Label, Obstacles, place
from labkit.report.palette import axes_or_new, looks
from labkit.report.saving import records
from labkit.report.units import unit_axis


def rule_errors(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the % of cases that a rule finds against the % of others that it takes for one.

    Args:
        points: ``rule``, ``setting``, ``found``, ``wrong`` and each with ``_low`` and ``_high``;
            proportions. Settings of one rule are joined in their order.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes; better is towards the lower right. Crosses are 95% CIs.
    """
    ax = axes_or_new(ax, 8.0, 4.6)
    obstacles, labels = Obstacles(), []
    for i, rule in enumerate(dict.fromkeys(points["rule"])):
        own, look = points[points["rule"] == rule], looks(i)
        x, y = (100 * own["found"]).to_numpy(), (100 * own["wrong"]).to_numpy()
        ax.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker,
                markeredgecolor="white", markersize=8, label=rule, zorder=3)  # fmt: skip
        for row in records(own):
            at, up = 100 * row["found"], 100 * row["wrong"]
            ends = [100 * row[f"found_{e}"] for e in ("low", "high")]
            heights = [100 * row[f"wrong_{e}"] for e in ("low", "high")]
            ax.plot(ends, [up, up], color=look.colour, linewidth=1.0, alpha=0.6)
            ax.plot([at, at], heights, color=look.colour, linewidth=1.0, alpha=0.6)
            obstacles.line(ends[0], up, ends[1], up)
            obstacles.line(at, heights[0], at, heights[1])
            if len(own) > 1:
                labels.append(Label(at, up, f"{row['setting']:g}", look.text))
    ax.set_xlim(0, 104)
    ax.set_ylim(0, 110 * float(points["wrong_high"].max()))
    unit_axis(ax, Unit("acknowledgements found", 100.0, "%"))
    unit_axis(ax, Unit("other wordings taken for one", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper left")
    if labels:
        place(ax, labels, obstacles)
    return ax
