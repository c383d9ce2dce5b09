"""Dots stand where their values are, with their intervals."""

from __future__ import annotations

import math

import pytest

from labkit.report.dots import Dot, dots
from labkit.report.palette import looks


@pytest.fixture
def ax():
    shown = [
        Dot("first", "measured", (0.3, 0.1, 0.4), looks(0), note="300"),
        Dot("first", "predicted", (0.35, math.nan, math.nan), looks(3), filled=False),
        Dot("second", "measured", (0.5, 0.4, 0.8), looks(0)),
    ]
    return dots(shown, "mean saving", claimed_s=(0.2, 0.6))


def test_a_dot_stands_at_its_value_with_its_interval(ax):
    lines = [list(line.get_xdata()) for line in ax.lines]
    assert [300] in lines and [100, 400] in lines and [500] in lines and [400, 800] in lines


def test_dots_of_one_row_lie_below_each_other(ax):
    heights = [line.get_ydata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert heights == pytest.approx([-0.13, 0.13, 1.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second"]


def test_every_name_is_in_the_legend_once(ax):
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["measured", "predicted"]


def test_the_claimed_band_and_the_unit_are_named(ax):
    assert "claimed" in [text.get_text() for text in ax.texts]
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((200, 400))
    assert ax.get_xlabel() == "mean saving (ms)"
