"""Arms side by side: gain against harm, and paired savings with their CI."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import HARMED, Turns, turns_of
from labkit.evidence.units import SHARE, Unit, number, unit_of, whole_interval
from labkit.evidence.verdict import TRADE_OFF, UNDECIDED
from labkit.report.harms import What, harm_level
from labkit.report.labels import Label, Line, draw_cross, place
from labkit.report.palette import (
    ABOVE,
    ACCENT,
    BASELINE,
    BESIDE,
    INK,
    MAIN,
    SOFT,
    Chart,
    Look,
    looks,
    ms_axis,
    name_rows,
    new_axes,
    note,
    unit_axis,
)
from labkit.report.saving import ends, records

_BASE = Look(BASELINE, INK, "X", "-", "")


def frontier_points(
    arms: Mapping[str, Turns],
    *,
    harm: What = HARMED,
    q: float = 0.5,
    groups: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The numbers of :func:`frontier`: latency and harm of each arm with 95% CI over calls.

    Args:
        arms: Runs or turns tables by name, in the order in which points of a group are joined.
        harm: An outcome, several outcomes, or a column of the turns table.
        groups: Group of each arm by name, such as the persona or the detector.
        labels: What is written at an arm's point; its name by default.

    Returns:
        One row per arm: ``arm``, ``label``, ``group``, ``quantile``, ``latency_s``,
        ``latency_low_s``, ``latency_high_s``, ``harm_kind``, ``harm``, ``harm_low``, ``harm_high``,
        ``n_turns``.
    """
    rows: list[dict[str, Any]] = []
    for name, given in arms.items():
        turns = turns_of(given)
        latency = statistics.quantile(turns, q)
        level, kind = harm_level(turns, harm)
        rows.append({
            "arm": name, "label": (labels or {}).get(name, name),
            "group": (groups or {}).get(name, ""), "quantile": q,
            **latency.columns("latency", "_s"), "harm_kind": kind, **level.columns("harm"),
            "n_turns": len(turns),
        })  # fmt: skip
    return pd.DataFrame(rows)


def frontier(
    points: pd.DataFrame,
    ax: Axes | None = None,
    *,
    harm_name: str = "turns with a premature or no reply",
    baseline: str | None = None,
    limit: float | None = None,
) -> Axes:
    """Draws response latency against harm, a cross of CIs and a name at each arm.

    Better is towards the lower left. An arm that answered nothing is named in a corner instead.

    Args:
        points: What :func:`frontier_points` returned; arms of one group are joined in their order.
        baseline: The arm drawn in grey.
        limit: Harm accepted at most; what lies above is shaded.
    """
    ax = ax or new_axes(8.0, 4.8)
    kind = str(points["harm_kind"].iloc[0])
    unit = Unit(harm_name, 100.0, "% of turns") if kind == SHARE else unit_of(kind)
    known = points[points["latency_s"].notna() & points["harm"].notna()]
    lost = [str(name) for name in points["arm"] if name not in set(known["arm"])]
    groups = list(dict.fromkeys(str(g) for g in known["group"]))
    lines: list[Line] = []
    labels = []
    for group in filter(None, groups):
        own = known[known["group"] == group]
        look = looks(groups.index(group))
        at = np.c_[1000 * own["latency_s"], unit.factor * own["harm"]]
        ax.plot(*at.T, color=look.colour, linestyle=look.dash, marker=look.marker, linewidth=1.4,
                markersize=6, label=group, alpha=0.85, zorder=2)  # fmt: skip
        lines += map(tuple, np.c_[at[:-1], at[1:]])
    for i, row in enumerate(records(known)):
        look = looks(groups.index(row["group"]) if row["group"] else i)
        look = _BASE if row["arm"] == baseline else look
        x = [1000 * end for end in ends(row, "latency", "_s")]
        y = [unit.factor * end for end in ends(row, "harm")]
        lines += draw_cross(ax, x, y, look.colour, linewidth=1.2, alpha=0.8, zorder=3)
        ax.plot(x[:1], y[:1], look.marker, color=look.colour, markersize=8,
                markeredgecolor="white", zorder=5)  # fmt: skip
        labels.append(Label(x[0], y[0], str(row["label"]), look.text))
    _limits(ax, known, unit, limit)
    if lost:
        note(ax, "no answer to measure: " + ", ".join(lost), (1, 1), (0, -3),
             xycoords="axes fraction", ha="right", va="top", color=ACCENT)  # fmt: skip
    if any(groups):
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    quantile = float(points["quantile"].iloc[0])
    ms_axis(ax, f"p{100 * quantile:g} of the mouth-to-ear response latency")
    unit_axis(ax, unit, "y")
    ax.grid(True, axis="both")
    note(ax, "better", (0, 0), (26, 18), 8, style="italic", xycoords="axes fraction", color=SOFT)
    ax.annotate("", (0, 0), xycoords="axes fraction", xytext=(24, 20), textcoords="offset points",
                arrowprops={"arrowstyle": "->", "color": SOFT, "linewidth": 0.9})  # fmt: skip
    place(ax, labels, lines)
    return ax


def trade_off(
    arms: Mapping[str, Turns],
    *,
    harm: What = HARMED,
    groups: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **more: Any,
) -> Chart:
    """:func:`frontier_points` and :func:`frontier`, to which ``more`` is passed on."""
    points = frontier_points(arms, harm=harm, groups=groups, labels=labels)
    return Chart(frontier(points, **more), points)


def _limits(ax: Axes, known: pd.DataFrame, unit: Unit, limit: float | None) -> None:
    """Latency from zero unless all arms lie far from it; harm from zero."""
    across = 1000 * known[["latency_low_s", "latency_s", "latency_high_s"]].to_numpy(dtype=float)
    left, right = float(np.nanmin(across)), float(np.nanmax(across))
    room = max(right - left, 0.05 * right)
    ax.set_xlim(0 if left < room else left - 0.25 * room, right + 0.25 * room)
    harm = unit.factor * known[["harm_low", "harm", "harm_high"]].to_numpy(dtype=float)
    top = max(float(np.nanmax(harm)), 1.6 * unit.factor * (limit or 0.0))
    ax.set_ylim(min(0.0, 1.1 * float(np.nanmin(harm))), 1.1 * top or 1.0)
    if limit is None:
        return
    at = unit.factor * limit
    ax.axhspan(at, ax.get_ylim()[1], color=ACCENT, alpha=0.07, linewidth=0, zorder=0)
    ax.axhline(at, color=ACCENT, linewidth=1.0, linestyle="--", zorder=1)
    note(ax, f"accepted at most {number(at)} {unit.symbol}", (0, at), (4, 3), 8, xycoords=BESIDE,
         color=ACCENT)  # fmt: skip


def forest(
    comparison: pd.DataFrame,
    *,
    claim: Claim | Mapping[str, Claim] | None = None,
    worth_s: float | None = None,
) -> Chart:
    """Draws what each arm saves compared with the baseline, with 95% CI: per turn, at p50 and p95.

    Right of zero is faster. The mean per turn is what the verdict rests on. An arm without a saving
    to measure says so in its row.

    Args:
        comparison: What ``lab.compare`` returned.
        claim: A claimed saving, of every arm or by arm, drawn as a band behind the quantile it
            speaks of.
        worth_s: Smallest saving worth having, seconds; drawn as a line.
    """
    rows = records(comparison)
    arms = [str(row["arm"]) for row in rows]
    claims = claim if isinstance(claim, Mapping) else dict.fromkeys(arms, claim)
    ax = new_axes(8.8, 0.78 * len(rows) + 1.5)
    shown = [f"saving{p}{end}_s" for p in ("", "_p50", "_p95") for end in ("", "_low", "_high")]
    values = 1000 * comparison[shown].to_numpy(dtype=float)
    bands = [c for c in claims.values() if c is not None and not math.isnan(c.high_s)]
    edges = np.array([0.0, *values[~np.isnan(values)], *(1000 * c.high_s for c in bands),
                      1000 * (worth_s or 0.0)])  # fmt: skip
    room = float(edges.max() - edges.min()) or 1.0
    ax.set_xlim(edges.min() - 0.06 * room, edges.max() + 0.45 * room)
    for y, row in enumerate(rows):
        _claimed(ax, y, claims.get(arms[y]))
        for p, name, shift, marker, face in _SAVINGS:
            value, low, high = (1000 * end for end in ends(row, f"saving{p}", "_s"))
            if math.isnan(value):
                continue
            main = not p
            ax.plot([low, high], [y + shift] * 2, color=MAIN if main else SOFT,
                    linewidth=2.4 if main else 1.2, zorder=3)  # fmt: skip
            ax.plot([value], [y + shift], marker, color=MAIN if main else SOFT, zorder=4,
                    markerfacecolor=face, markersize=7 if main else 5)  # fmt: skip
            text = f"{name} {number(float(round(value)), sign=True)} {whole_interval(low, high)}"
            note(ax, text, (max(x for x in (high, value) if x == x), y + shift), (5, 0), 8,
                 va="center", zorder=5, fontweight="bold" if main else "normal",
                 color=INK if main else SOFT)  # fmt: skip
        if math.isnan(row["saving_s"]):
            note(ax, "no answered turn to compare", (0, y), (5, 0), va="center", color=ACCENT)
        ax.annotate(advice_of(row), (1.01, y), xycoords=BESIDE, va="center", fontsize=8)
    ax.axvline(0, color=INK, linewidth=1.0, zorder=1)
    if worth_s is not None:
        ax.axvline(1000 * worth_s, color=SOFT, linewidth=1.0, linestyle=":", zorder=1)
        note(ax, f"worth having from {number(1000 * worth_s)} ms", (1000 * worth_s, 0), (4, 4), 8,
             xycoords=ABOVE, color=SOFT)  # fmt: skip
    name_rows(ax, arms)
    ax.set_ylim(len(rows) - (0.1 if worth_s is not None else 0.45), -0.55)
    ms_axis(ax, "response latency saved, turn by turn on the same calls; 95% CI")
    return Chart(ax, comparison)


_SAVINGS = (
    ("", "mean", -0.24, "o", MAIN),
    ("_p50", "p50", 0.06, "s", "white"),
    ("_p95", "p95", 0.29, "D", "white"),
)
"""Suffix of the column, name, place in the row, marker, and its face."""


def advice_of(row: Mapping[str, Any]) -> str:
    """The advice, and below it gain and harm where they say more."""
    advice = str(row["advice"])
    if advice == UNDECIDED:
        open_ = [n for n in ("gain", "harm") if row[n if n == "gain" else "harm_verdict"] == advice]
        return f"{advice}\n({' and '.join(open_)})"
    return f"{advice}\n(harm {row['harm_verdict']})" if advice == TRADE_OFF else advice


def _claimed(ax: Axes, y: int, claim: Claim | None) -> None:
    if claim is None or math.isnan(claim.low_s):
        return
    shift = 0.29 if claim.quantile > 0.5 else 0.06
    left, right = 1000 * claim.low_s, 1000 * claim.high_s
    ax.barh(y + shift, max(right - left, 1e-9), left=left, height=0.22, color=ACCENT, alpha=0.22,
            edgecolor=ACCENT, linewidth=0.8, zorder=1)  # fmt: skip
    note(ax, "claimed", ((left + right) / 2, y + shift + 0.11), (0, -1), 7.5, va="top", ha="center",
         color=ACCENT)  # fmt: skip
