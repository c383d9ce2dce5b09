"""Labels beside points, placed so that they cover neither each other nor the drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from labkit.report.palette import INK, figure_of, note

_RADII_PT = (9, 16, 26, 38, 52)
_ANGLES_DEG = (45, -45, 135, -135, 0, 180, 90, -90)
_LEADER_PT = 16
_PAD_PX = 3.0
_LINE_PT = 11.0


Line = tuple[float, float, float, float]
"""A straight line that labels must not cover: x and y of its ends, in data coordinates."""


class Label(NamedTuple):
    """A text that belongs to a point of the data."""

    x: float
    y: float
    text: str
    colour: str = INK


def draw_cross(
    ax: Axes, x: Sequence[float], y: Sequence[float], colour: str, **style: Any
) -> list[Line]:
    """Draws the intervals of a point (value, lower and upper end each) and returns their lines."""
    lines = [(x[1], y[0], x[2], y[0]), (x[0], y[1], x[0], y[2])]
    for x0, y0, x1, y1 in lines:
        ax.plot([x0, x1], [y0, y1], color=colour, **style)
    return lines


def place(ax: Axes, labels: Sequence[Label], lines: Sequence[Line] = ()) -> None:
    """Writes a label beside each point, nearest free place first, with a leader if it is far.

    All points, the lines, and what was written on the axes before are kept free. Call it last:
    limits and size of the axes must be final.
    """
    figure = figure_of(ax)
    figure.draw_without_rendering()  # settles the layout, so that pixels mean something
    renderer = RendererAgg(*figure.bbox.size, figure.dpi)  # type: ignore[no-untyped-call]
    points = ax.transData.transform(np.array([(label.x, label.y) for label in labels]))
    ends = ax.transData.transform(np.array(lines, dtype=float).reshape(-1, 2)).reshape(-1, 2, 2)
    steps = np.linspace(0, 1, 40)[:, None]
    keep = np.vstack([points, *(a + steps * (b - a) for a, b in ends)])
    boxes = [t.get_window_extent(renderer) for t in ax.texts if t.get_text()]
    frame = ax.get_window_extent(renderer)
    for label in labels:
        best, best_cost = _candidate(45, _RADII_PT[0]), math.inf
        for radius in _RADII_PT:
            for angle in _ANGLES_DEG:
                spot = _candidate(angle, radius)
                box = _write(ax, label, spot, renderer, trial=True)
                cost = _cost(box, keep, boxes, frame) + 0.02 * radius
                if cost < best_cost - 1e-9:
                    best, best_cost = spot, cost
            if best_cost < 1:
                break
        boxes.append(_write(ax, label, best, renderer))


Spot = tuple[float, float, str, str]


def _candidate(angle: float, radius: float) -> Spot:
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    ha = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
    va = "center" if abs(y) < 0.1 else "bottom" if y > 0 else "top"
    return radius * x, radius * y, ha, va


def _write(ax: Axes, label: Label, spot: Spot, renderer: RendererAgg, trial: bool = False) -> Bbox:
    """Writes the label and returns its box; a trial is measured and removed again."""
    dx, dy, ha, va = spot
    far = math.hypot(dx, dy) > _LEADER_PT + 1
    thin = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkB": 4}
    shown = note(ax, label.text, (label.x, label.y), (dx, dy), ha=ha, va=va, color=label.colour,
                 arrowprops=thin if far else None, zorder=6)  # fmt: skip
    shown.update_positions(renderer)
    box = Text.get_window_extent(shown, renderer)  # of the text alone, without its leader
    if trial:
        shown.remove()
    return Bbox.from_extents(box.x0 - _PAD_PX, box.y0 - _PAD_PX, box.x1 + _PAD_PX, box.y1 + _PAD_PX)


def place_at_right(ax: Axes, labels: Sequence[Label]) -> None:
    """Writes labels to the right of their points, moved up or down until none covers another.

    Call it last, as :func:`place`. The points should share their x, as the ends of lines do.
    """
    if not labels:
        return
    figure = figure_of(ax)
    figure.draw_without_rendering()
    gap = _LINE_PT * figure.dpi / 72
    rising = sorted(labels, key=lambda label: label.y)
    wanted = [float(ax.transData.transform((label.x, label.y))[1]) for label in rising]
    # as far apart as they must be, and as close to their points as that leaves them
    at = np.array(wanted)
    for _ in range(len(at)):
        for i in range(1, len(at)):
            overlap = gap - (at[i] - at[i - 1])
            if overlap > 0:
                at[i - 1] -= overlap / 2
                at[i] += overlap / 2
    at += max(float(ax.get_window_extent().y0) + gap / 2 - at[0], 0.0)
    right = max(label.x for label in rising)
    for label, pixel, y in zip(rising, wanted, at, strict=True):
        leader = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "shrinkB": 3}
        note(ax, label.text, (right, label.y), (12, (y - pixel) * 72 / figure.dpi), va="center",
             color=label.colour, arrowprops=leader)  # fmt: skip


def _cost(box: Bbox, keep: np.ndarray, boxes: Sequence[Bbox], frame: Bbox) -> float:
    """How much a place covers: texts weigh most, then leaving the frame, then points and lines."""
    cost = 0.0
    for other in boxes:
        shared = Bbox.intersection(box, other)
        if shared is not None:
            cost += 20 + shared.width * shared.height / 50
    outside: float = (
        max(frame.x0 - box.x0, 0) + max(box.x1 - frame.x1, 0)
        + max(frame.y0 - box.y0, 0) + max(box.y1 - frame.y1, 0)
    )  # fmt: skip
    cost += 3 + outside / 2 if outside > 0 else 0.0
    inside = (
        (keep[:, 0] > box.x0) & (keep[:, 0] < box.x1)
        & (keep[:, 1] > box.y0) & (keep[:, 1] < box.y1)
    )  # fmt: skip
    return cost + float(inside.sum())
