"""What a gain costs: changes of harms against the baseline, measured and drawn."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.report.palette import ACCENT, INK, SOFT, looks
from labkit.report.units import Unit, number, unit_axis, unit_of
from labkit.study import statistics
from labkit.study.compare import HARMED
from labkit.study.statistics import Estimate
from labkit.study.summary import OUTCOMES
from labkit.study.tables import Results

Turns = Results | pd.DataFrame
What = str | Sequence[str]
"""A harm: an outcome, several outcomes, or a boolean or numeric column of the turns table."""

_SHARE = "share"


def turns_of(given: Turns) -> pd.DataFrame:
    """The turns table of a run, or the table itself."""
    return given.turns if isinstance(given, Results) else given


def harmful(turns: pd.DataFrame, what: What = HARMED) -> tuple[pd.Series, str]:
    """A harm turn by turn, and whether it is a ``share`` of turns or a column's amount.

    Raises:
        ValueError: neither an outcome nor a column of numbers.
    """
    if not isinstance(what, str) or what in OUTCOMES:
        wanted = [what] if isinstance(what, str) else list(what)
        for name in wanted:
            if name not in OUTCOMES:
                raise ValueError(f"no outcome {name!r}; there are {', '.join(OUTCOMES)}")
        return turns["outcome"].isin(wanted).astype(float), _SHARE
    columns = [c for c in turns.columns if pd.api.types.is_numeric_dtype(turns[c])]
    if what not in columns:
        close = difflib.get_close_matches(what, [*OUTCOMES, *columns], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{what!r} is neither an outcome nor a column of numbers{hint}")
    share = pd.api.types.is_bool_dtype(turns[what])
    return turns[what].astype(float), _SHARE if share else what


def harm_level(turns: pd.DataFrame, what: What = HARMED) -> tuple[Estimate, str]:
    """Rate or mean of a harm per turn with its 95% interval over calls, and its kind."""
    amount, kind = harmful(turns, what)
    if kind == _SHARE:
        return statistics.rate(turns, amount), kind
    return statistics.mean(turns.assign(harm=amount), "harm"), kind


def harm_changes(
    baseline: Turns, arms: Mapping[str, Turns], harms: Mapping[str, What]
) -> pd.DataFrame:
    """By how much each arm changes each harm, paired by call.

    Args:
        baseline: What is compared with.
        arms: The others, by name.
        harms: What each harm is called in the figure, and what it is: an outcome, several
            outcomes, or a boolean or numeric column of the turns table.

    Returns:
        One row per harm and arm: ``harm``, ``kind`` (``share``, or the column whose mean per turn
        it is), ``arm``, ``baseline`` (its level there), ``value`` (the change; positive is worse),
        ``low``, ``high``.
    """
    base = turns_of(baseline)
    rows: list[dict[str, Any]] = []
    for name, what in harms.items():
        before, kind = harmful(base, what)
        for arm, given in arms.items():
            turns = turns_of(given)
            found = statistics.difference(
                base.assign(harm=before), turns.assign(harm=harmful(turns, what)[0]), "harm", q=None
            )
            rows.append({"harm": name, "kind": kind, "arm": arm, "baseline": float(before.mean()),
                         "value": found.value, "low": found.low, "high": found.high})  # fmt: skip
    return pd.DataFrame(rows)


def harm_unit(kind: str, name: str) -> Unit:
    """How a harm's change is shown: shares as percentage points, columns in their own unit."""
    if kind == _SHARE:
        return Unit(name, 100.0, "percentage points")
    unit = unit_of(kind)
    return Unit(name, unit.factor, unit.symbol or "per turn")


def harm_bars(changes: pd.DataFrame, *, limit: float | None = None) -> Figure:
    """Draws by how much each arm changes each harm: one panel per harm, one bar per arm.

    Args:
        changes: What :func:`harm_changes` returned.
        limit: Largest increase accepted, a share of turns; drawn where the harm is a share.

    Returns:
        The figure. Bars start at no change; right is worse; lines are 95% intervals over calls.
    """
    harms = list(dict.fromkeys(changes["harm"]))
    arms = list(dict.fromkeys(changes["arm"]))
    figure, axes = plt.subplots(
        1, len(harms), figsize=(max(8.0, 2.9 * len(harms)), 0.38 * len(arms) + 1.5), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for ax, harm in zip(axes[0], harms, strict=True):
        _panel(ax, changes[changes["harm"] == harm], arms, harm, limit)
    axes[0, 0].set_yticks(range(len(arms)), arms)
    axes[0, 0].set_ylim(len(arms) - 0.4, -0.6)
    return figure


def _panel(
    ax: Axes, changes: pd.DataFrame, arms: Sequence[str], harm: str, limit: float | None
) -> None:
    kind = str(changes["kind"].iloc[0])
    unit = harm_unit(kind, "change")
    edges = [0.0]
    for row in changes.to_dict("records"):
        y = arms.index(row["arm"])
        look = looks(y)
        value, low, high = (unit.factor * float(row[k]) for k in ("value", "low", "high"))
        ax.barh(y, value, height=0.6, color=look.colour, hatch=look.hatch, edgecolor="white",
                linewidth=0.5)  # fmt: skip
        for colour, width in (("white", 3.2), (INK, 1.3)):
            ax.plot([low, high], [y, y], color=colour, linewidth=width, zorder=3,
                    solid_capstyle="butt")  # fmt: skip
        side = 1 if value >= 0 else -1
        tip = np.nanmax([value, high, 0.0]) if side > 0 else np.nanmin([value, low, 0.0])
        ax.annotate(number(round(value, 2), sign=True), (tip, y), xytext=(5 * side, 0),
                    textcoords="offset points", ha="left" if side > 0 else "right", va="center",
                    fontsize=8.5)  # fmt: skip
        edges += [low, high, value]
    ax.axvline(0, color=INK, linewidth=1.0)
    ax.tick_params(axis="y", length=0)
    if limit is not None and kind == _SHARE:
        edges.append(unit.factor * limit)
        ax.axvline(unit.factor * limit, color=ACCENT, linewidth=1.2, linestyle="--")
        ax.annotate("accepted ", (unit.factor * limit, 1), xycoords=("data", "axes fraction"),
                    xytext=(0, 2), textcoords="offset points", ha="center", va="bottom",
                    fontsize=8, color=ACCENT)  # fmt: skip
    low_edge, high_edge = float(np.nanmin(edges)), float(np.nanmax(edges))
    room = (high_edge - low_edge) or 1.0
    ax.set_xlim(low_edge - (0.3 if low_edge < 0 else 0.05) * room, high_edge + 0.3 * room)
    base = unit.factor * float(changes["baseline"].iloc[0])
    symbol = "%" if kind == _SHARE else unit.symbol
    ax.set_title(harm, pad=16)
    ax.annotate(f"baseline {number(base)} {symbol}", (0, 1), xycoords="axes fraction",
                xytext=(0, 4), textcoords="offset points", fontsize=8, color=SOFT)  # fmt: skip
    unit_axis(ax, unit)
