"""All charts of any study, under one name: ``lab.figures``.

The functions of :mod:`labkit.report.charts` return a chart with its numbers. Those that only draw
take ``ax`` and return the axes they drew on, touch no global state and show nothing. Times are
seconds in tables and milliseconds on axes.
"""

from __future__ import annotations

from labkit.report.arms import arms_forest, frontier_points
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
from labkit.report.harms import harm_changes
from labkit.report.palette import use_style
from labkit.report.saving import save

__all__ = [
    "Chart",
    "arms_forest",
    "distribution",
    "forest",
    "frontier_points",
    "harm_changes",
    "harms",
    "save",
    "sdk_gap",
    "stages",
    "swept",
    "trade_off",
    "use_style",
    "waterfalls",
]
