"""One turn, stage by stage: where its milliseconds went, and what the SDK's figure leaves out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from labkit.measure.stages import STAGES
from labkit.report.palette import (
    BASELINE,
    BESIDE,
    INK,
    NAMES,
    OWNERS,
    SHOWN_S,
    SOFT,
    Chart,
    ms_axis,
    new_axes,
    note,
    owner_bar,
    owner_of,
)
from labkit.report.saving import records

_FORKED = ("vad_silence_s", "stt_network_s", "turn_detector_s", "endpointing_s")
"""Stages that begin when the agent has heard the last sound."""
_BRANCHES = {
    "commit": ("turn commit", "prepared reply"),
    "reply": ("prepared reply", "turn commit"),
}


def one_turn(turns: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the waterfall of one turn or more.

    Returns:
        One row per turn and part: ``call``, ``turn``, ``part``, ``owner``, ``start_s`` and
        ``end_s`` since the caller's last sound; and of stages ``slack_s``, 0 if it was waited for,
        and ``drag_s``, how much sooner the reply would have come without it.
    """
    rows: list[dict[str, object]] = []
    stopped = sdk_stopped_s(turns).to_list()
    for turn, sdk_stopped in zip(records(turns), stopped, strict=True):
        head = {"call": turn["call"], "turn": turn["turn"]}
        rows += [head | row for row in _stages(turn)]
        rows.append({**head, "part": "response_latency", "owner": "caller's ear",
                     "start_s": 0.0, "end_s": float(turn["response_latency_s"])})  # fmt: skip
        start = sdk_stopped - turn["at_caller_stopped_s"]
        rows.append({**head, "part": "sdk_e2e_latency", "owner": "SDK", "start_s": float(start),
                     "end_s": float(start + turn["sdk_e2e_latency_s"])})  # fmt: skip
    return pd.DataFrame(rows)


def _stages(turn: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """What was waited for, end to end, and what went on beside it, each from where it began.

    Of a stage in several places, such as a network's two legs, the parts are drawn as one.
    """
    path_s, heard_s = 0.0, float(turn["uplink_s"])
    reply_s = math.nan  # where the next stage begins of a reply that was not waited for
    for name in STAGES:
        waited_s, length_s, slack_s = (
            float(turn[f"{kind}{name}"]) for kind in ("", "length_", "slack_")
        )
        if waited_s > SHOWN_S:
            start_s, length_s, slack_s = path_s, waited_s, 0.0
            path_s += waited_s
        elif name in _FORKED:
            start_s = heard_s
        elif name in ("eager_s", "transcript_s"):
            start_s = heard_s + float(turn["length_stt_network_s"]) / 2
        elif name == "hook_s":
            start_s = float(turn["at_committed_s"] - turn["at_caller_stopped_s"])
        else:
            if reply_s != reply_s:
                eager_s, final_s = float(turn["at_eager_s"]), float(turn["at_transcript_s"])
                begun_s = eager_s if eager_s == eager_s else final_s
                reply_s = begun_s - float(turn["at_caller_stopped_s"])
            start_s = reply_s
            reply_s += length_s
        if length_s > SHOWN_S:
            yield {"part": name.removesuffix("_s"), "owner": owner_of(name), "start_s": start_s,
                   "end_s": start_s + length_s, "slack_s": slack_s,
                   "drag_s": float(turn[f"drag_{name}"])}  # fmt: skip


def sdk_stopped_s(turns: pd.DataFrame) -> pd.Series:
    """When the caller stopped as the SDK sees it, seconds from the start of the call.

    The SDK counts its end-of-turn delay from there to the commit. A turn that became several user
    messages mixes their figures, so it has none (NaN).
    """
    single = turns["n_user_messages"] == 1
    return (turns["at_committed_s"] - turns["sdk_end_of_turn_delay_s"]).where(single)


def turn_waterfall(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws one turn from the caller's last sound to the first sound heard of the reply.

    Each stage that was waited for is a full bar that begins where the one before ended, coloured by
    its owner and labelled with its length, and with what of that it costs if less would be saved
    without it. What went on beside it is pale, from where it began, with its slack dashed. Below,
    on the same axis: what the caller heard, and the SDK's own ``e2e_latency`` with what it leaves
    out at either end.

    Raises:
        ValueError: more or fewer than one turn was given, or it was not answered.
    """
    if len(frame) != 1:
        raise ValueError(f"expected one turn, got {len(frame)}")
    parts = one_turn(frame)
    stages = parts[~parts["part"].isin(("response_latency", "sdk_e2e_latency"))]
    if not len(stages):
        raise ValueError("this turn was not answered: it has no stages to draw")
    ax = ax or new_axes(8.0, 0.3 * (len(stages) + 2) + 1.1)
    total_ms = 1000 * float(frame["response_latency_s"].iloc[0])
    ticks: list[str] = []
    waited = stages[~(stages["slack_s"] > SHOWN_S)]
    longest = (waited["end_s"] - waited["start_s"]).max()
    for row, stage in enumerate(records(stages)):
        start, end = 1000 * stage["start_s"], 1000 * stage["end_s"]
        if stage["slack_s"] > SHOWN_S:
            _beside(ax, row, stage["owner"], start, end, 1000 * stage["slack_s"], total_ms)
        else:
            bold = stage["end_s"] - stage["start_s"] >= longest
            # what it would save to be without it, where other work would then be waited for
            partly = stage["drag_s"] < stage["end_s"] - stage["start_s"] - SHOWN_S
            cost = f" (costs {1000 * stage['drag_s']:,.0f})" if partly else ""
            _stage(ax, row, stage["owner"], start, end, total_ms, cost, bold=bold)
        ticks.append(f"{NAMES[stage['part'] + '_s']}  ·  {stage['owner']}")
    _say_branch(ax, frame, len(stages))
    y = len(stages) + 0.3
    _span(ax, y, 0.0, total_ms, f"{total_ms:,.0f}", INK)
    ticks.append("mouth-to-ear response latency")
    sdk = parts[parts["part"] == "sdk_e2e_latency"].iloc[0]
    rows = [*range(len(stages)), y]
    if sdk["end_s"] == sdk["end_s"]:
        _sdk(ax, y + 1, 1000 * float(sdk["start_s"]), 1000 * float(sdk["end_s"]), total_ms)
        ticks.append("the SDK's e2e_latency")
        rows.append(y + 1)
    ax.set_yticks(rows, ticks)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(rows[-1] + 0.6, -0.6)
    ax.set_xlim(0, total_ms * 1.08)
    ax.spines["left"].set_visible(False)
    ms_axis(ax, "time since the caller's last sound")
    return ax


def waterfalls(turns: pd.DataFrame, titles: Sequence[str]) -> Chart:
    """Draws several turns, each under its title, above each other on one axis of time."""
    rows = [turns.iloc[[i]] for i in range(len(turns))]
    lengths = [f"length_{name}" for name in STAGES]
    heights = [(t[lengths].iloc[0] > SHOWN_S).sum() + 3.5 for t in rows]
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(8.0, 0.3 * sum(heights) + 0.4), sharex=True, squeeze=False,
        height_ratios=heights, layout="constrained",
    )  # fmt: skip
    for ax, turn, title in zip(axes[:, 0], rows, titles, strict=True):
        turn_waterfall(turn, ax)
        ax.set_title(title)
        ax.label_outer()
    longest = 1000 * float(turns["response_latency_s"].max())
    axes[0, 0].set_xlim(0, longest * 1.08)
    return Chart(figure, one_turn(turns))


def _say_branch(ax: Axes, frame: pd.DataFrame, n_stages: int) -> None:
    """Says which branch was waited for, and by how much the other was early."""
    branch = _BRANCHES.get(str(frame["waited_for"].iloc[0]))
    if branch is None:
        return
    slack_ms = 1000 * float(frame["branch_slack_s"].iloc[0])
    text = f"waited for: {branch[0]}\nslack of the {branch[1]}: {slack_ms:,.0f} ms"
    # below the first bars, where a waterfall has room
    note(ax, text, (0, n_stages - 0.6), (6, 0), 8, xycoords=BESIDE, va="bottom", color=SOFT)


def _beside(
    ax: Axes, y: float, owner: str, start: float, end: float, slack: float, total: float
) -> None:
    """A stage that was not waited for, and how much longer it could have taken."""
    colour = OWNERS[owner][0]
    ax.barh(y, end - start, left=start, height=0.4, color=colour, alpha=0.45, linewidth=0)
    over = min(end + slack, total)
    ax.plot([end, over], [y, y], color=SOFT, linewidth=1.0, linestyle=(0, (2, 2)))
    ax.plot([over, over], [y - 0.2, y + 0.2], color=SOFT, linewidth=1.0)
    text = f"{end - start:,.0f} (slack {slack:,.0f})"
    left = over > 0.75 * total and start > 0.3 * total
    x, shift, ha = (start, -4, "right") if left else (over, 4, "left")
    if not left and over > 0.75 * total:  # no room behind it: on the line
        x, shift, ha = end, 4, "left"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    note(ax, text, (x, y), (shift, 0), 7.5, ha=ha, va="center", color=SOFT, bbox=box)


def _stage(
    ax: Axes,
    y: float,
    owner: str,
    start: float,
    end: float,
    total: float,
    cost: str,
    *,
    bold: bool,
) -> None:
    owner_bar(ax, y, start, end - start, owner, 0.72)
    ax.plot([end, end], [y, y + 1], color="#BBBBBB", linewidth=0.6, zorder=0.5)
    beside_left = end > 0.9 * total and start > 0.1 * total
    x, shift, ha = (start, -4, "right") if beside_left else (end, 4, "left")
    note(ax, f"{end - start:,.0f}{cost}", (x, y), (shift, 0), ha=ha, va="center",
         fontweight="bold" if bold else "normal")  # fmt: skip


def _span(ax: Axes, y: float, start: float, end: float, text: str, colour: str) -> None:
    """A bracket: a line with ticks at its ends and its length in the middle."""
    ax.plot([start, end], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    for x in (start, end):
        ax.plot([x, x], [y - 0.25, y + 0.25], color=colour, linewidth=1.6)
    _in_middle(ax, y, start, end, text, 1.5, fontsize=9, fontweight="bold", color=colour)


def _in_middle(
    ax: Axes, y: float, start: float, end: float, text: str, pad: float, **style: Any
) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": pad}
    ax.annotate(text, ((start + end) / 2, y), ha="center", va="center", bbox=box, **style)


def _sdk(ax: Axes, y: float, start: float, end: float, total: float) -> None:
    for left, right in ((0.0, start), (end, total)):
        if right - left <= 0:
            continue
        ax.barh(y, right - left, left=left, height=0.5, facecolor="white", edgecolor=BASELINE,
                hatch="////", linewidth=0.0)  # fmt: skip
        _in_middle(ax, y, left, right, f"+{right - left:,.0f}", 1.0, fontsize=8, color=SOFT)
    _span(ax, y, start, end, f"{end - start:,.0f}", SOFT)
