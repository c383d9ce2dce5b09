"""Charts of the end-of-turn sweep, beside what was published."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import eot_bench
from labkit.evidence.eot import Eot
from labkit.evidence.eot_bench import LOCAL, SILENCE, EotBench
from labkit.evidence.eot_comparison import named, speakers
from labkit.evidence.eot_policy import (
    SCORED_S,
    SHORTEST_S,
    Policy,
    counted,
    frontier,
    policy,
    sweep_silence,
)
from labkit.evidence.intervals import wilson
from labkit.evidence.statistics import SPEAKER
from labkit.evidence.units import Unit
from labkit.report.labels import Label, Line, place
from labkit.report.palette import (
    ABOVE,
    ACCENT,
    SOFT,
    Chart,
    looks,
    ms_axis,
    name_rows,
    new_axes,
    note,
    unit_axis,
)


def trade_off(found: Eot) -> Chart:
    """Draws what policies trade: false cut-offs against latency, beside the published points."""
    bench, ax, parts = eot_bench.load(), new_axes(8.4, 5.0), []
    drawn: list[Line] = []
    for i, name in enumerate((SILENCE, LOCAL)):
        look, own = looks(i), bench[name]
        best = frontier(found.sweep[found.sweep["detector"] == name])
        best = best[best["false_cutoffs"] > 0]
        ax.step(1000 * best["latency_s"], 100 * best["false_cutoffs"], where="post",
                color=look.colour, linestyle=look.dash, label=f"{own.name}, here")  # fmt: skip
        parts.append(best.assign(detector=name, published=False))
        corners = [(1000 * x, 100 * y) for x, y in best[["latency_s", "false_cutoffs"]].to_numpy()]
        for (x0, y0), (x1, y1) in pairwise(corners):
            drawn += [(x0, y0, x1, y0), (x1, y0, x1, y1)]
        points = published_points(bench, name)
        at = points[["latency_s", "false_cutoffs"]].to_numpy() * (1000, 100)
        drawn += [(x, y, x, y) for x, y in at]
        ax.plot(1000 * points["latency_s"], 100 * points["false_cutoffs"], look.marker,
                color=look.colour, markerfacecolor="white", markersize=8, linestyle="none",
                label=f"{own.name}, published")  # fmt: skip
        parts.append(points)
    hosted = published_points(bench, "v1")
    ax.plot(1000 * hosted["latency_s"], 100 * hosted["false_cutoffs"], "X", color=SOFT,
            linestyle="none", label=f"{bench['v1'].name}, published")  # fmt: skip
    parts.append(hosted)
    moved = policies(found, bench)
    x, y = 1000 * moved["latency_s"], 100 * moved["false_cutoffs"]
    ax.plot([1000 * moved["published_s"], x], [100 * moved["published_cutoffs"], y],
            color=looks(1).colour, linewidth=0.8)  # fmt: skip
    labels = [Label(*at, looks(1).text) for at in zip(x, y, moved["policy"], strict=True)]
    ax.plot(x, y, looks(1).marker, zorder=4,
            color=looks(1).colour, linestyle="none", label="its policies, here")  # fmt: skip
    parts.append(moved.assign(detector=LOCAL, published=False))
    ax.set(xlim=(0, 1000 * 2.0), ylim=(0, 65))
    ms_axis(ax, "mean wait at ends of turns")
    unit_axis(ax, Unit("mid-turn silences cut off", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper right")
    place(ax, labels, drawn)
    return Chart(ax, pd.concat(parts, ignore_index=True))


def policies(found: Eot, bench: EotBench) -> pd.DataFrame:
    """What the local detector's published policies do here.

    Returns:
        ``policy``, ``latency_s`` and ``false_cutoffs``, and the published ones: ``published_s``,
        ``published_cutoffs``.
    """
    rows = []
    for p in bench[LOCAL].points:
        knobs = Policy(p.threshold, p.action_delay_s, p.timeout_s)
        done = policy(found.silences, *knobs)
        rows.append((named(knobs), done.latency_s, done.false_cutoffs, p.latency_s,
                     p.false_cutoffs))  # fmt: skip
    columns = ["policy", "latency_s", "false_cutoffs", "published_s", "published_cutoffs"]
    return pd.DataFrame(rows, columns=columns)


def published_points(bench: EotBench, name: str) -> pd.DataFrame:
    """A detector's published points of the trade-off.

    Returns:
        ``latency_s`` and ``false_cutoffs``, with ``detector`` and ``published``. A figure within a
        budget of which the other one was not published stands at the budget.
    """
    d = bench[name]
    rows = [(p.latency_s, p.false_cutoffs) for p in d.points] or [
        (0.3, d.cutoffs_at_300ms), (0.6, d.cutoffs_at_600ms),
        (d.latency_at_5_s, 0.05), (d.latency_at_10_s, 0.1),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["latency_s", "false_cutoffs"]).sort_values("latency_s")
    return table.assign(detector=name, published=True)


def pause_lengths(found: Eot) -> Chart:
    """Draws which proportion of mid-turn silences lasts longer than a time."""
    bench, ax = eot_bench.load(), new_axes(8.0, 4.4)
    here = sweep_silence(found.silences)[["timeout_s", "false_cutoffs"]]
    here = here.rename(columns={"timeout_s": "longer_than_s", "false_cutoffs": "share"})
    look = looks(0)
    ax.step(1000 * here["longer_than_s"], 100 * here["share"], where="post", color=look.colour,
            label="here")  # fmt: skip
    people = published_points(bench, SILENCE).rename(
        columns={"latency_s": "longer_than_s", "false_cutoffs": "share"}
    )
    ends = np.array([wilson(share, bench.n_pauses) for share in people["share"]])
    people = people.assign(low=ends[:, 0], high=ends[:, 1])
    ax.vlines(1000 * people["longer_than_s"], 100 * people["low"], 100 * people["high"],
              color=SOFT, linewidth=1.4)  # fmt: skip
    ax.plot(1000 * people["longer_than_s"], 100 * people["share"], "X", color=SOFT, markersize=8,
            label=f"people, published ({bench.n_pauses} silences, 95% CI)")  # fmt: skip
    ax.set(xlim=(1000 * SHORTEST_S, 2500), ylim=(0, 102))
    ms_axis(ax, "length of the silence")
    unit_axis(ax, Unit("mid-turn silences that last longer", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper right")
    return Chart(ax, pd.concat([here.assign(published=False), people], ignore_index=True))


def scores(found: Eot) -> Chart:
    """Draws which proportion of ends and of mid-turn silences scores at least so much."""
    bench, ax, parts = eot_bench.load(), new_axes(8.0, 4.4), []
    grid = np.round(np.arange(0, 1.005, 0.01), 2)
    pauses, ends = counted(found.silences)
    for i, (name, part) in enumerate((("ends of turns", ends), ("mid-turn silences", pauses))):
        look, own = looks(i), part["score"].dropna().to_numpy()
        share = (own[None, :] >= grid[:, None]).mean(axis=1) if len(own) else grid * np.nan
        parts.append(pd.DataFrame({"of": name, "threshold": grid, "share": share}))
        ax.plot(grid, 100 * share, color=look.colour, linestyle=look.dash, label=f"{name}, here")
    points = bench[LOCAL].points
    at, detected = [p.threshold for p in points], [p.ends_detected for p in points]
    ax.plot(at, 100 * np.array(detected), "X", color=SOFT, markersize=8,
            label="ends of turns, published")  # fmt: skip
    for threshold in at:
        ax.axvline(threshold, color=SOFT, linewidth=0.7, linestyle=":")
    parts.append(pd.DataFrame({"of": "ends, published", "threshold": at, "share": detected}))
    ax.set(xlim=(0, 1), ylim=(0, 102))
    ax.set_xlabel(f"score of the local detector at {1000 * SCORED_S:.0f} ms of silence")
    unit_axis(ax, Unit("score at least as much", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper right")
    return Chart(ax, pd.concat(parts, ignore_index=True))


def by_speaker(found: Eot, threshold: float) -> Chart:
    """Draws what the detector makes of each speaker, in the order of the ends it detects."""
    table = speakers(found.silences, threshold).sort_values("ends_detected", ignore_index=True)
    ax = new_axes(8.0, 0.36 * len(table) + 1.8)
    rows = np.arange(len(table))
    ends, pauses = looks(0), looks(1)
    ax.hlines(rows, 100 * table["low"], 100 * table["high"], color=ends.colour, linewidth=1.6)
    ax.plot(100 * table["ends_detected"], rows, ends.marker, color=ends.colour,
            label="ends detected (95% CI)")  # fmt: skip
    ax.plot(
        100 * table["pauses_taken"],
        rows,
        pauses.marker,
        color=pauses.colour,
        markerfacecolor="white",
        linestyle="none",
        label="mid-turn silences taken for ends",
    )
    published = [p.ends_detected for p in eot_bench.load()[LOCAL].points
                 if p.threshold == threshold]  # fmt: skip
    for share in published:
        ax.axvline(100 * share, color=ACCENT, linewidth=1.1, linestyle="--")
        note(ax, "published", (100 * share, 1.0), (3, -3), 8, xycoords=ABOVE, va="top",
             color=ACCENT)  # fmt: skip
    _finish_rows(ax, [str(v) for v in table[SPEAKER]])
    return Chart(ax, table)


def _finish_rows(ax: Axes, names: Sequence[str]) -> None:
    name_rows(ax, names)
    ax.set(xlim=(0, 102), ylim=(-0.6, len(names) + 0.2))
    ax.set_xlabel("at or over the threshold (%)")
    ax.grid(True, axis="x")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / (0.36 * len(names) + 1)), ncols=2)
