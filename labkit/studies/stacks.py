"""Figures and sentences of the study of how savings stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.summary import OUTCOMES, ms, percent
from labkit.report.palette import ACCENT, BASELINE, INK, MAIN, SOFT, axes_or_new, looks, ms_axis
from labkit.report.saving import records
from labkit.studies.stacking import ALL, SUM


def predicted_against_measured(sums: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws mean savings as measured, with intervals, and as the overlap model predicts them.

    Args:
        sums: What ``lab.stacking.predicted`` returned.
        ax: Where to draw; a new figure by default.
    """
    rows = records(sums)
    ax = axes_or_new(ax, 8.0, 0.42 * len(rows) + 1.6)
    for y, row in enumerate(rows):
        total = row["arm"] in (SUM, ALL)
        colour = MAIN if row["arm"] == ALL else BASELINE if row["arm"] == SUM else SOFT
        low, high = (1000 * row[f"measured_{end}_s"] for end in ("low", "high"))
        ax.plot([low, high], [y, y], color=colour, linewidth=2.2 if total else 1.4, zorder=3)
        ax.plot([1000 * row["measured_s"]], [y], "o", color=colour, markersize=8, zorder=4,
                label="measured, 95% interval" if row["arm"] == ALL else None)  # fmt: skip
        ax.plot([1000 * row["predicted_s"]], [y], "D", color="none", markersize=9, zorder=5,
                markeredgecolor=ACCENT, markeredgewidth=1.6,
                label="predicted by the overlap model" if row["arm"] == ALL else None)  # fmt: skip
        ax.annotate(ms(row["measured_s"]), (max(high, 1000 * row["predicted_s"]), y),
                    xytext=(9, 0), textcoords="offset points", va="center", fontsize=8.5,
                    color=INK, fontweight="bold" if total else "normal")  # fmt: skip
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.axhline(len(rows) - 2.5, color=SOFT, linewidth=0.6, linestyle=":")
    ax.set_yticks(range(len(rows)), [str(row["arm"]) for row in rows])
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.grid(True, axis="x")
    ms_axis(ax, "mean saving per turn")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    ax.set_title("Is the whole the sum of its parts?")
    return ax


def read_sums(sums: pd.DataFrame) -> str:
    """A sentence that holds the stacked saving against the sum of the single ones."""
    rows = {row["arm"]: row for row in records(sums)}
    total, stack = rows[SUM], rows[ALL]

    def named(row: Mapping[str, float]) -> str:
        interval = f"{ms(row['measured_low_s'])} – {ms(row['measured_high_s'])}"
        return f"{ms(row['measured_s'])} ms [{interval}]"

    return (
        f"On {stack['n_turns']} turns that all arms answered, the single savings of what was "
        f"adopted add up to a mean of {named(total)}; all of it together saves {named(stack)}. "
        f"The overlap model predicts {ms(total['predicted_s'])} and {ms(stack['predicted_s'])} ms."
    )


def read_promise(row: Mapping[str, Any]) -> str:
    """A sentence on whether a stack is as fast as the defaults at p95, and does no more harm.

    Args:
        row: The stack's row of ``lab.compare``.
    """
    saved = f"{ms(row['saving_p95_low_s'])} – {ms(row['saving_p95_high_s'])}"
    harm = f"{100 * row['harm_low']:+.1f} to {100 * row['harm_high']:+.1f}"
    fast = "at least as fast as" if row["saving_p95_s"] >= 0 else "slower than"
    worse = "significantly" if row["harm_low"] > 0 else "not significantly"
    return (
        f"**{row['arm']}** is at p95 {fast} the plain defaults: it saves "
        f"{ms(row['saving_p95_s'])} ms [{saved}]. It harms {worse} more turns than they do "
        f"({percent(row['baseline_harm_rate'])} there; a change of {harm} points)."
    )


def read_adopted(techniques: Sequence[str], adopted: Sequence[str]) -> str:
    """A sentence that names what earned its place and what did not."""
    rest = [name for name in techniques if name not in adopted]
    found = f"Adopted: **{', '.join(adopted) or 'none'}**."
    return f"{found} Not adopted: {', '.join(rest)}." if rest else found


def outcomes(arms: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Shares of outcomes and of wrong replies by arm, for reading."""
    rows = {}
    for name, turns in arms.items():
        shares = {o: percent(float((turns["outcome"] == o).mean())) for o in OUTCOMES}
        wrong = percent(statistics.rate(turns, turns["wrong"] == 1).value)
        costs = {
            "LLM calls per turn": f"{turns['llm_calls'].mean():.2f}",
            "LLM tokens never spoken": f"{turns['llm_wasted_tokens'].mean():.1f}",
            "US cents per turn": f"{100 * turns['usd'].mean():.2f}",
        }
        rows[name] = {"turns": str(len(turns)), **shares, "wrong reply": wrong, **costs}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm", axis="columns")


def interaction_matrix(
    matrix: pd.DataFrame, techniques: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draws what pairs of techniques save beyond the sum of their single savings.

    Args:
        matrix: What ``lab.stacking.interactions`` returned.
        techniques: Their names, in the order of rows and columns.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes: milliseconds with their intervals; an interval without zero is printed bold.
    """
    n = len(techniques)
    ax = axes_or_new(ax, max(1.35 * n + 2.2, 5.0), max(0.8 * n + 1.2, 2.6))
    ax.set_title("Which savings overlap?")
    if n < 2:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "Fewer than two techniques were adopted: nothing can overlap.",
                ha="center", va="center", transform=ax.transAxes)  # fmt: skip
        return ax
    grid = np.full((n, n), np.nan)
    place = {name: i for i, name in enumerate(techniques)}
    rows = records(matrix)
    for row in rows:
        i, j = place[row["second"]], place[row["first"]]
        grid[i, j] = 1000 * row["interaction_s"]
        clear = row["interaction_low_s"] > 0 or row["interaction_high_s"] < 0
        interval = f"{ms(row['interaction_low_s'])} – {ms(row['interaction_high_s'])}"
        ax.text(j, i - 0.12, f"{grid[i, j]:+,.0f}", ha="center", va="center",
                fontweight="bold" if clear else "normal", color=INK)  # fmt: skip
        ax.text(j, i + 0.22, f"[{interval}]", ha="center", va="center", fontsize=7.5, color=INK)
    edge = max(float(np.nanmax(np.abs(grid))), 50.0) * 1.8  # some milliseconds stay pale
    ax.imshow(grid, cmap="PuOr", vmin=-edge, vmax=edge, aspect="auto")
    ax.set_xticks(range(n - 1), techniques[:-1])
    ax.set_yticks(range(1, n), techniques[1:])
    ax.set_xlim(-0.5, n - 1.5)
    ax.set_ylim(n - 0.5, 0.5)
    ax.grid(False)
    ax.set_xlabel("together less the sum of both alone (ms);\nnegative: they share a saving")
    return ax


def short_and_long(lengths: pd.DataFrame, claim_s: float, ax: Axes | None = None) -> Axes:
    """Draws p50 and p95 of short turns and of the others, with intervals.

    Args:
        lengths: What ``lab.stacking.by_length`` returned.
        claim_s: Latency claimed for short turns, seconds.
        ax: Where to draw; a new figure by default.
    """
    rows = records(lengths)
    ax = axes_or_new(ax, 8.0, 0.38 * len(rows) + 1.6)
    seen: set[str] = set()
    for y, row in enumerate(rows):
        look = looks(0 if row["turns"] == "short" else 1)
        for p, shift, filled in (("p50", -0.13, True), ("p95", 0.13, False)):
            low, value, high = (1000 * row[f"{p}{end}_s"] for end in ("_low", "", "_high"))
            ax.plot([low, high], [y + shift] * 2, color=look.colour, linewidth=1.4, zorder=3)
            name = f"{row['turns']} turns, {p}"
            ax.plot([value], [y + shift], look.marker, color=look.colour, markersize=7, zorder=4,
                    markerfacecolor=look.colour if filled else "white",
                    label=None if name in seen else name)  # fmt: skip
            seen.add(name)
    ax.axvline(1000 * claim_s, color=ACCENT, linewidth=1.2, linestyle="--")
    ax.annotate(f"claimed for short turns: {ms(claim_s)}", (1000 * claim_s, 1.0),
                xycoords=("data", "axes fraction"), xytext=(4, 3), textcoords="offset points",
                fontsize=8, color=ACCENT)  # fmt: skip
    names = [f"{row['arm']}: {row['turns']}, {_harm(row)}" for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.grid(True, axis="x")
    ms_axis(ax, "response latency at the caller's ear")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4)
    ax.set_title("Are short turns answered at once?", pad=16)
    return ax


def levels_against_band(levels: pd.DataFrame, claim: Claim, ax: Axes | None = None) -> Axes:
    """Draws how fast each arm answers each kind of caller, beside a claimed band.

    Args:
        levels: What ``lab.stacking.levels`` returned.
        claim: The claimed band.
        ax: Where to draw; a new figure by default.
    """
    rows = records(levels)
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    personas = list(dict.fromkeys(str(row["persona"]) for row in rows))
    ax = axes_or_new(ax, 8.0, 0.6 * len(arms) + 1.6)
    ax.axvspan(1000 * claim.low_s, 1000 * claim.high_s, color=ACCENT, alpha=0.15, linewidth=0)
    ax.annotate("claimed", (500 * (claim.low_s + claim.high_s), 1.0),
                xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                ha="center", fontsize=8, color=ACCENT)  # fmt: skip
    for row in rows:
        which = personas.index(str(row["persona"]))
        look = looks(which)
        y = arms.index(str(row["arm"])) + 0.26 * (which - (len(personas) - 1) / 2)
        low, value, high = (1000 * row[f"latency{end}_s"] for end in ("_low", "", "_high"))
        ax.plot([low, high], [y, y], color=look.colour, linewidth=1.6, zorder=3)
        ax.plot([value], [y], look.marker, color=look.colour, markersize=7.5, zorder=4,
                label=str(row["persona"]) if row["arm"] == arms[0] else None)  # fmt: skip
        ax.annotate(f"{value:,.0f}, {_harm(row)}", (high, y), xytext=(6, 0),
                    textcoords="offset points", va="center", fontsize=8.5, color=INK)  # fmt: skip
    ax.set_yticks(range(len(arms)), arms)
    ax.invert_yaxis()
    ax.margins(x=0.28)
    ax.set_xlim(left=0)
    ax.grid(True, axis="x")
    ms_axis(ax, f"p{100 * claim.quantile:g} of the response latency at the caller's ear")
    ax.legend(title="callers", loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4)
    ax.set_title("Is the published band reached?", pad=16)
    return ax


def read_band(levels: pd.DataFrame, claim: Claim) -> str:
    """Sentences that say plainly under which model and callers the band is reached."""
    band = f"{ms(claim.low_s)}–{ms(claim.high_s)} ms"
    lines = [f"The published band is {band} at p{100 * claim.quantile:g}."]
    for row in records(levels):
        interval = f"{ms(row['latency_low_s'])} – {ms(row['latency_high_s'])}"
        verb = "**is reached**" if row["reached"] else "is not reached"
        lines.append(
            f"- {row['arm']}, {row['persona']} callers: {ms(row['latency_s'])} ms [{interval}]; "
            f"the band {verb}; {_harm(row)} [{percent(row['harm_low'])} – "
            f"{percent(row['harm_high'])}]."
        )
    return "\n".join(lines)


def _harm(row: Mapping[str, Any]) -> str:
    return f"{percent(row['harm'])} harmed"
