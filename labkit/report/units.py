"""Axes in the units of :mod:`labkit.evidence.units`."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from labkit.evidence.units import Unit, number

__all__ = ["Unit", "unit_axis"]


def unit_axis(ax: Axes, unit: Unit, axis: str = "x") -> None:
    """Names an axis whose values were multiplied by the unit's factor; thousands are separated."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_label_text(unit.label)
    chosen.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
