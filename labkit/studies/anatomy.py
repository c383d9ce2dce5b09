"""Study 00: which turns to look at, the slow mode of the turn detector, and what it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor, load
from labkit.evidence.paired import waited
from labkit.evidence.statistics import Estimate
from labkit.evidence.units import ms, ms_ci, percent, percent_ci
from labkit.report.figures import Chart
from labkit.report.palette import ACCENT, BASELINE, INK, MAIN, SOFT, ms_axis, new_axes
from labkit.report.sdk_gap import sdk_difference
from labkit.report.tables import titled


def published_latencies() -> list[Anchor]:
    """Response latencies that others have measured."""
    return [a for a in load() if a.quantity == "response_latency"]


def published_gap() -> Anchor:
    """How far below the audio a dashboard's figure was found."""
    return load("callback_dashboard_gap")[0]


def typical_turns(turns: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    """Example turns, as a table of one or two rows.

    Returns:
        The answered turn whose latency is closest to the median of all; then the same among the
        turns that waited ``delay_s``, if there are any. Column ``example`` says which is which.
    """
    answered = turns[turns["residual_s"].notna() & turns["sdk_e2e_latency_s"].notna()]
    groups = {
        "A typical turn": answered,
        f"A turn that waited {ms(delay_s)} ms": answered[waited(answered, delay_s)],
    }
    rows = []
    for name, group in groups.items():
        if len(group):
            away = (group["response_latency_s"] - group["response_latency_s"].median()).abs()
            rows.append(group.loc[[away.idxmin()]].assign(example=name))
    return pd.concat(rows)


def waited_table(turns: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    """The eight sentences that made the turn detector wait most often."""
    table = turns.assign(waited=waited(turns, delay_s)).groupby("said")["waited"]
    found = pd.DataFrame({"times said": table.size(), "of these waited": table.sum()})
    found = found[found["of these waited"] > 0].sort_values(
        ["of these waited", "times said"], ascending=[False, True], kind="stable"
    )
    return titled(found.head(8), "the caller said")


def anchor_table(anchors: Iterable[Anchor]) -> pd.DataFrame:
    """Published figures with their sources; ms."""
    rows = []
    for a in anchors:
        band = f"{ms(a.low_s)} – {ms(a.high_s)}" if a.high_s > a.low_s else ""
        rows.append({"published": a.name, "at": f"p{a.quantile * 100:g}",
                     "ms": ms(a.value_s) if a.value_s is not None else band,
                     "range": band if a.value_s is not None else "",
                     "measured on": a.note, "source": f"{a.source}, {a.date}"})  # fmt: skip
    return titled(pd.DataFrame(rows).set_index("published"), "published")


def read_turns(examples: pd.DataFrame) -> str:
    """A sentence per turn: what was said, how long it took, what the SDK reported."""
    lines = []
    for _, row in examples.iterrows():
        missing = row["response_latency_s"] - row["sdk_e2e_latency_s"]
        lines.append(
            f"- {row['example']}: “{row['said']}” was answered after "
            f"**{ms(row['response_latency_s'])} ms**. The SDK's own `e2e_latency` is "
            f"{ms(row['sdk_e2e_latency_s'])} ms, {ms(missing)} ms less."
        )
    return "\n".join(lines)


def read_wait(turns: pd.DataFrame, delay_s: float, probe: pd.DataFrame, probe_s: float) -> str:
    """Sentences about the slow mode, and about what became of it when its delay was changed."""
    slow, moved = waited(turns, delay_s), waited(probe, probe_s)
    slow_rate, after = statistics.rate(turns, slow), statistics.rate(probe, moved)
    saved = statistics.difference(probe[moved], turns[slow]) if slow.any() and moved.any() else None
    text = (
        f"On **{percent(slow_rate.value)}** of turns (95% CI {percent(slow_rate.low)}–"
        f"{percent(slow_rate.high)}) the agent committed exactly {ms(delay_s)} ms after the end of "
        f"speech: its median latency there is {ms(turns[slow]['response_latency_s'].median())} ms, "
        f"compared with {ms(turns[~slow]['response_latency_s'].median())} ms on the others."
    )
    if saved is None:
        return text
    left = int(waited(probe, delay_s).sum())
    text += (
        f" With `endpointing.max_delay_s` at {ms(probe_s)} ms and nothing else changed, "
        f"{left or 'no'} turns wait {ms(delay_s)} ms and {percent(after.value)} wait exactly "
        f"{ms(probe_s)} ms; the median of the group falls by {ms_ci(saved)} ms."
    )
    if not left:
        text += (
            " So the mode is that setting, applied when the turn detector doubts that the caller "
            "has finished."
        )
    return text


def commit_points(arms: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers of :func:`commit_modes`: one row per answered turn whose commit is known.

    Returns:
        ``arm``, ``call``, ``turn``, ``sdk_end_of_turn_delay_s``, ``response_latency_s``.
    """
    keep = ["call", "turn", "sdk_end_of_turn_delay_s", "response_latency_s"]
    parts = []
    for name, turns in arms.items():
        known = turns["sdk_end_of_turn_delay_s"].notna() & turns["residual_s"].notna()
        parts.append(turns.loc[known, keep].assign(arm=name)[["arm", *keep]])
    return pd.concat(parts, ignore_index=True)


def _longest_wait(points: pd.DataFrame) -> tuple[float, Estimate, float]:
    """An arm's longest wait (ms), the proportion of turns with it, their shortest latency (ms)."""
    longest = float(points["sdk_end_of_turn_delay_s"].max())
    there = points["sdk_end_of_turn_delay_s"] > longest - 0.005
    shortest = float(points.loc[there, "response_latency_s"].min())
    return longest * 1000, statistics.rate(points, there), shortest * 1000


def commit_modes(arms: Mapping[str, pd.DataFrame]) -> Chart:
    """Each turn's response latency against the wait before the turn was committed, ms from zero.

    Of at most three arms; the first is the baseline.
    """
    ax = new_axes(8.0, 4.2)
    points = commit_points(arms)
    looks = [(BASELINE, "o"), (MAIN, "^"), (ACCENT, "s")]
    for name, (colour, marker) in zip(arms, looks, strict=False):
        own = points[points["arm"] == name]
        ax.plot(own["sdk_end_of_turn_delay_s"] * 1000, own["response_latency_s"] * 1000, marker,
                color=colour, markersize=5.5, alpha=0.65, markeredgewidth=0,
                label=name)  # fmt: skip
        at, slow, low_ms = _longest_wait(own)
        text = f"{name}\n{percent(slow.value)} of turns\n{percent_ci(slow).partition(' ')[2]}"
        ax.annotate(text, (at, low_ms), xytext=(0, -8), textcoords="offset points", ha="center",
                    va="top", color=INK if colour == BASELINE else colour)  # fmt: skip
    ax.set_xlim(0, 1.1 * 1000 * float(points["sdk_end_of_turn_delay_s"].max()))
    ax.set_ylim(bottom=0)
    ax.grid(True, axis="both")
    ms_axis(ax, "wait from the SDK's end of speech to the commit")
    ms_axis(ax, "response latency", axis="y")
    return Chart(ax, points)


def heard_against_sdk(
    turns: pd.DataFrame, settings: Mapping[str, object], published: Anchor
) -> Chart:
    """Each turn's response latency against the SDK's own ``e2e_latency``, ms from zero.

    The published range of the difference is drawn as a band.
    """
    split = sdk_difference(turns, settings)
    ax = new_axes(8.0, 5.0)
    x, y = split["sdk_e2e_latency_s"] * 1000, split["response_latency_s"] * 1000
    edge = float(max(x.max(), y.max())) * 1.06 if len(split) else 1.0
    line = np.array([0.0, edge])
    low, high = 1000 * published.low_s, 1000 * published.high_s
    ax.fill_between(line, line + low, line + high, color=BASELINE, alpha=0.3, linewidth=0)
    ax.annotate(f"published gap {low:,.0f}–{high:,.0f} ms", (0.56 * edge, 0.56 * edge + high),
                ha="right", va="bottom", color=SOFT, fontsize=8.5)  # fmt: skip
    ax.plot(line, line, color=BASELINE, linewidth=1.2)
    ax.annotate("if they agreed", (0.72 * edge, 0.72 * edge), xytext=(8, -8), va="top",
                textcoords="offset points", color=SOFT, fontsize=8.5)  # fmt: skip
    ax.plot(x, y, "o", color=MAIN, markersize=4.5, alpha=0.65, markeredgewidth=0)
    gap = statistics.quantile(split, 0.5, "difference_s")
    text = f"median gap {ms(gap.value)} ms\n{ms_ci(gap).partition(' ')[2]}"
    ax.annotate(text, (0.03, 0.97), xycoords="axes fraction", va="top", color=MAIN,
                fontweight="bold")  # fmt: skip
    ax.set_xlim(0, edge)
    ax.set_ylim(0, edge)
    ax.grid(True, axis="both")
    ms_axis(ax, "the SDK's e2e_latency")
    ms_axis(ax, "mouth-to-ear response latency", axis="y")
    return Chart(ax, split)


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
