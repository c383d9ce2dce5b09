"""What a gain costs: changes of harms against the baseline, measured and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.errors import hint, unknown
from labkit.evidence import statistics
from labkit.evidence.compare import HARMED, Turns, turns_of
from labkit.evidence.statistics import Estimate
from labkit.evidence.summary import OUTCOMES
from labkit.evidence.units import SHARE, change_unit, number
from labkit.report.palette import ABOVE, ACCENT, INK, Chart, draw_ci, looks, note, unit_axis
from labkit.report.saving import records

What = str | Sequence[str]
"""A harm: an outcome, several outcomes, or a boolean or numeric column of the turns table."""


def amounts(turns: pd.DataFrame, what: What = HARMED) -> pd.Series:
    """A harm turn by turn: 0 or 1, or a column's number; NaN where it is not known.

    Raises:
        ValueError: neither an outcome nor a numeric column.
    """
    if not isinstance(what, str) or what in OUTCOMES:
        wanted = [what] if isinstance(what, str) else list(what)
        for name in (n for n in wanted if n not in OUTCOMES):
            raise ValueError(unknown("outcome", name, OUTCOMES))
        return turns["outcome"].isin(wanted).astype(float)
    try:
        return turns[what].astype(float)
    except (KeyError, ValueError, TypeError):
        near = hint(what, [*OUTCOMES, *turns.select_dtypes(["number", "bool"]).columns])
        raise ValueError(f"{what!r} is neither an outcome nor a numeric column{near}") from None


def kind_of(what: What, *found: pd.Series) -> str:
    """``share`` if a harm either happened on a turn or did not, else the column's name."""
    if not isinstance(what, str) or what in OUTCOMES:
        return SHARE
    happens = all(values.dropna().isin((0.0, 1.0)).all() for values in found)
    return SHARE if happens and not what.startswith("n_") else what


def harm_level(turns: pd.DataFrame, what: What = HARMED) -> tuple[Estimate, str]:
    """Rate or mean of a harm per turn with its 95% CI over calls, and its kind."""
    found = amounts(turns, what)
    kind = kind_of(what, found)
    if kind == SHARE:
        return statistics.rate(turns, found), kind
    return statistics.mean(turns.assign(harm=found), "harm"), kind


def harm_changes(
    baseline: Turns, arms: Mapping[str, Turns], harms: Mapping[str, What]
) -> pd.DataFrame:
    """By how much each arm changes each harm, paired by call.

    Args:
        baseline: What is compared with; it is left out if it is among the arms.
        arms: The others, by name.
        harms: What each harm is called in the figure, and what it is: an outcome, several
            outcomes, or a boolean or numeric column of the turns table.

    Returns:
        One row per harm and arm: ``harm``, ``kind`` (``share``, or the column whose mean per turn
        it is), ``arm``, ``baseline`` (its level there), ``value`` (the change; positive is worse),
        ``low``, ``high``.
    """
    base = turns_of(baseline)
    others = {name: turns_of(given) for name, given in arms.items() if given is not baseline}
    rows: list[dict[str, Any]] = []
    for name, what in harms.items():
        before = base.assign(harm=amounts(base, what))
        after = {arm: turns.assign(harm=amounts(turns, what)) for arm, turns in others.items()}
        kind = kind_of(what, before["harm"], *(turns["harm"] for turns in after.values()))
        for arm, turns in after.items():
            if kind == SHARE:
                found = statistics.rate_difference(before, turns, "harm")
            else:
                found = statistics.difference(before, turns, "harm")
            rows.append({"harm": name, "kind": kind, "arm": arm,
                         "baseline": float(before["harm"].mean()),
                         **found.row("value")})  # fmt: skip
    return pd.DataFrame(rows)


def harms(
    baseline: Turns,
    arms: Mapping[str, Turns],
    kinds: Mapping[str, What],
    *,
    limit: float | None = None,
) -> Chart:
    """Draws :func:`harm_changes`: one panel per harm, one bar with its 95% CI per arm.

    Bars start at no change; right is worse. ``limit``, the largest increase accepted, is drawn
    where the harm is a proportion of turns.
    """
    changes = harm_changes(baseline, arms, kinds)
    rows = list(dict.fromkeys(changes["arm"]))
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(max(8.0, 2.9 * len(kinds)), 0.38 * len(rows) + 1.5), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for ax, harm in zip(axes[0], kinds, strict=True):
        _panel(ax, changes[changes["harm"] == harm], rows, harm, limit)
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    return Chart(figure, changes)


def _panel(
    ax: Axes, changes: pd.DataFrame, arms: Sequence[str], harm: str, limit: float | None
) -> None:
    kind = str(changes["kind"].iloc[0])
    unit = change_unit(kind, "change")
    edges = [0.0]
    for row in records(changes):
        y = arms.index(row["arm"])
        look = looks(y)
        value, low, high = (unit.factor * float(row[k]) for k in ("value", "low", "high"))
        ax.barh(y, value, height=0.6, color=look.colour, hatch=look.hatch, edgecolor="white",
                linewidth=0.5)  # fmt: skip
        draw_ci(ax, y, low, high)
        side = 1 if value >= 0 else -1
        tip = np.nanmax([value, high, 0.0]) if side > 0 else np.nanmin([value, low, 0.0])
        note(ax, number(round(value, 2), sign=True), (tip, y), (5 * side, 0), va="center",
             ha="left" if side > 0 else "right")  # fmt: skip
        edges += [low, high, value]
    ax.axvline(0, color=INK, linewidth=1.0)
    ax.tick_params(axis="y", length=0)
    if limit is not None and kind == SHARE:
        edges.append(unit.factor * limit)
        ax.axvline(unit.factor * limit, color=ACCENT, linewidth=1.2, linestyle="--")
        note(ax, "accepted", (unit.factor * limit, 1), (0, 2), 8, xycoords=ABOVE, ha="center",
             va="bottom", color=ACCENT)  # fmt: skip
    low_edge, high_edge = float(np.nanmin(edges)), float(np.nanmax(edges))
    room = (high_edge - low_edge) or 1.0
    ax.set_xlim(low_edge - (0.3 if low_edge < 0 else 0.05) * room, high_edge + 0.3 * room)
    base = unit.factor * float(changes["baseline"].iloc[0])
    symbol = "% of turns" if kind == SHARE else unit.symbol
    ax.set_title(harm, pad=16)
    unit_axis(ax, unit)
    ax.set_xlabel(f"{unit.label}\nfrom {number(base)} {symbol} at the baseline")
