"""What the SDK's ``e2e_latency`` leaves out of the response latency, part by part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor
from labkit.evidence.units import ms, ms_ci, percent
from labkit.report.palette import (
    ACCENT,
    BASELINE,
    INK,
    MAIN,
    OWNERS,
    SOFT,
    axes_or_new,
    draw_ci,
    ms_axis,
)
from labkit.report.saving import records
from labkit.report.tables import titled
from labkit.report.waterfall import sdk_stopped_s
from labkit.settings import Settings

_SHOWN_S = 0.0005

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
        turns: The turns table.
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
    line = _line(settings) if settings is not None else {}
    for name, value in line.items():
        out[f"{name}_up_s"] = value
    out["frames_s" if line else "uplink_s"] = up - sum(line.values())
    out["stop_guess_s"] = stopped - turns["at_heard_s"]
    out["play_out_s"] = turns["at_agent_audio_left_s"] - started
    out["leading_silence_s"] = sound - down
    for name, value in line.items():
        out[f"{name}_down_s"] = value
    rest = down - sum(line.values())
    if not line or rest.abs().max() > _SHOWN_S:
        out["downlink_s"] = rest
    return out.reset_index(drop=True)


def _line(settings: Mapping[str, object]) -> dict[str, float]:
    chosen = Settings(settings)
    return {
        "path": chosen.number("links.caller.rtt_s") / 2,
        "codec": chosen.number("links.caller.codec_s"),
        "jitter_buffer": chosen.number("links.caller.jitter_buffer_s"),
    }


def difference_means(
    turns: pd.DataFrame, settings: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """Means of :func:`sdk_difference` with 95% intervals over calls.

    Returns:
        One row per part in the order of time, then the whole: ``part``, ``name``, ``owner``,
        ``mean_s``, ``low_s``, ``high_s``.
    """
    split = sdk_difference(turns, settings)
    rows = []
    for part, (name, owner) in PARTS.items():
        if f"{part}_s" in split and split[f"{part}_s"].abs().max() > _SHOWN_S:
            rows.append(_mean(split, f"{part}_s", name, owner))
    rows.append(_mean(split, "difference_s", "the SDK's figure reads low by", ""))
    return pd.DataFrame(rows)


def _mean(split: pd.DataFrame, column: str, name: str, owner: str) -> dict[str, object]:
    found = statistics.mean(split, column)
    return {"part": column.removesuffix("_s"), "name": name, "owner": owner,
            "mean_s": found.value, "low_s": found.low, "high_s": found.high}  # fmt: skip


def difference_by_stage(
    turns: pd.DataFrame,
    ax: Axes | None = None,
    settings: Mapping[str, object] | None = None,
) -> Axes:
    """Draws what the SDK's ``e2e_latency`` leaves out of what the caller hears, part by part.

    Args:
        turns: The turns table.
        ax: Where to draw; a new figure by default.
        settings: Settings of the run; with them the line splits into path, codec and buffer.

    Returns:
        The axes; x is milliseconds. Intervals are those of each part's mean.
    """
    means = difference_means(turns, settings)
    ax = axes_or_new(ax, 8.0, 0.33 * len(means) + 1.2)
    at, last = 0.0, len(means) - 1
    edge = 1000 * float(means["high_s"].max())
    for y, row in enumerate(records(means)):
        value, low, high = (1000 * row[k] for k in ("mean_s", "low_s", "high_s"))
        start = at if y < last else 0.0
        colour, hatch = OWNERS.get(row["owner"], (BASELINE, ""))
        ax.barh(y, abs(value), left=min(start, start + value), height=0.68, color=colour,
                hatch=hatch, edgecolor="white", linewidth=0.5)  # fmt: skip
        draw_ci(ax, y, start + low, start + high)
        text = f"{value:+,.1f}" if y < last else f"{value:,.1f}"
        ax.text(max(start + high, start) + 0.012 * edge, y, text, va="center", fontsize=8.5,
                fontweight="normal" if y < last else "bold",
                color=ACCENT if value < 0 else INK)  # fmt: skip
        at = start + value
        if y < last:
            ax.plot([at, at], [y - 0.34, y + 1.34], color="#888888", linewidth=0.6, zorder=2)
    names = [
        r["name"] if y == last else f"{r['name']}  ·  {r['owner']}"
        for y, r in enumerate(records(means))
    ]
    ax.set_yticks(range(len(means)), names)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(0, edge * 1.1)
    ms_axis(ax, "mean over turns, 95% interval over calls")
    return ax


def ear_against_sdk(
    turns: pd.DataFrame,
    ax: Axes | None = None,
    *,
    published_gap_s: tuple[float, float] | None = None,
) -> Axes:
    """Draws, turn by turn, what the caller heard against the SDK's own ``e2e_latency``.

    Args:
        turns: The turns table.
        ax: Where to draw; a new figure by default.
        published_gap_s: A published range of the difference, drawn as a band.

    Returns:
        The axes; both axes are milliseconds from zero.
    """
    split = sdk_difference(turns)
    ax = axes_or_new(ax, 8.0, 5.0)
    x, y = split["sdk_e2e_latency_s"] * 1000, split["response_latency_s"] * 1000
    edge = float(max(x.max(), y.max())) * 1.06 if len(split) else 1.0
    line = np.array([0.0, edge])
    if published_gap_s is not None:
        low, high = (1000 * v for v in published_gap_s)
        ax.fill_between(line, line + low, line + high, color=BASELINE, alpha=0.3, linewidth=0)
        ax.annotate(f"published gap {low:,.0f}–{high:,.0f} ms", (0.56 * edge, 0.56 * edge + high),
                    ha="right", va="bottom", color=SOFT, fontsize=8.5)  # fmt: skip
    ax.plot(line, line, color=BASELINE, linewidth=1.2)
    ax.annotate("if they agreed", (0.72 * edge, 0.72 * edge), xytext=(8, -8), va="top",
                textcoords="offset points", color=SOFT, fontsize=8.5)  # fmt: skip
    ax.plot(x, y, "o", color=MAIN, markersize=4.5, alpha=0.65, markeredgewidth=0)
    gap = statistics.quantile(split, 0.5, "difference_s")
    ax.annotate(
        f"median gap {gap.value * 1000:,.0f} ms\n[{gap.low * 1000:,.0f}–{gap.high * 1000:,.0f}]",
        (0.03, 0.97), xycoords="axes fraction", va="top", color=MAIN, fontweight="bold",
    )  # fmt: skip
    ax.set_xlim(0, edge)
    ax.set_ylim(0, edge)
    ax.grid(True, axis="both")
    ms_axis(ax, "the SDK's e2e_latency")
    ms_axis(ax, "response latency at the caller's ear", axis="y")
    return ax


def difference_table(
    turns: pd.DataFrame, settings: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """What the SDK's figure leaves out, part by part: mean ms, interval, share, owner."""
    means = difference_means(turns, settings)
    whole = float(means["mean_s"].iloc[-1])
    table = pd.DataFrame(
        {
            "owner": means["owner"],
            "mean (ms)": (means["mean_s"] * 1000).round(1),
            "95% interval": [f"{1000 * low:,.1f} – {1000 * high:,.1f}" for low, high
                             in zip(means["low_s"], means["high_s"], strict=True)],
            "share of the gap": [percent(float(v) / whole) for v in means["mean_s"]],
        }
    )  # fmt: skip
    return titled(table.set_index(means["name"]), "what the SDK leaves out")


def read_gap(turns: pd.DataFrame, published: Anchor) -> str:
    """A sentence about how far the SDK's figure reads low, beside a published gap."""
    split = sdk_difference(turns)
    gap = statistics.quantile(split, 0.5, "difference_s")
    answered = int(turns["residual_s"].notna().sum())
    text = (
        f"The SDK's `e2e_latency` reads **{ms_ci(gap)} ms** low at the median "
        f"({gap.n} turns). Published for a hosted agent: {ms(published.low_s)}–"
        f"{ms(published.high_s)} ms ({published.source}, {published.date})."
    )
    if gap.n < answered:
        text += (
            f" It gave no figure for {answered - gap.n} of the {answered} answered turns: those "
            f"that it heard as more than one message."
        )
    return text
