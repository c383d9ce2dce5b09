"""All charts of any study, under one name: ``lab.figures``.

Functions that draw take ``ax`` and return the axes they drew on, touch no global state and show
nothing; those of :mod:`labkit.report.charts` return a chart with its numbers. Times are seconds in
tables and milliseconds on axes.
"""

from __future__ import annotations

from labkit.report.arms import arms_forest, frontier, frontier_points
from labkit.report.charts import (
    Chart,
    distribution,
    forest,
    harms,
    sdk_gap,
    stages,
    swept,
    trade_off,
    waterfalls,
)
from labkit.report.distribution import distribution_points, latency_distribution
from labkit.report.harms import harm_bars, harm_changes
from labkit.report.palette import (
    ACCENT,
    BASELINE,
    MAIN,
    OWNERS,
    axes_or_new,
    looks,
    use_style,
)
from labkit.report.panels import panel_points, sweep_panels
from labkit.report.rules import rule_errors
from labkit.report.saving import figures_dir, save
from labkit.report.sdk_gap import difference_by_stage, difference_means, sdk_difference
from labkit.report.stages import stage_bars, stage_means
from labkit.report.sweeps import sweep_lines, sweep_points
from labkit.report.waterfall import one_turn, turn_waterfall, turn_waterfalls

__all__ = [
    "ACCENT",
    "BASELINE",
    "MAIN",
    "OWNERS",
    "Chart",
    "arms_forest",
    "axes_or_new",
    "difference_by_stage",
    "difference_means",
    "distribution",
    "distribution_points",
    "figures_dir",
    "forest",
    "frontier",
    "frontier_points",
    "harm_bars",
    "harm_changes",
    "harms",
    "latency_distribution",
    "looks",
    "one_turn",
    "panel_points",
    "rule_errors",
    "save",
    "sdk_difference",
    "sdk_gap",
    "stage_bars",
    "stage_means",
    "stages",
    "sweep_lines",
    "sweep_panels",
    "sweep_points",
    "swept",
    "trade_off",
    "turn_waterfall",
    "turn_waterfalls",
    "use_style",
    "waterfalls",
]
