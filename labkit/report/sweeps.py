"""A metric against a swept setting: lines with 95% CI bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.evidence.statistics import Estimate
from labkit.evidence.summary import OUTCOMES
from labkit.evidence.units import SHARE, Unit, unit_of
from labkit.report.harms import amounts, harm_level, kind_of
from labkit.report.labels import Label, place_at_right
from labkit.report.palette import ABOVE, ACCENT, looks, new_axes, note, unit_axis


def sweep_points(
    turns: pd.DataFrame,
    x: str,
    y: str = "response_latency_s",
    by: str | None = None,
    *,
    q: float | None = 0.5,
) -> pd.DataFrame:
    """The numbers of :func:`sweep_lines`, from the turns of all points of a sweep.

    Args:
        x: The swept column, such as ``endpointing.min_delay_s``.
        y: An outcome (its rate is taken), a boolean column (its rate), or a numeric column.
        q: Quantile of a numeric ``y``; None takes the mean.

    Returns:
        One row per point, in order of ``by`` and ``x``: ``x``, ``by``, ``y`` (each under its own
        name), ``low``, ``high``, ``n_turns``.

    Raises:
        ValueError: a column is missing, or ``y`` is neither an outcome nor numbers.
    """
    missing = [c for c in (x, by) if c is not None and c not in turns]
    if missing:
        raise ValueError(f"the turns have no column {', '.join(missing)}")
    keys = [x] if by is None else [by, x]
    return statistics.by_group(turns, keys, lambda part: _estimate(part, y, q), y)


def _estimate(part: pd.DataFrame, y: str, q: float | None) -> Estimate:
    if y in OUTCOMES or q is None or kind_of(y, amounts(part, y)) == SHARE:
        return harm_level(part, y)[0]
    return statistics.quantile(part, q, y)


def sweep_lines(
    points: pd.DataFrame,
    x: str,
    y: str,
    by: str | None = None,
    ax: Axes | None = None,
    *,
    x_name: str | None = None,
    y_name: str | None = None,
    share: bool | None = None,
    default: float | None = None,
    groups: Sequence[object] | None = None,
) -> Axes:
    """Draws a metric against a swept setting: a line per group with a band of 95% CI.

    The y axis starts at zero unless there are negative values.

    Args:
        points: What :func:`sweep_points` returned, or any table with ``x``, ``y``, ``low`` and
            ``high`` in the units of tables (seconds, proportions).
        x_name: What the x axis is called; the column's name by default. The unit is added.
        share: Whether ``y`` is a proportion, to be shown as per cent; an outcome is one by default.
        default: Value of ``x`` that the SDK or the study takes by default; marked.
        groups: The lines in the order of their looks, for a legend outside these axes; by default
            each line is named at its end.
    """
    ax = ax or new_axes(8.0, 4.4)
    across = _named(unit_of(x), x_name)
    up = _named(_y_unit(y, share), y_name)
    named = groups is None
    if groups is None:
        groups = [None] if by is None else list(dict.fromkeys(points[by]))
    labels = []
    for i, group in enumerate(groups):
        own = points if by is None else points[points[by] == group]
        own = own[own[y].notna()].sort_values(x)
        look = looks(i)
        at = across.factor * own[x].to_numpy(dtype=float)
        value, low, high = (up.factor * own[c].to_numpy(dtype=float) for c in (y, "low", "high"))
        if not len(at):
            continue
        ax.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)
        # a bar at each point too: bands of several lines are hard to tell apart in grey
        ax.vlines(at, low, high, color=look.colour, linewidth=1.1, alpha=0.7)
        ax.plot(at, value, color=look.colour, linestyle=look.dash, marker=look.marker,
                markersize=6, markeredgecolor="white", label=str(group))  # fmt: skip
        if group is not None and named:
            labels.append(Label(float(at[-1]), float(value[-1]), str(group), look.text))
    ends = up.factor * points[["low", "high", y]].to_numpy(dtype=float)
    lowest, highest = np.nanmin(ends), np.nanmax(ends)
    ax.set_ylim(min(1.1 * lowest, 0.0), 1.1 * highest if highest > 0 else 1.0)
    left, right = ax.get_xlim()
    room = 0.15 if named else 0.02  # for the names at the lines' ends
    ax.set_xlim(left, right + room * (right - left))
    if default is not None:
        default *= across.factor
        ax.axvline(default, color=ACCENT, linewidth=1.0, linestyle=":", zorder=1)
        note(ax, "default", (default, 1), (3, -2), 8, xycoords=ABOVE, ha="left", va="top",
             color=ACCENT)  # fmt: skip
    unit_axis(ax, across)
    unit_axis(ax, up, "y")
    ax.grid(True, axis="both")
    place_at_right(ax, labels)
    return ax


def _y_unit(y: str, share: bool | None) -> Unit:
    if share or (share is None and y in OUTCOMES):
        return Unit(f"turns {y.replace('_', ' ')}" if y in OUTCOMES else y, 100.0, "% of turns")
    return unit_of(y)


def _named(unit: Unit, name: str | None) -> Unit:
    return unit if name is None else Unit(name, unit.factor, unit.symbol)
