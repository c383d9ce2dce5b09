"""Study 13: how short the silence may be, and how the turn detector takes pauses and noise."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor
from labkit.evidence.compare import compare
from labkit.evidence.eot_policy import auc
from labkit.evidence.intervals import wilson
from labkit.evidence.units import Unit
from labkit.evidence.verdict import Rules
from labkit.report.figures import Chart
from labkit.report.labels import Label, Line, place
from labkit.report.palette import SOFT, looks, ms_axis, new_axes, unit_axis
from labkit.report.sweeps import sweep_lines
from labkit.report.turn_taking import group_and_label, proportions
from labkit.report.who_calls import FLOOR, NOISE

MAX_DELAY = "endpointing.max_delay_s"
DEFAULT, HASTY = "turn detector, SDK default", "silence alone, 0.3 s"
PUBLISHED = "as published, 0.4 to 2.0 s"
PUBLISHED_PAUSES = ("eot_livekit_300", "eot_livekit_5", "eot_flux_300", "eot_ultravad_300")
"""Published decisions at pauses, by their names in ``data/anchors.toml``."""

_SILENCE = "vanilla@turn_detection=vad,endpointing.min_delay_s="
_FLUX = "vanilla@turn_detection=stt,stt.provider=deepgram-flux,stt.eot_threshold="
ARMS = {
    "turn detector, 0.15": "vanilla@turn_detector.threshold=0.15",
    DEFAULT: "vanilla",
    "turn detector, 0.5": "vanilla@turn_detector.threshold=0.5",
    "detector with max 1.2 s, 0.36": f"vanilla@{MAX_DELAY}=1.2",
    "detector with max 1.2 s, 0.5": f"vanilla@{MAX_DELAY}=1.2,turn_detector.threshold=0.5",
    HASTY: f"{_SILENCE}0.3",
    "silence alone, 0.6 s": f"{_SILENCE}0.6",
    "silence alone, 0.9 s": f"{_SILENCE}0.9",
    "silence alone, 1.2 s": f"{_SILENCE}1.2",
    "silence, dynamic mode, 0.3 s": f"{_SILENCE}0.3,endpointing.mode=dynamic",
    "emulated Flux, 0.5": f"{_FLUX}0.5",
    "emulated Flux, 0.7": f"{_FLUX}0.7",
    PUBLISHED: f"vanilla@endpointing.min_delay_s=0.4,{MAX_DELAY}=2.0,vad.min_silence_s=0.4",
}
"""Ways to decide that a caller has finished, hasty to patient; ``GROUP, POINT`` each."""

TWO = {name: ARMS[name] for name in (HASTY, DEFAULT)}
DECIDED = (DEFAULT, PUBLISHED)
"""What the verdict rests on."""
ASKED = {name: ARMS[name] for name in DECIDED}
"""What is compared for each kind of caller."""


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """Each way against the SDK's default."""
    arms = results.arms
    return compare(arms[DEFAULT], arms, rules=rules)


def pause_points(results: Results) -> pd.DataFrame:
    """Decisions at pauses, as end-of-turn benchmarks count them.

    Returns:
        One row per arm over all turns with a pause: ``arm``, ``group``, ``label``, ``delay_s`` (the
        median from the last sound at the agent's ear to the decision, of turns without a false
        endpoint), ``share`` (false endpoints per pause) with ``low`` and ``high``, ``n_pauses``.
    """
    rows = []
    for name, arm in results.arms.items():
        turns = arm.turns[arm.turns["n_pauses"] > 0]
        group, label = group_and_label(name)
        whole = turns[turns["n_false_endpoints"] == 0]
        false_endpoints = turns[["n_false_endpoints", "n_pauses"]].min(axis=1)
        share = statistics.mean(turns.assign(x=false_endpoints / turns["n_pauses"]), "x")
        low, high = wilson(share.value, share.n)
        rows.append({
            "arm": name, "group": group, "label": label,
            "delay_s": statistics.quantile(whole, 0.5, "end_of_turn_s").value,
            "share": share.value, "low": float(np.fmin(share.low, low)),
            "high": float(np.fmax(share.high, high)),
            "n_pauses": int(turns["n_pauses"].sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def pauses(results: Results, anchors: Sequence[Anchor]) -> Chart:
    """Draws false endpoints per pause against the delay of the decision, beside published points.

    Args:
        results: Arms over callers who pause; an arm that ended every turn falsely has no delay and
            no place here.
        anchors: Published points with a ``share``.
    """
    points = pause_points(results)
    ax = new_axes(8.0, 4.8)
    lines: list[Line] = []
    labels = []
    for i, (group, part) in enumerate(points.dropna(subset="delay_s").groupby("group", sort=False)):
        look = looks(i)
        x, y, low, high = (
            part[c].to_numpy() * factor
            for c, factor in (("delay_s", 1000), ("share", 100), ("low", 100), ("high", 100))
        )
        ax.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker, label=group)
        ax.vlines(x, low, high, color=look.colour, linewidth=1.1)
        lines += [*zip(x, low, x, high, strict=True), *zip(x, y, x[1:], y[1:], strict=False)]
        labels += [Label(*of, look.text) for of in zip(x, y, part["label"], strict=True)]
    for k, anchor in enumerate(anchors):
        at, share = 1000 * (anchor.value_s or anchor.low_s), 100 * (anchor.share or 0.0)
        ax.plot([at], [share], "X", color=SOFT, markersize=8,
                label=None if k else "published, eot-bench")  # fmt: skip
        labels.append(Label(at, share, anchor.name.rpartition(": ")[2], SOFT))
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ms_axis(ax, "median delay from the last sound to the decision")
    unit_axis(ax, Unit("pauses taken for the end of the turn", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(loc="upper right")
    place(ax, labels, lines)
    return Chart(ax, points)


def commits(turns: pd.DataFrame) -> Chart:
    """Draws which proportion of turns was committed by when, a curve for each ``max_delay``."""
    ax, parts = new_axes(8.0, 4.4), []
    for i, (value, part) in enumerate(turns.dropna(subset="end_of_turn_s").groupby(MAX_DELAY)):
        look, at = looks(i), np.sort(part["end_of_turn_s"].to_numpy(dtype=float))
        share = np.arange(1, len(at) + 1) / len(at)
        parts.append(pd.DataFrame({MAX_DELAY: value, "end_of_turn_s": at, "share": share}))
        ax.step(1000 * np.array([at[0], *at]), 100 * np.array([0.0, *share]), where="post",
                color=look.colour, linestyle=look.dash, linewidth=1.8,
                label=f"{value:g} s")  # fmt: skip
        ax.axvline(1000 * float(str(value)), color=look.colour, linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 102)
    ax.set_xlim(left=0)
    ms_axis(ax, "from the caller's last sound at the agent's ear to the commit")
    unit_axis(ax, Unit("turns committed", 100.0, "%"), "y")
    ax.grid(True, axis="both")
    ax.legend(title=MAX_DELAY, loc="lower right")
    return Chart(ax, pd.concat(parts, ignore_index=True))


def rooms(callers: Results) -> Results:
    """Of a run over kinds of callers, the part in which the background was set."""
    return callers.part(**{NOISE: "none"})


def floor_points(turns: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """What the detector takes for a finished turn, at each level of background noise.

    Args:
        threshold: Probability from which the detector calls a turn finished.

    Returns:
        ``asked`` ("at the end", "at a pause"), the floor in dBFS, ``finished`` (proportion of turns
        taken for finished there) with ``low`` and ``high``, ``median_prob``, ``n_turns``.
    """
    rows = []
    for asked, column in (("at the end", "eot_prob"), ("at a pause", "eot_pause_prob")):
        for floor, part in turns[turns[column].notna()].groupby(FLOOR):
            share = statistics.rate(part, part[column] >= threshold)
            rows.append({"asked": asked, FLOOR: floor, **share.row("finished"),
                         "median_prob": part[column].median(), "n_turns": len(part)})  # fmt: skip
    return pd.DataFrame(rows)


def background_noise(turns: pd.DataFrame, threshold: float) -> Chart:
    """Draws the effect of background noise on the detector and on the callers of each arm.

    From ``threshold`` on the detector calls a turn finished. The numbers are those of
    :func:`floor_points` of the default arm, which the left half shows.
    """
    finished = floor_points(turns[turns["arm"] == DEFAULT], threshold)
    harms = proportions(turns, "arm", FLOOR, "n_false_endpoints")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
    sweep_lines(finished, FLOOR, "finished", "asked", left, x_name="background noise", share=True,
                y_name="taken for a finished turn")  # fmt: skip
    left.set_title("Detector: turn over?")
    sweep_lines(harms, FLOOR, "share", "arm", right, x_name="background noise", share=True,
                y_name="turns with a false endpoint")  # fmt: skip
    right.set_title("Callers: false endpoints?")
    return Chart(figure, finished)


def separation(turns: pd.DataFrame) -> pd.DataFrame:
    """How well the detector tells the end of a turn from a pause in it, at each background noise.

    Returns:
        Indexed by the floor: ``auc``, the chance that an end's probability is above a pause's
        (0.5 is guessing; ties count half), with the number of ends and of pauses it rests on.
    """
    rows = {}
    for at, part in turns.groupby(FLOOR):
        ends, pauses = part["eot_prob"].dropna(), part["eot_pause_prob"].dropna()
        rows[at] = {"auc": auc(ends, pauses), "ends": len(ends), "pauses": len(pauses)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(FLOOR)
