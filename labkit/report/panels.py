"""Sweeps in one panel, or side by side on common axes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist

from labkit.report.palette import Chart
from labkit.report.sweeps import sweep_lines, sweep_points


def swept(
    turns: pd.DataFrame,
    x: str,
    y: str = "response_latency_s",
    by: str | None = None,
    *,
    panel: str | None = None,
    q: float | None = 0.5,
    **more: Any,
) -> Chart:
    """A column against a swept setting, from the turns of all points.

    Args:
        y: An outcome, or a boolean or numeric column.
        panel: Column with a panel for each value; one panel by default.
        q: Quantile of a numeric ``y``; None takes the mean.
        **more: Passed on to :func:`labkit.report.sweeps.sweep_lines`.
    """
    if panel is None:
        return lines(sweep_points(turns, x, y, by, q=q), x, y, by, **more)
    parts = [
        sweep_points(part, x, y, by, q=q).assign(**{panel: name})
        for name, part in turns.groupby(panel, sort=False)
    ]
    return lines(pd.concat(parts, ignore_index=True), x, y, by, panel, **more)


def lines(
    points: pd.DataFrame, x: str, y: str, by: str | None, panel: str | None = None, **more: Any
) -> Chart:
    """Draws :func:`labkit.report.sweeps.sweep_lines`, with ``panel`` once for each of its values.

    Args:
        points: ``x``, ``y``, ``low``, ``high``, ``by`` and ``panel``, in the units of tables.
        panel: Column with a panel for each value, which is its title; all share both axes.
    """
    if panel is None:
        return Chart(sweep_lines(points, x, y, by, **more), points)
    titles = list(dict.fromkeys(points[panel]))
    figure, axes = plt.subplots(
        1, len(titles), figsize=(4.6 * len(titles) + 1.2, 4.2), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    lowest = highest = 0.0
    groups = None if by is None else list(dict.fromkeys(points[by]))
    drawn: dict[str, Artist] = {}
    for ax, title in zip(axes[0], titles, strict=True):
        sweep_lines(points[points[panel] == title], x, y, by, ax, groups=groups, **more)
        handles, names = ax.get_legend_handles_labels()
        drawn |= dict(zip(names, handles, strict=True))
        ax.set_title(str(title))
        ax.label_outer()
        lowest = min(lowest, ax.get_ylim()[0])
        highest = max(highest, ax.get_ylim()[1])
    axes[0, 0].set_ylim(lowest, highest)
    if groups is not None:
        shown = [str(group) for group in groups if str(group) in drawn]
        figure.legend([drawn[name] for name in shown], shown, loc="outside lower center",
                      ncols=min(4, 2 * len(titles)))  # fmt: skip
    return Chart(figure, points)
