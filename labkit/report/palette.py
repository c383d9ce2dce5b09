"""Colours, names and labels that all charts have in common."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from labkit.measure.timeline import STAGES

STYLE = Path(__file__).resolve().parent / "style" / "labkit.mplstyle"

BASELINE = "#9A9A9A"
"""Grey: the baseline, and what is only there for comparison."""
INK = "#222222"
SOFT = "#555555"
ACCENT = "#D55E00"
MAIN = "#0B4F8A"


class Look(NamedTuple):
    """How one arm or group is drawn: told apart by lightness, marker, dash and hatch as well.

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
"""Colour and hatch of each owner of a stage. Lightness and hatch tell them apart without colour."""

NAMES: dict[str, str] = {
    "uplink_s": "caller to agent",
    "vad_silence_s": "VAD silence",
    "stt_network_s": "STT network",
    "transcript_s": "final transcript",
    "endpointing_s": "endpointing, turn detector",
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


def axes_or_new(ax: Axes | None, width_in: float = 8.0, height_in: float = 4.5) -> Axes:
    """The given axes, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    _, new = plt.subplots(figsize=(width_in, height_in), layout="constrained")
    return new


def ms_axis(ax: Axes, label: str, axis: str = "x") -> None:
    """Labels an axis whose values are milliseconds, with thousands separated."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_label_text(f"{label} (ms)")
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def draw_ci(ax: Axes, y: float, low: float, high: float) -> None:
    """Draws a confidence interval across a bar: white beneath black shows on dark and on light."""
    for colour, width in (("white", 3.2), (INK, 1.3)):
        ax.plot([low, high], [y, y], color=colour, linewidth=width, solid_capstyle="butt", zorder=3)
