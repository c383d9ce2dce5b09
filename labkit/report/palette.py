"""What all charts have in common: colours, names, axes, and the numbers that come with each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter

from labkit.evidence.units import Unit, number
from labkit.measure.stages import STAGES

STYLE = Path(__file__).resolve().parent / "style" / "labkit.mplstyle"

SHOWN_S = 0.0005
"""Shorter stages are not drawn: other work overlapped them, or they did not happen."""

BASELINE = "#9A9A9A"
"""Grey: the baseline, and whatever is drawn only for comparison."""
INK = "#222222"
SOFT = "#555555"
ACCENT = "#D55E00"
MAIN = "#0B4F8A"


class Chart(NamedTuple):
    """A drawing and the numbers in it, ready to be saved."""

    drawing: Axes | Figure
    data: pd.DataFrame


class Look(NamedTuple):
    """How one arm or group is drawn; lightness, marker, dash and hatch differ as well as colour.

    ``text`` is the colour again, dark enough to read.
    """

    colour: str
    text: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]
    hatch: str


LOOKS = (
    Look(MAIN, MAIN, "o", "-", ""),
    Look(ACCENT, "#B34A00", "^", "--", "///"),
    Look("#56B4E9", "#1F7CB4", "s", "-.", "..."),
    Look("#009E73", "#00734F", "D", ":", "\\\\\\"),
    Look("#E6B800", "#8A6D00", "v", (0, (5, 1, 1, 1, 1, 1)), "xxx"),
    Look("#8A4F7D", "#8A4F7D", "P", (0, (8, 2)), "---"),
)


def looks(i: int) -> Look:
    """The look of the i-th arm or group, from 0; they repeat after six."""
    return LOOKS[i % len(LOOKS)]


OWNERS: dict[str, tuple[str, str]] = {
    "network": ("#9CC9E8", ""),
    "setting": ("#D55E00", ""),
    "provider": ("#0B4F8A", ""),
    "user's code": ("#F2D16B", "///"),
    "agent": ("#7FBF9E", "..."),
}
"""Colour and hatch of each owner of a stage; distinct in grey, too."""

NAMES: dict[str, str] = {
    "uplink_s": "caller to agent",
    "vad_silence_s": "VAD silence",
    "stt_network_s": "STT network",
    "eager_s": "eager end of turn",
    "transcript_s": "final transcript",
    "turn_detector_s": "turn detector",
    "endpointing_s": "endpointing delay",
    "hook_s": "on_user_turn_completed",
    "tools_s": "tool calls",
    "llm_network_s": "LLM network",
    "llm_ttft_s": "LLM TTFT",
    "first_sentence_s": "first sentence complete",
    "tts_network_s": "TTS network",
    "tts_ttfb_s": "TTS TTFB",
    "playout_s": "waiting to play",
    "leading_silence_s": "silence leading the audio",
    "downlink_s": "agent to caller",
}
"""What a stage is called in a chart."""


def use_style() -> None:
    """Gives every following figure the project's look, and lets tables show whole sentences.

    Call it once, at the top of a notebook.
    """
    plt.style.use(STYLE)
    pd.set_option("display.max_colwidth", None)


def owner_of(stage: str) -> str:
    """Who owns a stage: network, setting, provider, user's code or agent."""
    return STAGES[stage][0]


def new_axes(width_in: float, height_in: float) -> Axes:
    """The axes of a new figure of this size in inches."""
    return plt.subplots(figsize=(width_in, height_in), layout="constrained")[1]


def figure_of(drawing: Axes | Figure) -> Figure:
    """The whole figure."""
    figure = drawing.get_figure(root=True)
    assert figure is not None
    return figure


def ms_axis(ax: Axes, label: str, axis: str = "x") -> None:
    """Labels an axis whose values are milliseconds, with thousands separated."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_label_text(f"{label} (ms)")
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def unit_axis(ax: Axes, unit: Unit, axis: str = "x") -> None:
    """Names an axis whose values were multiplied by the unit's factor; thousands are separated."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_label_text(unit.label)
    chosen.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names the rows 0, 1, … of a chart with rows; they need no ticks."""
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)


def note(ax: Axes, text: str, at: tuple[float, float], shift: tuple[float, float],
         fontsize: float = 8.5, **style: Any) -> Annotation:  # fmt: skip
    """Writes a text ``shift`` points (1/72 inch, to the right and up) beside a place of the data.

    ``style`` is passed on to ``Axes.annotate``; with ``xycoords`` the place is another one.
    """
    style |= {"textcoords": "offset points", "fontsize": fontsize}
    return ax.annotate(text, at, xytext=shift, **style)


ABOVE = ("data", "axes fraction")
BESIDE = ("axes fraction", "data")
"""``xycoords`` of a point of one axis at the edge of the other."""


def owner_bar(ax: Axes, y: float, start: float, length: float, owner: str, height: float) -> None:
    """Draws a bar in the colour and hatch of its owner; grey if nobody owns it."""
    colour, hatch = OWNERS.get(owner, (BASELINE, ""))
    ax.barh(y, length, left=start, height=height, color=colour, hatch=hatch, edgecolor="white",
            linewidth=0.5)  # fmt: skip


def draw_ci(ax: Axes, y: float, low: float, high: float) -> None:
    """Draws a confidence interval across a bar: white beneath black shows on dark and on light."""
    for colour, width in (("white", 3.2), (INK, 1.3)):
        ax.plot([low, high], [y, y], color=colour, linewidth=width, solid_capstyle="butt", zorder=3)
