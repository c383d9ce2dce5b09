"""Charts with the numbers in them: what a study keeps, ready to be saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.evidence.anchors import Anchor
from labkit.evidence.claims import Claim
from labkit.evidence.compare import HARMED, Turns
from labkit.report.arms import arms_forest, frontier, frontier_points
from labkit.report.distribution import distribution_points, latency_distribution
from labkit.report.harms import What, harm_bars, harm_changes
from labkit.report.panels import panel_points, sweep_panels
from labkit.report.sdk_gap import difference_by_stage, difference_means
from labkit.report.stages import stage_bars, stage_means
from labkit.report.sweeps import sweep_lines, sweep_points
from labkit.report.waterfall import one_turn, turn_waterfalls


class Chart(NamedTuple):
    """A drawing and the numbers in it."""

    drawing: Axes | Figure
    data: pd.DataFrame


def waterfalls(turns: pd.DataFrame, titles: Sequence[str]) -> Chart:
    """Turns stage by stage; see :func:`labkit.report.waterfall.turn_waterfalls`."""
    return Chart(turn_waterfalls(turns, titles), one_turn(turns))


def stages(turns: pd.DataFrame) -> Chart:
    """Mean time of each stage; see :func:`labkit.report.stages.stage_bars`."""
    return Chart(stage_bars(turns), stage_means(turns))


def distribution(turns: pd.DataFrame, anchors: Sequence[Anchor] = ()) -> Chart:
    """Distribution of the response latency beside published ones; see
    :func:`labkit.report.distribution.latency_distribution`."""
    return Chart(latency_distribution(turns, anchors=anchors), distribution_points(turns))


def sdk_gap(turns: pd.DataFrame, settings: Mapping[str, object]) -> Chart:
    """What the SDK's ``e2e_latency`` leaves out; see
    :func:`labkit.report.sdk_gap.difference_by_stage`."""
    drawing = difference_by_stage(turns, settings=settings)
    return Chart(drawing, difference_means(turns, settings))


def forest(
    comparison: pd.DataFrame,
    *,
    claim: Claim | Mapping[str, Claim] | None = None,
    worth_s: float | None = None,
) -> Chart:
    """What each arm saves; see :func:`labkit.report.arms.arms_forest`."""
    return Chart(arms_forest(comparison, claim=claim, worth_s=worth_s), comparison)


def harms(
    baseline: Turns,
    arms: Mapping[str, Turns],
    kinds: Mapping[str, What],
    *,
    limit: float | None = None,
) -> Chart:
    """What each arm costs; see :func:`labkit.report.harms.harm_changes` and ``harm_bars``."""
    changes = harm_changes(baseline, arms, kinds)
    return Chart(harm_bars(changes, limit=limit), changes)


def trade_off(
    arms: Mapping[str, Turns],
    *,
    harm: What = HARMED,
    groups: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **more: Any,
) -> Chart:
    """Latency against harm; see :func:`labkit.report.arms.frontier_points`.

    Args:
        arms: Runs or turns tables by name.
        harm: An outcome, several outcomes, or a column of the turns table.
        groups: Group of each arm by name.
        labels: What is written at an arm's point; its name by default.
        **more: Passed on to :func:`labkit.report.arms.frontier`.
    """
    points = frontier_points(arms, harm=harm, groups=groups, labels=labels)
    return Chart(frontier(points, **more), points)


def swept(
    turns: pd.DataFrame,
    x: str,
    y: str = "response_latency_s",
    by: str | None = None,
    *,
    panel: str | None = None,
    q: float | None = 0.5,
    **more: Any,
) -> Chart:
    """A column against a swept setting, from the turns of all points.

    Args:
        turns: The turns table, with the swept columns.
        x: The swept column.
        y: An outcome, or a boolean or numeric column.
        by: Column with a line for each value.
        panel: Column with a panel for each value; one panel by default.
        q: Quantile of a numeric ``y``; None takes the mean.
        **more: Passed on to :func:`labkit.report.sweeps.sweep_lines`.
    """
    if panel is None:
        points = sweep_points(turns, x, y, by, q=q)
        return Chart(sweep_lines(points, x, y, by, **more), points)
    points = panel_points(turns, x, y, by, panel, q)
    return Chart(sweep_panels(points, x, y, by, panel, **more), points)
