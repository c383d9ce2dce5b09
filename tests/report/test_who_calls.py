"""Whether the advice depends on who calls, from rows written by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.tables import Results
from labkit.evidence.verdict import Rules
from labkit.report import who_calls
from labkit.report.who_calls import FLOOR, NOISE, PERSONA, PLACES

N_CALLS, N_TURNS = 60, 5


def calls_of(place: dict[str, object], arm: str, latency_s: float, n_harmed: int) -> pd.DataFrame:
    """Calls of equal turns; in some the first gets a premature reply."""
    call, turn = np.divmod(np.arange(N_CALLS * N_TURNS), N_TURNS)
    outcome = np.where((turn == 0) & (call < n_harmed), "premature", "answered")
    own = {PERSONA: "field", FLOOR: -120.0, NOISE: "office"} | place
    return pd.DataFrame({
        "arm": arm, "call": call, "turn": turn, "outcome": outcome, **own,
        "response_latency_s": np.where(outcome == "answered", latency_s + 0.001 * turn, np.nan),
    })  # fmt: skip


def results_of(*parts: pd.DataFrame) -> Results:
    turns = pd.concat(parts, ignore_index=True)
    calls = turns[["arm", "call", PERSONA, FLOOR, NOISE]].drop_duplicates()
    return Results(turns, calls, {})


@pytest.fixture
def comparison() -> pd.DataFrame:
    """An arm that saves 300 ms on everyone, at no price but with hesitant callers."""
    parts = []
    for place, harmed in (
        ({PERSONA: "fluent"}, 0),
        ({PERSONA: "hesitant"}, 30),
        ({NOISE: "none", FLOOR: -50.0}, 0),
    ):
        parts += [calls_of(place, "slow", 1.0, 0), calls_of(place, "fast", 0.7, harmed)]
    return who_calls.compared(results_of(*parts), "slow", Rules(0.05, 0.02))


def test_each_kind_of_caller_is_judged_by_its_own_calls(comparison: pd.DataFrame) -> None:
    found = comparison.set_index("caller")
    assert list(found.index) == ["fluent", "hesitant", "field, −50 dBFS"]
    assert found["saving_s"].tolist() == pytest.approx([0.3] * 3)
    assert found["harm"].tolist() == pytest.approx([0.0, 0.1, 0.0])
    assert found["advice"].tolist() == ["adopt", "trade-off", "adopt"]


def test_it_is_said_that_the_advice_depends_on_who_calls(comparison: pd.DataFrame) -> None:
    text = who_calls.read(comparison)
    assert "the advice depends on who calls" in text
    assert "**adopt** for fluent, field, −50 dBFS" in text and "**trade-off** for hesitant" in text
    assert "Gain: faster for every kind of caller." in text
    assert "Harm: within the limit for fluent, field, −50 dBFS; more for hesitant." in text
    alike = who_calls.read(comparison[comparison["caller"] != "hesitant"])
    assert "depends" not in alike and "no kind of caller has another advice" in alike


def test_what_is_undecided_is_said_apart(comparison: pd.DataFrame) -> None:
    hesitant = comparison["caller"] == "hesitant"
    open_ = comparison.assign(advice=comparison["advice"].mask(hesitant, "undecided"))
    text = who_calls.read(open_)
    assert "depends" not in text and "; undecided for hesitant; no kind" in text
    nothing = who_calls.read(open_[hesitant])
    assert "undecided for every kind of caller" in nothing


def test_table_and_chart_have_a_row_for_each_kind_of_caller(comparison: pd.DataFrame) -> None:
    shown = who_calls.table(comparison).loc[("hesitant", "fast")]
    assert shown["advice"] == "trade-off (harm more)"
    assert shown["change (percentage points)"].startswith("10")
    chart = who_calls.forest(comparison, Rules(0.05, 0.02))
    left, right = chart.drawing.axes
    assert [t.get_text() for t in left.get_yticklabels()] == list(comparison["caller"])
    at = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    assert at == pytest.approx([0.0, 10.0, 0.0])
    assert len(chart.data) == 3


def test_every_place_is_another_kind_of_caller_and_none_is_drawn_over_by_a_background() -> None:
    runs = Experiment({"vanilla": "vanilla"}, points=PLACES).runs()
    assert len({str(point.spec.settings) for point in runs}) == len(PLACES) == 10
    turns = pd.DataFrame([point.swept for point in runs])
    names = who_calls.callers(turns)
    assert (
        names.is_unique and names.iloc[0] == "field" and names.iloc[7] == "field, digital silence"
    )
