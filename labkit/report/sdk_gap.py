"""What the SDK's ``e2e_latency`` leaves out of the response latency, part by part."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from labkit.callers.line import Line
from labkit.evidence import statistics
from labkit.report.palette import (
    ACCENT,
    INK,
    SHOWN_S,
    Chart,
    draw_ci,
    ms_axis,
    name_rows,
    new_axes,
    owner_bar,
)
from labkit.report.saving import records
from labkit.report.waterfall import sdk_stopped_s
from labkit.settings import Settings

PARTS: dict[str, tuple[str, str]] = {
    "codec_up": ("codec, caller's side", "network"),
    "path_up": ("network path, caller to agent", "network"),
    "jitter_buffer_up": ("jitter buffer, agent's side", "network"),
    "frames": ("50 ms input frames", "agent"),
    "uplink": ("caller to agent", "network"),
    "stop_guess": ("SDK's guess when speech ended", "agent"),
    "play_out": ("reply leaves after the SDK's mark", "agent"),
    "leading_silence": ("silence leading the audio", "provider"),
    "codec_down": ("codec, agent's side", "network"),
    "path_down": ("network path, agent to caller", "network"),
    "jitter_buffer_down": ("jitter buffer, caller's side", "network"),
    "downlink": ("agent to caller", "network"),
}
"""Parts of the difference: what each is called and who owns it."""


def sdk_difference(
    turns: pd.DataFrame, settings: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """Splits, turn by turn, the caller's latency minus the SDK's ``e2e_latency``.

    The SDK counts from its own guess when the caller stopped to the moment it marks its reply as
    started; the caller counts from the last sound made to the first sound heard. So the difference
    is what lies before the one plus what lies after the other, and nothing else.

    Args:
        settings: Settings of the run; with them the line splits into path, codec and buffer.

    Returns:
        One row per turn for which the SDK gave a figure: ``call``, ``turn``,
        ``response_latency_s``, ``sdk_e2e_latency_s``, ``difference_s`` and the parts
        (``uplink_s``, …) that sum to it.
    """
    stopped = sdk_stopped_s(turns)
    known = turns["sdk_e2e_latency_s"].notna() & stopped.notna() & turns["residual_s"].notna()
    turns, stopped = turns[known], stopped[known]
    started = stopped + turns["sdk_e2e_latency_s"]
    keep = ["call", "turn", "response_latency_s", "sdk_e2e_latency_s"]
    out = turns[keep].copy()
    out["difference_s"] = out["response_latency_s"] - out["sdk_e2e_latency_s"]
    up = turns["at_heard_s"] - turns["at_caller_stopped_s"]
    sound = turns["at_reply_heard_s"] - turns["at_agent_audio_left_s"]
    down = turns["downlink_s"]
    parts_up, parts_down = _line(settings) if settings is not None else ({}, {})
    for name, value in parts_up.items():
        out[f"{name}_up_s"] = value
    out["frames_s" if parts_up else "uplink_s"] = up - sum(parts_up.values())
    out["stop_guess_s"] = stopped - turns["at_heard_s"]
    out["play_out_s"] = turns["at_agent_audio_left_s"] - started
    out["leading_silence_s"] = sound - down
    for name, value in parts_down.items():
        out[f"{name}_down_s"] = value
    rest = down - sum(parts_down.values())
    if not parts_down or rest.abs().max() > SHOWN_S:
        out["downlink_s"] = rest
    return out.reset_index(drop=True)


def _line(settings: Mapping[str, object]) -> tuple[dict[str, float], dict[str, float]]:
    """The parts of the line's delay to the agent, and to the caller."""
    line = Line.of(Settings(settings), 0, 0)
    both = {"path": line.rtt_s / 2, "codec": line.codec_s}
    return (
        both | {"jitter_buffer": line.up.jitter_buffer_s},
        both | {"jitter_buffer": line.down.jitter_buffer_s},
    )


def difference_means(
    turns: pd.DataFrame, settings: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """Means of :func:`sdk_difference` with 95% CI over calls.

    Returns:
        One row per part in the order of time, then the whole: ``part``, ``name``, ``owner``,
        ``mean_s``, ``low_s``, ``high_s``.
    """
    split = sdk_difference(turns, settings)
    rows = []
    for part, (name, owner) in PARTS.items():
        if f"{part}_s" in split and split[f"{part}_s"].abs().max() > SHOWN_S:
            rows.append({"part": part, "name": name, "owner": owner})
    rows.append({"part": "difference", "name": "the SDK reads low by", "owner": ""})
    return pd.DataFrame(
        [row | statistics.mean(split, f"{row['part']}_s").row("mean_s", "_s") for row in rows]
    )


def sdk_gap(turns: pd.DataFrame, settings: Mapping[str, object]) -> Chart:
    """Draws :func:`difference_means`, one part after the other."""
    means = difference_means(turns, settings)
    ax = new_axes(8.0, 0.33 * len(means) + 1.2)
    at, last = 0.0, len(means) - 1
    edge = 1000 * float(means["high_s"].max())
    for y, row in enumerate(records(means)):
        value, low, high = (1000 * row[k] for k in ("mean_s", "low_s", "high_s"))
        start = at if y < last else 0.0
        owner_bar(ax, y, min(start, start + value), abs(value), row["owner"], 0.68)
        draw_ci(ax, y, start + low, start + high)
        text = f"{value:+,.1f}" if y < last else f"{value:,.1f}"
        ax.text(max(start + high, start) + 0.012 * edge, y, text, va="center", fontsize=8.5,
                fontweight="normal" if y < last else "bold",
                color=ACCENT if value < 0 else INK)  # fmt: skip
        at = start + value
        if y < last:
            ax.plot([at, at], [y - 0.34, y + 1.34], color="#888888", linewidth=0.6, zorder=2)
    name_rows(ax, ["  ·  ".join(filter(None, (r["name"], r["owner"]))) for r in records(means)])
    ax.invert_yaxis()
    ax.set_xlim(0, edge * 1.1)
    ms_axis(ax, "mean over turns, 95% CI over calls")
    return Chart(ax, means)
