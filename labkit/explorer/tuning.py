"""What a measurement that is still under way looks like: pictures and tables of two arms."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labkit.evidence import statistics
from labkit.evidence.compare import compare
from labkit.evidence.summary import ms, percent
from labkit.evidence.verdict import Rules
from labkit.measure.stages import STAGES
from labkit.report.arms import frontier, frontier_points
from labkit.report.palette import NAMES, owner_of
from labkit.report.waterfall import turn_waterfall

_SHOWN_S = 0.0005
_DPI = 96


def frontier_png(
    arms: Mapping[str, pd.DataFrame], *, baseline: str, limit: float, q: float = 0.5
) -> bytes:
    """Latency against harm of the baseline, the chosen settings and those tried before, as PNG."""
    figure, ax = _canvas(6.4, 4.0)
    frontier(frontier_points(arms, q=q), ax, baseline=baseline, limit=limit)
    return _png(figure)


def waterfall_png(turns: pd.DataFrame) -> bytes | None:
    """The turn whose latency is closest to the median, stage by stage, as PNG; None if none is."""
    answered = turns[turns["residual_s"].notna()]
    if not len(answered):
        return None
    middle = float(answered["response_latency_s"].median())
    typical = (answered["response_latency_s"] - middle).abs().idxmin()
    figure, ax = _canvas(6.4, 4.0)
    turn_waterfall(answered.loc[[typical]], ax)
    return _png(figure)


def stage_changes(baseline: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """Mean time of each stage in both arms, and the change, paired by call.

    Returns:
        One row per stage that took any time in either, then the whole: ``stage``, ``owner``,
        ``baseline_s``, ``chosen_s``, ``change_s`` with its 95% CI ``low_s`` and ``high_s``.
    """
    sides = [turns[turns["residual_s"].notna()] for turns in (baseline, chosen)]
    rows = []
    for name in (*STAGES, "response_latency_s"):
        means = [float(side[name].mean()) for side in sides]
        if max(means) <= _SHOWN_S or not set(sides[0]["call"]) & set(sides[1]["call"]):
            continue
        change = statistics.difference(sides[0], sides[1], name, q=None)
        whole = name not in STAGES
        rows.append({
            "stage": "response latency" if whole else NAMES[name],
            "owner": "" if whole else owner_of(name),
            "baseline_s": means[0], "chosen_s": means[1],
            "change_s": change.value, "low_s": change.low, "high_s": change.high,
        })  # fmt: skip
    columns = ["stage", "owner", "baseline_s", "chosen_s", "change_s", "low_s", "high_s"]
    return pd.DataFrame(rows, columns=columns)


def stage_table(changes: pd.DataFrame) -> str:
    """:func:`stage_changes` as HTML, in milliseconds."""
    shown = pd.DataFrame({
        "stage": changes["stage"],
        "owner": changes["owner"],
        "baseline": changes["baseline_s"].map(ms),
        "chosen": changes["chosen_s"].map(ms),
        "change (ms)": [
            "{:+,.0f} [{:+,.0f} – {:+,.0f}]".format(*row)
            for row in 1000 * changes[["change_s", "low_s", "high_s"]].to_numpy(dtype=float)
        ],
    })  # fmt: skip
    return str(shown.to_html(index=False, border=0))


def headline(baseline: pd.DataFrame, chosen: pd.DataFrame, rules: Rules) -> str:
    """What the chosen settings save and cost so far, in one line, with 95% CIs."""
    (row,) = compare(baseline, {"chosen": chosen}, rules=rules).to_dict("records")
    saved = [
        f"{p} {ms(row[f'{p}_s'])} ms, saves {ms(row[f'saving_{p}_s'])} "
        f"[{ms(row[f'saving_{p}_low_s'])} – {ms(row[f'saving_{p}_high_s'])}]"
        for p in ("p50", "p95")
    ]
    harm = f"harm {percent(row['harm_rate'])}, change {percent(row['harm'])} "
    harm += f"[{percent(row['harm_low'])} – {percent(row['harm_high'])}]"
    return "; ".join([*saved, harm, f"so far: {row['verdict']}"])


def _canvas(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    # not through pyplot, which keeps figures for the main thread
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
