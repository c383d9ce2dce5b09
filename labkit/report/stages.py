"""Means by stage."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.measure.timeline import STAGES
from labkit.report.palette import NAMES, OWNERS, SOFT, axes_or_new, draw_ci, ms_axis, owner_of
from labkit.report.saving import records

_SHOWN_S = 0.0005


def stage_means(turns: pd.DataFrame) -> pd.DataFrame:
    """Mean visible time of each stage over answered turns, with 95% CI over calls.

    Returns:
        One row per stage that took any time: ``stage``, ``owner``, ``mean_s``, ``low_s``,
        ``high_s``, ``share`` (proportion) of the mean response latency.
    """
    answered = turns[turns["residual_s"].notna()]
    whole = float(answered["response_latency_s"].mean())
    rows = []
    for name in STAGES:
        found = statistics.mean(answered, name)
        if found.value > _SHOWN_S:
            rows.append({"stage": name.removesuffix("_s"), "owner": owner_of(name),
                         **found.row("mean_s", "_s"), "share": found.value / whole})  # fmt: skip
    return pd.DataFrame(rows)


def stage_bars(turns: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the mean visible time of each stage with its 95% CI, coloured by owner.

    Args:
        turns: The turns table; turns without a reply are left out.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes; x is milliseconds per answered turn. The bars add up to the mean latency.
    """
    means = stage_means(turns)
    ax = axes_or_new(ax, 8.0, 0.31 * len(means) + 1.2)
    edge = 1000 * float(means["high_s"].max())
    longest = means["mean_s"].nlargest(2).to_list()
    for y, row in enumerate(records(means)):
        colour, hatch = OWNERS[row["owner"]]
        value, low, high = (1000 * row[k] for k in ("mean_s", "low_s", "high_s"))
        ax.barh(y, value, height=0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        draw_ci(ax, y, low, high)
        ax.text(high + 0.012 * edge, y, f"{value:,.0f}", va="center", fontsize=8.5,
                fontweight="bold" if row["mean_s"] in longest else "normal")  # fmt: skip
    names = [f"{NAMES[r['stage'] + '_s']}  ·  {r['owner']}" for r in records(means)]
    ax.set_yticks(range(len(means)), names)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(0, edge * 1.12)
    whole = 1000 * float(turns.loc[turns["residual_s"].notna(), "response_latency_s"].mean())
    ax.annotate(f"together {1000 * means['mean_s'].sum():,.0f} ms\nmean latency {whole:,.0f} ms",
                (1, 0), xycoords="axes fraction", xytext=(-4, 6), textcoords="offset points",
                ha="right", fontsize=8.5, color=SOFT)  # fmt: skip
    ms_axis(ax, "mean time per answered turn, 95% CI over calls")
    return ax
