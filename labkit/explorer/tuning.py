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
from labkit.evidence.units import MS, SHARE, change_unit, ms, percent
from labkit.evidence.verdict import Rules
from labkit.measure.stages import STAGES
from labkit.report.arms import frontier, frontier_points
from labkit.report.palette import NAMES, owner_of
from labkit.report.saving import ends, records
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
        e = statistics.difference(sides[0], sides[1], name)
        rows.append((*what, *map(ms, means), MS.estimate(e.value, e.low, e.high, sign=True)))
    columns = ["stage", "owner", "baseline", "chosen", "change (ms)"]
    return str(pd.DataFrame(rows, columns=columns).to_html(index=False, border=0))


def headline(baseline: pd.DataFrame, chosen: pd.DataFrame, rules: Rules) -> str:
    """What the chosen settings save and cost so far, in one line, with 95% CIs."""
    (row,) = records(compare(baseline, {"chosen": chosen}, rules=rules))
    shown = (("", "saves", "per turn"), ("_p50", "p50:", ""), ("_p95", "p95:", ""))
    saved = [
        f"{name} {MS.estimate(*ends(row, f'saving{p}', '_s'), symbol=True)} {of}".strip()
        for p, name, of in shown
    ]
    change = change_unit(SHARE, "").estimate(*ends(row, "harm"), sign=True, symbol=True)
    harm = f"harm {percent(row['harm_rate'])}, change {change}"
    return "; ".join([*saved, harm, f"so far: {row['advice']} ({row['reason']})"])


def _png(draw: Callable[[Axes], object]) -> bytes:
    # not through pyplot, which keeps figures for the main thread
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
