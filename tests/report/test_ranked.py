"""The ranked chart of levers: every bar where its saving is, harm and price beside it."""

from __future__ import annotations

import pandas as pd
import pytest

from labkit.report.levers import in_100, price_text, ranked
from labkit.report.palette import OWNERS

ROWS = pd.DataFrame([
    {"lever": "hook", "owner": "user's code", "saving_s": 0.4, "saving_low_s": 0.35,
     "saving_high_s": 0.45, "harm": 0.0, "n_false_endpoints": 0.0, "usd": 0.0, "code": "x"},
    {"lever": "max delay", "owner": "setting", "saving_s": 0.1, "saving_low_s": 0.05,
     "saving_high_s": 0.15, "harm": 0.025, "n_false_endpoints": 0.05, "usd": 0.0012, "code": "y"},
    {"lever": "link", "owner": "network", "saving_s": -0.02, "saving_low_s": -0.03,
     "saving_high_s": -0.01, "harm": 0.0, "n_false_endpoints": 0.0, "usd": 0.0, "code": ""},
    {"lever": "lost", "owner": "setting", "saving_s": float("nan"), "saving_low_s": float("nan"),
     "saving_high_s": float("nan"), "harm": 1.0, "n_false_endpoints": 0.0, "usd": 0.0, "code": ""},
])  # fmt: skip


def test_bars_reach_their_savings_in_their_owners_colours_best_on_top():
    ax, data = ranked(ROWS)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([400, 100, -20])
    from matplotlib.colors import to_hex

    owners = [OWNERS[o][0].lower() for o in ("user's code", "setting", "network")]
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == owners
    assert [t.get_text() for t in ax.get_yticklabels()] == ["hook", "max delay", "link"]
    low, high = ax.get_ylim()
    assert low > high, "the first row is on top"
    assert "code" not in data and len(data) == 3


def test_intervals_numbers_harm_and_price_are_written():
    ax = ranked(ROWS).drawing
    lines = [tuple(line.get_xdata()) for line in ax.lines]
    assert any(xy == pytest.approx((50, 150)) for xy in lines)
    texts = [text.get_text() for text in ax.texts]
    for text in ("400", "100", "−20", "+2.5", "+5", "+1.2", "harm", "price"):
        assert text in texts


def test_only_so_many_are_drawn():
    assert len(ranked(ROWS, 2).data) == 2


def test_changes_are_shown_in_units_that_can_be_read():
    assert (in_100(0.0126), in_100(-0.5), price_text(0.00124)) == ("+1.3", "−50", "+1.2")
