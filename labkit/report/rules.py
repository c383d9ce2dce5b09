"""Errors of rules: what they find, and what they mistake for it."""

from __future__ import annotations

import pandas as pd

from labkit.evidence.units import Unit
from labkit.report.labels import Label, Line, draw_cross, place
from labkit.report.palette import Chart, looks, new_axes, unit_axis
from labkit.report.saving import ends, records


def rule_errors(points: pd.DataFrame, found: str, wrong: str) -> Chart:
    """Draws the % of cases that a rule finds against the % of others that it takes for one.

    Better is towards the lower right. Crosses are 95% CIs.

    Args:
        points: ``rule``, ``setting``, ``found``, ``wrong`` and each with ``_low`` and ``_high``;
            proportions. Settings of one rule are joined in their order.
        found: What the cases found are called on their axis.
        wrong: What the others taken for one are called.
    """
    ax = new_axes(8.0, 4.6)
    lines: list[Line] = []
    labels = []
    for i, rule in enumerate(dict.fromkeys(points["rule"])):
        own, look = points[points["rule"] == rule], looks(i)
        ax.plot(100 * own["found"], 100 * own["wrong"], color=look.colour, linestyle=look.dash,
                marker=look.marker, markeredgecolor="white", markersize=8, label=rule,
                zorder=3)  # fmt: skip
        for row in records(own):
            x, y = ([100 * end for end in ends(row, name)] for name in ("found", "wrong"))
            lines += draw_cross(ax, x, y, look.colour, linewidth=1.0, alpha=0.6)
            if len(own) > 1:
                labels.append(Label(x[0], y[0], f"{row['setting']:g}", look.text))
    ax.set_xlim(0, 104)
    ax.set_ylim(0, 110 * float(points["wrong_high"].max()))
    unit_axis(ax, Unit(found, 100.0, "%"))
    unit_axis(ax, Unit(wrong, 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper left")
    if labels:
        place(ax, labels, lines)
    return Chart(ax, points)
