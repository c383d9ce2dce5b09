"""Pictures and tables of a measurement in progress, of two arms."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labkit.evidence import statistics
from labkit.evidence.compare import compare
from labkit.evidence.units import ms, percent
from labkit.evidence.verdict import Rules
from labkit.measure.stages import STAGES
from labkit.report.arms import frontier, frontier_points
from labkit.report.palette import NAMES, owner_of
from labkit.report.waterfall import turn_waterfall

_SHOWN_S = 0.0005
_DPI = 96


def frontier_png(arms: Mapping[str, pd.DataFrame], *, baseline: str, limit: float) -> bytes:
    """Latency against harm of the baseline, the chosen settings and those tried before, as PNG."""
    return _png(lambda ax: frontier(frontier_points(arms), ax, baseline=baseline, limit=limit))


def waterfall_png(turns: pd.DataFrame) -> bytes:
    """The turn of about the median latency, stage by stage, as PNG; empty if none was answered."""
    answered = turns[turns["residual_s"].notna()]
    if not len(answered):
        return b""
    away = (answered["response_latency_s"] - answered["response_latency_s"].median()).abs()
    return _png(lambda ax: turn_waterfall(answered.loc[[away.idxmin()]], ax))


def stage_table(baseline: pd.DataFrame, chosen: pd.DataFrame) -> str:
    """Mean time of each stage in both arms, and the change with its 95% CI, paired by call.

    Returns:
        HTML, in milliseconds: one row per stage that took any time in either, then the whole.
    """
    sides = [turns[turns["residual_s"].notna()] for turns in (baseline, chosen)]
    rows = []
    for name in (*STAGES, "response_latency_s"):
        means = [float(side[name].mean()) for side in sides]
        if max(means) <= _SHOWN_S or not set(sides[0]["call"]) & set(sides[1]["call"]):
            continue
        what = (NAMES[name], owner_of(name)) if name in STAGES else ("response latency", "")
        e = statistics.difference(sides[0], sides[1], name, q=None)
        change, low, high = (f"{1000 * v:+,.0f}" for v in (e.value, e.low, e.high))
        rows.append((*what, *map(ms, means), f"{change} [{low} – {high}]"))
    columns = ["stage", "owner", "baseline", "chosen", "change (ms)"]
    return str(pd.DataFrame(rows, columns=columns).to_html(index=False, border=0))


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


def _png(draw: Callable[[Axes], object]) -> bytes:
    # not through pyplot, which keeps figures for the main thread
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
