"""What two techniques save together beyond what each saves alone, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns

from labkit.evidence.units import ms
from labkit.report.palette import Chart, new_axes
from labkit.report.saving import ends, records


def pair_matrix(matrix: pd.DataFrame, techniques: Sequence[str]) -> Chart:
    """Draws what :func:`labkit.evidence.additivity.interactions` returned, in ms with 95% CI.

    Those that differ from zero are bold.
    """
    names = list(techniques)
    n = len(names)
    ax = new_axes(max(1.35 * n + 2.2, 5.0), max(0.8 * n + 1.2, 2.6))
    if n < 2:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "Fewer than two techniques: nothing can overlap.", ha="center",
                va="center", transform=ax.transAxes)  # fmt: skip
        return Chart(ax, matrix)
    grid = pd.DataFrame(np.nan, index=names[1:], columns=names[:-1])
    texts = pd.DataFrame("", index=grid.index, columns=grid.columns)
    clear: set[str] = set()
    for row in records(matrix):
        value, low, high = ends(row, "interaction", "_s")
        grid.loc[row["second"], row["first"]] = 1000 * value
        text = f"{1000 * value:+,.0f}\n[{ms(low)} to {ms(high)}]"
        if low > 0 or high < 0:
            clear.add(text)
        texts.loc[row["second"], row["first"]] = text
    edge = max(float(np.nanmax(np.abs(grid))), 50.0) * 1.8  # some milliseconds stay pale
    sns.heatmap(grid, annot=texts, fmt="", cmap="PuOr", vmin=-edge, vmax=edge, cbar=False, ax=ax,
                annot_kws={"fontsize": 8.5})  # fmt: skip
    for shown in ax.texts:
        shown.set_fontweight("bold" if shown.get_text() in clear else "normal")
    ax.grid(False)
    ax.tick_params(length=0, rotation=0)
    ax.set_xlabel(
        "together less the sum of both alone (ms, 95% CI);\nnegative: they share a saving"
    )
    return Chart(ax, matrix)
