"""The figures of a study: one function per kind, tidy tables in, axes out.

Every function takes ``ax`` and returns the axes it drew on, touches no global state and shows
nothing. Times are seconds in tables and milliseconds on axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor
from labkit.evidence.statistics import Estimate
from labkit.evidence.summary import percent
from labkit.report.arms import arms_forest, frontier, frontier_points
from labkit.report.harms import harm_bars, harm_changes
from labkit.report.palette import (
    ACCENT,
    BASELINE,
    INK,
    MAIN,
    OWNERS,
    SOFT,
    axes_or_new,
    looks,
    ms_axis,
    use_style,
)
from labkit.report.panels import panel_points, sweep_panels
from labkit.report.rules import rule_errors
from labkit.report.saving import figures_dir, save
from labkit.report.stages import (
    difference_by_stage,
    difference_means,
    sdk_difference,
    stage_bars,
    stage_means,
)
from labkit.report.sweeps import sweep_lines, sweep_points
from labkit.report.waterfall import one_turn, turn_waterfall, turn_waterfalls

__all__ = [
    "ACCENT",
    "BASELINE",
    "MAIN",
    "OWNERS",
    "arms_forest",
    "axes_or_new",
    "commit_modes",
    "commit_points",
    "difference_by_stage",
    "difference_means",
    "distribution_points",
    "ear_against_sdk",
    "figures_dir",
    "frontier",
    "frontier_points",
    "harm_bars",
    "harm_changes",
    "latency_distribution",
    "looks",
    "one_turn",
    "rule_errors",
    "panel_points",
    "save",
    "sdk_difference",
    "stage_bars",
    "stage_means",
    "sweep_lines",
    "sweep_panels",
    "sweep_points",
    "turn_waterfall",
    "turn_waterfalls",
    "use_style",
]

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def distribution_points(turns: pd.DataFrame, column: str = "response_latency_s") -> pd.DataFrame:
    """The numbers of a distribution: quantiles of a column with 95% intervals over calls.

    Returns:
        One row per quantile from 1% to 99%: ``quantile``, ``value_s``, ``low_s``, ``high_s``.
    """
    steps = np.unique(np.r_[np.linspace(0.02, 0.98, 49), 0.01, 0.05, 0.95, 0.99].round(2))
    rows = []
    for q in steps:
        found = statistics.quantile(turns, float(q), column)
        rows.append({"quantile": float(q), "value_s": found.value, "low_s": found.low,
                     "high_s": found.high})  # fmt: skip
    return pd.DataFrame(rows)


def latency_distribution(
    turns: pd.DataFrame,
    ax: Axes | None = None,
    *,
    anchors: Sequence[Anchor] = (),
    column: str = "response_latency_s",
) -> Axes:
    """Draws which share of turns was answered within how many milliseconds.

    The curve runs from the fastest 1% of turns to the slowest 1%; its band is the 95% interval over
    calls. p50 and p95 are marked with theirs. Published figures
    stand at the share they speak of: a hollow mark for a value, with a line where its interval was
    published, a bar for a range.

    Args:
        turns: The turns table; turns without a latency are left out.
        ax: Where to draw; a new figure by default.
        anchors: Published figures to draw beside.
        column: Column in seconds.

    Returns:
        The axes; x is milliseconds from zero, y a share of turns.
    """
    ax = axes_or_new(ax, 8.0, 4.9)
    points = distribution_points(turns, column)
    share = points["quantile"].to_numpy()
    ax.fill_betweenx(share, points["low_s"] * 1000, points["high_s"] * 1000, color=MAIN, alpha=0.18,
                     linewidth=0)  # fmt: skip
    ax.plot(points["value_s"] * 1000, share, color=MAIN)
    right = 1000 * float(points["value_s"].max())
    for q in (0.5, 0.95):
        found = statistics.quantile(turns, q, column)
        value, low, high = (1000 * v for v in (found.value, found.low, found.high))
        ax.plot([low, high], [q, q], color=MAIN, linewidth=3.5, solid_capstyle="butt")
        ax.plot([value], [q], "o", color=MAIN, markersize=7, markeredgecolor="white")
        ax.annotate(f"p{q * 100:.0f} {value:,.0f} ms\n[{low:,.0f}–{high:,.0f}]", (value, q),
                    xytext=(10, -9), textcoords="offset points", va="top", fontsize=8.5,
                    fontweight="bold", color=MAIN)  # fmt: skip
        right = max(right, high)
    _anchors(ax, anchors)
    right = max([right, *(1000 * a.high_s for a in anchors)]) * 1.06
    slowest = 1000 * float(turns[column].max())
    if slowest > right:
        ax.annotate(f"slowest turn {slowest:,.0f} ms →", (1, 0.78), ha="right",
                    xycoords=("axes fraction", "data"), fontsize=8.5, color=SOFT)  # fmt: skip
    ax.set_xlim(0, right)
    ax.set_ylim(0, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 0.95, 1], ["0%", "25%", "50%", "75%", "95%", "100%"])
    ax.grid(True, axis="y")
    ax.set_ylabel("share of turns answered by then")
    ms_axis(ax, "response latency at the caller's ear")
    return ax


def _anchors(ax: Axes, anchors: Sequence[Anchor]) -> None:
    names = list(dict.fromkeys(a.name for a in anchors))
    for i, name in enumerate(names):
        own = [a for a in anchors if a.name == name]
        marker = _MARKERS[i % len(_MARKERS)]
        for a in own:
            if a.high_s > a.low_s and a.value_s is None:
                ax.plot([a.low_s * 1000, a.high_s * 1000], [a.quantile] * 2, color=ACCENT,
                        linewidth=5, solid_capstyle="butt", zorder=4)  # fmt: skip
            elif a.value_s is not None:
                ax.plot([a.low_s * 1000, a.high_s * 1000], [a.quantile] * 2, color=SOFT,
                        linewidth=1.2, zorder=4)  # fmt: skip
                ax.plot([a.value_s * 1000], [a.quantile], marker, color=SOFT, markersize=7,
                        markerfacecolor="white", zorder=4)  # fmt: skip
        band = any(a.value_s is None for a in own)
        ax.plot([], [], marker if not band else "", color=ACCENT if band else SOFT,
                linewidth=5 if band else 0, markerfacecolor="white", label=name)  # fmt: skip
    if names:
        ax.legend(loc="lower right", title="published, for comparison", alignment="left")


def ear_against_sdk(
    turns: pd.DataFrame,
    ax: Axes | None = None,
    *,
    published_gap_s: tuple[float, float] | None = None,
) -> Axes:
    """Draws, turn by turn, what the caller heard against the SDK's own ``e2e_latency``.

    Args:
        turns: The turns table.
        ax: Where to draw; a new figure by default.
        published_gap_s: A published range of the difference, drawn as a band.

    Returns:
        The axes; both axes are milliseconds from zero.
    """
    split = sdk_difference(turns)
    ax = axes_or_new(ax, 8.0, 5.0)
    x, y = split["sdk_e2e_latency_s"] * 1000, split["response_latency_s"] * 1000
    edge = float(max(x.max(), y.max())) * 1.06 if len(split) else 1.0
    line = np.array([0.0, edge])
    if published_gap_s is not None:
        low, high = (1000 * v for v in published_gap_s)
        ax.fill_between(line, line + low, line + high, color=BASELINE, alpha=0.3, linewidth=0)
        ax.annotate(f"published gap {low:,.0f}–{high:,.0f} ms", (0.56 * edge, 0.56 * edge + high),
                    ha="right", va="bottom", color=SOFT, fontsize=8.5)  # fmt: skip
    ax.plot(line, line, color=BASELINE, linewidth=1.2)
    ax.annotate("if they agreed", (0.72 * edge, 0.72 * edge), xytext=(8, -8), va="top",
                textcoords="offset points", color=SOFT, fontsize=8.5)  # fmt: skip
    ax.plot(x, y, "o", color=MAIN, markersize=4.5, alpha=0.65, markeredgewidth=0)
    gap = statistics.quantile(split, 0.5, "difference_s")
    ax.annotate(
        f"median gap {gap.value * 1000:,.0f} ms\n[{gap.low * 1000:,.0f}–{gap.high * 1000:,.0f}]",
        (0.03, 0.97), xycoords="axes fraction", va="top", color=MAIN, fontweight="bold",
    )  # fmt: skip
    ax.set_xlim(0, edge)
    ax.set_ylim(0, edge)
    ax.grid(True, axis="both")
    ms_axis(ax, "the SDK's e2e_latency")
    ms_axis(ax, "response latency at the caller's ear", axis="y")
    return ax


def commit_points(arms: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers of :func:`commit_modes`: one row per answered turn whose commit is known.

    Returns:
        ``arm``, ``call``, ``turn``, ``sdk_end_of_turn_delay_s``, ``response_latency_s``.
    """
    keep = ["call", "turn", "sdk_end_of_turn_delay_s", "response_latency_s"]
    parts = []
    for name, turns in arms.items():
        known = turns["sdk_end_of_turn_delay_s"].notna() & turns["residual_s"].notna()
        parts.append(turns.loc[known, keep].assign(arm=name)[["arm", *keep]])
    return pd.concat(parts, ignore_index=True)


def _longest_wait(points: pd.DataFrame) -> tuple[float, Estimate, float]:
    """The longest wait of an arm (ms), the share of turns with it, their shortest latency (ms)."""
    longest = float(points["sdk_end_of_turn_delay_s"].max())
    there = points["sdk_end_of_turn_delay_s"] > longest - 0.005
    shortest = float(points.loc[there, "response_latency_s"].min())
    return longest * 1000, statistics.rate(points, there), shortest * 1000


def commit_modes(arms: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Draws each turn's response latency against the wait before the turn was committed.

    Args:
        arms: Turns tables by name, at most three; the first is the baseline.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes; both axes are milliseconds from zero.
    """
    ax = axes_or_new(ax, 8.0, 4.2)
    points = commit_points(arms)
    looks = [(BASELINE, "o"), (MAIN, "^"), (ACCENT, "s")]
    for name, (colour, marker) in zip(arms, looks, strict=False):
        own = points[points["arm"] == name]
        ax.plot(own["sdk_end_of_turn_delay_s"] * 1000, own["response_latency_s"] * 1000, marker,
                color=colour, markersize=5.5, alpha=0.65, markeredgewidth=0,
                label=name)  # fmt: skip
        at, share, low_ms = _longest_wait(own)
        text = f"{name}\n{percent(share.value)} of turns\n"
        text += f"[{percent(share.low)}–{percent(share.high)}]"
        ax.annotate(text, (at, low_ms), xytext=(0, -8), textcoords="offset points", ha="center",
                    va="top", color=INK if colour == BASELINE else colour)  # fmt: skip
    ax.set_xlim(0, 1.1 * 1000 * float(points["sdk_end_of_turn_delay_s"].max()))
    ax.set_ylim(bottom=0)
    ax.grid(True, axis="both")
    ms_axis(ax, "wait from the SDK's end of speech to the commit")
    ms_axis(ax, "response latency", axis="y")
    return ax
