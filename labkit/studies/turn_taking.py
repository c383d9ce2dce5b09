"""Figures of the turn-taking studies."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from labkit.engine.tables import Results
from labkit.evidence.anchors import Anchor
from labkit.evidence.claims import Claim
from labkit.report.arms import frontier, frontier_points
from labkit.report.labels import Label, Obstacles, place
from labkit.report.palette import ACCENT, INK, MAIN, SOFT, axes_or_new, looks, ms_axis
from labkit.report.saving import records
from labkit.report.sweeps import sweep_lines
from labkit.report.units import Unit, unit_axis
from labkit.report.verdicts import latency_claim
from labkit.studies.turn_taking_tables import (
    FLOOR,
    PERSONA,
    cells,
    floor_points,
    group_and_label,
    pause_points,
    release_table,
    separation,
    shares,
    table,
    waits,
)

__all__ = [
    "FLOOR",
    "PERSONA",
    "cells",
    "commit_curves",
    "commit_steps",
    "floor_lines",
    "floor_points",
    "frontier_table",
    "frontiers",
    "handover_verdicts",
    "heat_map",
    "pause_points",
    "pauses",
    "release_table",
    "separation",
    "shares",
    "table",
    "waits",
]


def frontier_table(results: Results, harm: str = "premature", q: float = 0.5) -> pd.DataFrame:
    """The numbers of :func:`frontiers`: as ``lab.figures.frontier_points``, for each persona."""
    parts = []
    for persona in results.turns[PERSONA].unique():
        arms = {n: waits(a.turns) for n, a in results.part(**{PERSONA: persona}).arms.items()}
        names = {name: group_and_label(name) for name in arms}
        points = frontier_points(
            arms,
            harm=harm,
            q=q,
            groups={n: g for n, (g, _) in names.items()},
            labels={n: label for n, (_, label) in names.items()},
        )
        parts.append(points.assign(persona=persona))
    return pd.concat(parts, ignore_index=True)


def frontiers(
    points: pd.DataFrame,
    harm_name: str,
    limit: float | None = None,
    anchors: Sequence[Anchor] = (),
) -> Figure:
    """Latency against harm, one panel per persona, each with axes of its own.

    Args:
        points: What :func:`frontier_table` returned.
        harm_name: What the harm is called.
        limit: Harm accepted at most.
        anchors: Published latencies, drawn as lines.
    """
    personas = list(points["persona"].unique())
    figure, axes = plt.subplots(
        1, len(personas), figsize=(5.6 * len(personas), 5.0), layout="constrained", squeeze=False
    )
    for ax, persona in zip(axes[0], personas, strict=True):
        frontier(points[points["persona"] == persona], ax, harm_name=harm_name, limit=limit)
        ax.set_title(f"{persona.replace('_', ' ')} callers")
        for anchor in anchors:
            at = 1000 * (anchor.value_s or anchor.low_s)
            ax.set_xlim(left=min(ax.get_xlim()[0], 0.8 * at))
            ax.axvline(at, color=SOFT, linewidth=1.0, linestyle=":")
            ax.annotate(anchor.name, (at, 1), xycoords=("data", "axes fraction"), rotation=90,
                        xytext=(3, -4), textcoords="offset points", va="top", fontsize=8,
                        color=SOFT)  # fmt: skip
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    handles, names = axes[0][0].get_legend_handles_labels()
    axes[0][0].legend(handles, names, loc="upper right")
    return figure


def pauses(points: pd.DataFrame, anchors: Sequence[Anchor], ax: Axes | None = None) -> Axes:
    """Draws cut-offs per pause against the delay of the decision, beside published points.

    Args:
        points: What ``pause_points`` returned; an arm that cut every turn off has no delay and no
            place here.
        anchors: Published points with a ``share``.
        ax: Where to draw; a new figure by default.
    """
    ax = axes_or_new(ax, 8.0, 4.8)
    obstacles, labels = Obstacles(), []
    points = points[points["delay_s"].notna()]
    for i, group in enumerate(dict.fromkeys(points["group"])):
        own, look = records(points[points["group"] == group]), looks(i)
        x = [1000 * r["delay_s"] for r in own]
        y = [100 * r["share"] for r in own]
        ax.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker, label=group)
        for k, r in enumerate(own):
            ax.vlines(x[k], 100 * r["low"], 100 * r["high"], color=look.colour, linewidth=1.1)
            obstacles.line(x[k], 100 * r["low"], x[k], 100 * r["high"])
            labels.append(Label(x[k], y[k], str(r["label"]), look.text))
            if k:
                obstacles.line(x[k - 1], y[k - 1], x[k], y[k])
    for k, anchor in enumerate(anchors):
        at, share = 1000 * (anchor.value_s or anchor.low_s), 100 * (anchor.share or 0.0)
        name = None if k else "published, eot-bench"
        ax.plot([at], [share], "X", color=SOFT, markersize=8, label=name)
        labels.append(Label(at, share, anchor.name.rpartition(": ")[2], SOFT))
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ms_axis(ax, "median delay from the last sound to the decision")
    unit_axis(ax, Unit("pauses taken for the end of the turn", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper right")
    place(ax, labels, obstacles)
    return ax


def commit_steps(turns: pd.DataFrame, by: str) -> pd.DataFrame:
    """The numbers of :func:`commit_curves`: each turn's delay, sorted, with its share of turns."""
    parts = []
    for value, part in turns[turns["end_of_turn_s"].notna()].groupby(by):
        delays = np.sort(part["end_of_turn_s"].to_numpy(dtype=float))
        share = np.arange(1, len(delays) + 1) / len(delays)
        parts.append(pd.DataFrame({by: value, "end_of_turn_s": delays, "share": share}))
    return pd.concat(parts, ignore_index=True)


def commit_curves(steps: pd.DataFrame, by: str, ax: Axes | None = None) -> Axes:
    """Draws which share of turns was committed by when, a curve for each value of a setting."""
    ax = axes_or_new(ax, 8.0, 4.4)
    for i, (value, own) in enumerate(steps.groupby(by)):
        look = looks(i)
        at, share = own["end_of_turn_s"].to_numpy(), own["share"].to_numpy()
        ax.step(1000 * np.array([at[0], *at]), 100 * np.array([0.0, *share]), where="post",
                color=look.colour, linestyle=look.dash, linewidth=1.8,
                label=f"{value:g} s")  # fmt: skip
        ax.axvline(1000 * float(value), color=look.colour, linewidth=0.8, linestyle=":")  # type: ignore[arg-type]
    ax.set_ylim(0, 102)
    ax.set_xlim(left=0)
    ms_axis(ax, "from the caller's last sound at the agent's ear to the commit")
    unit_axis(ax, Unit("turns committed", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(title=by, loc="lower right")
    return ax


def handover_verdicts(results: Results, claim: Claim) -> pd.DataFrame:
    """Each arm's handover, over all release times, held against a claimed band."""
    rows = [
        latency_claim(arm.turns, claim, arm=name, column="handover_s")
        for name, arm in results.arms.items()
    ]
    return pd.concat(rows, ignore_index=True)


def heat_map(cells: pd.DataFrame, x: str, y: str, ax: Axes | None = None, name: str = "") -> Axes:
    """Draws the medians of ``cells`` as a grid of milliseconds; where x = y is marked."""
    ax = axes_or_new(ax, 7.2, 4.4)
    grid = cells.pivot(index=y, columns=x, values="median")
    ramp = LinearSegmentedColormap.from_list("blues", ["#F4F8FB", MAIN])
    ax.imshow(1000 * grid.to_numpy(), origin="lower", aspect="auto", cmap=ramp)
    middle = float(np.nanmean([grid.min().min(), grid.max().max()]))
    for i, row in enumerate(grid.index):
        for j, column in enumerate(grid.columns):
            value = float(grid.loc[row, column])
            ax.annotate(f"{1000 * value:,.0f}", (j, i), ha="center", va="center", fontsize=10,
                        color="white" if value > middle else INK)  # fmt: skip
    # cells in which the floor is below the VAD's silence: the setting has nothing left to do
    for i, row in enumerate(grid.index):
        last = sum(c < row for c in grid.columns)
        ax.plot([last - 0.5] * 2, [i - 0.5, i + 0.5], color=ACCENT, linewidth=2.2)
        if i and (before := sum(c < grid.index[i - 1] for c in grid.columns)) != last:
            ax.plot([before - 0.5, last - 0.5], [i - 0.5] * 2, color=ACCENT, linewidth=2.2)
    ax.set_xticks(range(len(grid.columns)), [f"{1000 * c:g}" for c in grid.columns])
    ax.set_yticks(range(len(grid.index)), [f"{1000 * r:g}" for r in grid.index])
    ax.set_xlabel(f"{x} (ms)")
    ax.set_ylabel(f"{y} (ms)")
    ax.grid(False)
    if name:
        ax.annotate(name, (0, 1), xycoords="axes fraction", xytext=(0, 4), fontsize=9, color=SOFT,
                    textcoords="offset points")  # fmt: skip
    return ax


def floor_lines(finished: pd.DataFrame, harms: pd.DataFrame) -> Figure:
    """Draws what the room tone does: to the detector's judgement, and to the callers.

    Args:
        finished: What ``floor_points`` returned.
        harms: What ``shares`` returned, by persona over the floor.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
    sweep_lines(finished, FLOOR, "finished", "asked", left, x_name="room tone", share=True,
                y_name="taken for a finished turn")  # fmt: skip
    left.set_title("Detector: turn over?")
    sweep_lines(harms, FLOOR, "share", PERSONA, right, x_name="room tone", share=True,
                y_name="turns cut off")  # fmt: skip
    right.set_title("Callers: cut off?")
    return figure
