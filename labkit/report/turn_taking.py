"""Turn taking: who gets a premature reply, and how long the others wait, for any arms."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor
from labkit.evidence.units import ms_ci, percent_ci
from labkit.report.arms import frontier, frontier_points
from labkit.report.palette import ABOVE, SOFT, Chart, note
from labkit.settings.roles import figure

PERSONA = "caller.persona"
FIELD = {PERSONA: ["field"]}
"""The default callers, as a grid, so that tables name them."""


def quick_stack(
    first_token_s: float, tokens_per_s: float, first_audio_s: float
) -> dict[str, object]:
    """Settings of an LLM and a TTS so fast that a false endpoint is heard before it is withdrawn.

    Args:
        first_token_s: The LLM's time to first token (TTFT), seconds.
        first_audio_s: The TTS's time to first byte (TTFB), seconds.
    """
    return {
        figure("llm", "first_token"): first_token_s,
        figure("llm", "tokens_per_s"): tokens_per_s,
        figure("tts", "first_audio"): first_audio_s,
    }


def group_and_label(arm: str) -> tuple[str, str]:
    """``"silence alone, 0.3 s"`` is the point "0.3 s" of the group "silence alone"."""
    group, _, label = arm.rpartition(", ")
    return group, label


def proportions(turns: pd.DataFrame, by: str, x: str, *columns: str) -> pd.DataFrame:
    """The proportion of turns in which a count is above zero, at each point of a sweep.

    Args:
        *columns: Counts per turn, such as ``n_false_endpoints``.

    Returns:
        One row per count, group and point: ``harm``, ``by``, ``x``, ``share`` with ``low`` and
        ``high``, ``n_turns``.
    """
    parts = {}
    for column in columns:
        seen = turns.assign(seen=turns[column] > 0)
        parts[column] = statistics.by_group(
            seen, [by, x], lambda part: statistics.rate(part, part["seen"]), "share"
        )
    return pd.concat(parts, names=["harm"]).reset_index("harm").reset_index(drop=True)


def table(results: Results) -> pd.DataFrame:
    """Gain and harms of every arm for every persona, with 95% CIs, ready to be shown."""
    rows = []
    for (persona, arm), turns in results.turns.groupby([PERSONA, "arm"], sort=False):
        harms = {
            "false endpoints": turns["n_false_endpoints"] > 0,
            "premature replies": turns["n_premature_replies"] > 0,
            "split": turns["n_messages"] > 1,
        }
        rows.append({
            "caller": persona, "arm": arm, "turns": len(turns),
            "p50 (ms)": ms_ci(statistics.quantile(turns, 0.5)),
            "p95 (ms)": ms_ci(statistics.quantile(turns, 0.95)),
            **{name: percent_ci(statistics.rate(turns, which)) for name, which in harms.items()},
            "overlap (s in all)": f"{turns['overlap_s'].sum():.1f}",
            "deletions": f"{turns['deletions'].sum() / turns['words_said'].sum():.1%}",
            "LLM calls per turn": f"{turns['llm_calls'].mean():.2f}",
        })  # fmt: skip
    return pd.DataFrame(rows).set_index(["caller", "arm"])


def frontiers(results: Results, *, q: float = 0.5, anchors: Sequence[Anchor] = ()) -> Chart:
    """Latency against premature replies, one panel per persona, each with axes of its own.

    Args:
        results: Arms over personas; an arm's name is its group, a comma and its label.
        anchors: Published latencies, drawn as lines.
    """
    personas = list(results.turns[PERSONA].unique())
    figure, axes = plt.subplots(
        1, len(personas), figsize=(5.6 * len(personas), 5.0), layout="constrained", squeeze=False
    )
    parts = []
    for ax, persona in zip(axes[0], personas, strict=True):
        own = results.part(**{PERSONA: persona})
        names = {name: group_and_label(name) for name in own.arms}
        points = frontier_points(
            own.arms,
            harm="premature",
            q=q,
            groups={n: group for n, (group, _) in names.items()},
            labels={n: label for n, (_, label) in names.items()},
        )
        parts.append(points.assign(persona=persona))
        frontier(points, ax, harm_name="premature replies")
        ax.set_title(f"{persona.replace('_', ' ')} callers")
        for anchor in anchors:
            at = 1000 * (anchor.value_s or anchor.low_s)
            ax.set_xlim(left=min(ax.get_xlim()[0], 0.8 * at))
            ax.axvline(at, color=SOFT, linewidth=1.0, linestyle=":")
            note(ax, anchor.name, (at, 1), (3, -4), 8, xycoords=ABOVE, rotation=90, va="top",
                 color=SOFT)  # fmt: skip
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    axes[0][0].legend(*axes[0][0].get_legend_handles_labels(), loc="upper right")
    return Chart(figure, pd.concat(parts, ignore_index=True))
