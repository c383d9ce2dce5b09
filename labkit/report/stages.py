"""Mean time per stage."""

from __future__ import annotations

import numpy as np
import pandas as pd

from labkit.evidence import statistics
from labkit.measure.stages import STAGES
from labkit.report.palette import (
    NAMES,
    SHOWN_S,
    SOFT,
    Chart,
    draw_ci,
    ms_axis,
    name_rows,
    new_axes,
    note,
    owner_bar,
    owner_of,
)
from labkit.report.saving import records


def stage_means(turns: pd.DataFrame) -> pd.DataFrame:
    """Mean time of each stage on the path that was waited for, with 95% CI over calls.

    Returns:
        One row per stage that took any time, waited for or not: ``stage``, ``owner``, ``mean_s``,
        ``low_s``, ``high_s``, ``share`` (proportion) of the mean response latency; and of the turns
        in which it happened ``length_s``, its whole mean length, and ``slack_s``, its mean slack.
    """
    answered = turns[turns["residual_s"].notna()]
    whole = float(answered["response_latency_s"].mean())
    rows = []
    for name in STAGES:
        found = statistics.mean(answered, name)
        happened = answered[answered[f"length_{name}"] > SHOWN_S]
        if len(happened):
            rows.append({"stage": name.removesuffix("_s"), "owner": owner_of(name),
                         **found.row("mean_s", "_s"), "share": found.value / whole,
                         "length_s": float(happened[f"length_{name}"].mean()),
                         "slack_s": float(happened[f"slack_{name}"].mean())})  # fmt: skip
    return pd.DataFrame(rows)


def stages(turns: pd.DataFrame) -> Chart:
    """Draws :func:`stage_means`, coloured by owner; the bars add up to the mean latency."""
    means = stage_means(turns)
    ax = new_axes(8.0, 0.31 * len(means) + 1.2)
    edge = 1000 * float(np.nanmax(means[["mean_s", "high_s"]].to_numpy(dtype=float)))
    longest = means["mean_s"].nlargest(2).to_list()
    for y, row in enumerate(records(means)):
        value, low, high = (1000 * row[k] for k in ("mean_s", "low_s", "high_s"))
        owner_bar(ax, y, 0.0, value, row["owner"], 0.7)
        draw_ci(ax, y, low, high)
        weight = "bold" if row["mean_s"] in longest else "normal"
        bar = ax.text(max(value, high) + 0.012 * edge, y, f"{value:,.0f}", va="center",
                      fontsize=8.5, fontweight=weight)  # fmt: skip
        if row["slack_s"] > SHOWN_S:
            text = f"of {1000 * row['length_s']:,.0f}, slack {1000 * row['slack_s']:,.0f}"
            note(ax, text, (1, 0.5), (5, 0), xycoords=bar, va="center", color=SOFT, fontsize=7.5)
    name_rows(ax, [f"{NAMES[r['stage'] + '_s']}  ·  {r['owner']}" for r in records(means)])
    ax.invert_yaxis()
    ax.set_xlim(0, edge * 1.3)
    whole = 1000 * float(turns.loc[turns["residual_s"].notna(), "response_latency_s"].mean())
    note(ax, f"together {1000 * means['mean_s'].sum():,.0f} ms\nmean latency {whole:,.0f} ms",
         (1, 0), (-4, 6), xycoords="axes fraction", ha="right", color=SOFT)  # fmt: skip
    ms_axis(ax, "mean time per answered turn, 95% CI over calls")
    return Chart(ax, means)
