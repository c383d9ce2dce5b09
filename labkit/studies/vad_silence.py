"""Study 14: what the VAD's silence and the endpointing floor each add to a turn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap

from labkit.engine.tables import Results
from labkit.evidence.compare import compare
from labkit.evidence.verdict import Rules
from labkit.report import figures
from labkit.report.figures import Chart, swept
from labkit.report.palette import ACCENT, MAIN, new_axes
from labkit.report.turn_taking import proportions
from labkit.settings.roles import figure

VAD, MIN_DELAY = "vad.min_silence_s", "endpointing.min_delay_s"
FINAL, SNR = figure("stt", "final"), "caller.noise_snr_db"
PLUGIN_DEFAULT, PUBLISHED = "VAD silence, 0.55 s", "VAD silence, 0.4 s"


def alone(silence_s: float) -> str:
    """The VAD's silence alone ends a turn; the floor is out of the way at 0.1 s."""
    return f"vanilla@turn_detection=vad,{MIN_DELAY}=0.1,{VAD}={silence_s}"


def two(*silences_s: float) -> dict[str, str]:
    """The same at several silences, by name."""
    return {f"VAD silence {s} s": alone(s) for s in silences_s}


ARMS = {
    **{f"VAD silence, {s} s": alone(s) for s in (0.1, 0.25, 0.4, 0.55, 0.8)},
    "with the detector, SDK default": "vanilla",
    "with the detector, 0.4 s": f"vanilla@{VAD}=0.4",
}
"""The VAD's silence alone, short to long, and beside the SDK's turn detector."""
DECIDED = (PLUGIN_DEFAULT, PUBLISHED)
"""What the verdict rests on."""
ASKED = {name: ARMS[name] for name in DECIDED}
"""What is compared for each kind of caller."""


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """Each way against the plugin's default silence alone."""
    arms = results.arms
    return compare(arms[PLUGIN_DEFAULT], arms, rules=rules)


def cells(turns: pd.DataFrame) -> pd.DataFrame:
    """The median time to the commit in each cell of the grid, with its 10th and 90th percentile."""
    groups = turns.groupby([MIN_DELAY, VAD])["end_of_turn_s"]
    return pd.DataFrame({
        "median": groups.median(), "p10": groups.quantile(0.1), "p90": groups.quantile(0.9),
        "n_turns": groups.size(),
    }).reset_index()  # fmt: skip


def heat_map(turns: pd.DataFrame) -> Chart:
    """Draws the medians of :func:`cells`; left of the step the floor is below the VAD's silence."""
    medians = cells(turns)
    grid = 1000 * medians.pivot(index=VAD, columns=MIN_DELAY, values="median")
    ax = new_axes(7.2, 4.4)
    ramp = LinearSegmentedColormap.from_list("blues", ["#F4F8FB", MAIN])
    sns.heatmap(grid, annot=True, fmt=",.0f", cmap=ramp, cbar=False, ax=ax)
    for axis, at, name in ((ax.xaxis, grid.columns, MIN_DELAY), (ax.yaxis, grid.index, VAD)):
        axis.set_ticklabels([f"{1000 * value:g}" for value in at])
        axis.set_label_text(f"{name} (ms)")
    below = [int((grid.columns < silence).sum()) for silence in grid.index]
    rows = np.arange(len(below))
    ax.plot(np.repeat(below, 2), np.stack([rows, rows + 1], 1).ravel(), color=ACCENT, linewidth=2.2)
    ax.set(xlim=(0, grid.shape[1]), ylim=(0, grid.shape[0]))
    ax.tick_params(length=0, rotation=0)
    return Chart(ax, medians)


def final_delay(turns: pd.DataFrame) -> Chart:
    """Draws the time to the commit against the STT's delay of the final transcript."""
    return swept(
        turns.rename(columns={FINAL: "final_s"}), "final_s", "end_of_turn_s", "arm",
        x_name="STT's delay of the final transcript", y_name="time to the commit",
    )  # fmt: skip


def false_starts(turns: pd.DataFrame) -> Chart:
    """Draws in how many turns the session took an office for the caller, against the SNR."""
    points = proportions(turns, "arm", SNR, "n_false_starts")
    return figures.lines(points, SNR, "share", "arm", x_name="speech over noise (dB)", share=True,
                     y_name="turns with a false start")  # fmt: skip


def noise_table(turns: pd.DataFrame) -> pd.DataFrame:
    """The proportion of turns with each harm of noise, arm by arm."""
    harms = ("n_false_starts", "n_false_endpoints", "deletions")
    return proportions(turns, "arm", SNR, *harms).round(3)
