"""Sweeps side by side, on common axes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from labkit.report.sweeps import sweep_lines, sweep_points


def panel_points(
    turns: pd.DataFrame, x: str, y: str, by: str | None, panel: str, q: float | None = 0.5
) -> pd.DataFrame:
    """The numbers of :func:`sweep_panels`: :func:`labkit.report.sweeps.sweep_points`, by panel."""
    parts = [
        sweep_points(part, x, y, by, q=q).assign(**{panel: name})
        for name, part in turns.groupby(panel, sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def sweep_panels(
    points: pd.DataFrame, x: str, y: str, by: str | None, panel: str, **more: Any
) -> Figure:
    """Draws one panel of :func:`labkit.report.sweeps.sweep_lines` per value of a column.

    Args:
        points: ``x``, ``y``, ``low``, ``high``, ``by`` and ``panel``, in the units of tables.
        x: The swept column.
        y: The column drawn.
        by: Column with a line for each value.
        panel: Column with a panel for each value, which is its title.
        **more: Passed on to ``sweep_lines``.

    Returns:
        The figure; all panels share both axes.
    """
    titles = list(dict.fromkeys(points[panel]))
    figure, axes = plt.subplots(
        1, len(titles), figsize=(4.6 * len(titles) + 1.2, 4.2), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    lowest = highest = 0.0
    groups = None if by is None else list(dict.fromkeys(points[by]))
    lines: dict[str, Artist] = {}
    for ax, title in zip(axes[0], titles, strict=True):
        sweep_lines(points[points[panel] == title], x, y, by, ax, groups=groups, **more)
        handles, names = ax.get_legend_handles_labels()
        lines |= dict(zip(names, handles, strict=True))
        ax.set_title(str(title))
        ax.label_outer()
        lowest = min(lowest, ax.get_ylim()[0])
        highest = max(highest, ax.get_ylim()[1])
    axes[0, 0].set_ylim(lowest, highest)
    if groups is not None:
        shown = [str(group) for group in groups if str(group) in lines]
        figure.legend([lines[name] for name in shown], shown, loc="outside lower center",
                      ncols=min(4, 2 * len(titles)))  # fmt: skip
    return figure
