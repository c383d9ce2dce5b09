"""All charts of any study, under one name: ``lab.figures``.

Charts come with their numbers, touch no global state and show nothing. Times are seconds in tables
and milliseconds on axes.
"""

from __future__ import annotations

from labkit.report.arms import forest, frontier_points, trade_off
from labkit.report.distribution import distribution
from labkit.report.harms import What, harm_changes, harms
from labkit.report.levers import ranked
from labkit.report.palette import Chart, use_style
from labkit.report.panels import lines, swept
from labkit.report.saving import save
from labkit.report.sdk_gap import sdk_gap
from labkit.report.stages import stages
from labkit.report.waterfall import waterfalls

__all__ = [
    "Chart",
    "What",
    "distribution",
    "forest",
    "frontier_points",
    "harm_changes",
    "harms",
    "lines",
    "ranked",
    "save",
    "sdk_gap",
    "stages",
    "swept",
    "trade_off",
    "use_style",
    "waterfalls",
]
