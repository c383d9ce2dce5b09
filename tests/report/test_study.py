"""A study's short calls: arms are run and checked, charts kept, a verdict saved and said."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from handmade import make_turns
from matplotlib.axes import Axes

import labkit as lab
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence.checks import CheckFailed
from labkit.evidence.claims import Claim
from labkit.report import figures, study, tables

BASE = make_turns()
FASTER = make_turns(faster_s=0.2, premature_calls=3)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What was run, instead of running it; one turn in forty is missed."""
    asked: list[dict[str, object]] = []

    def sweep(experiment: lab.Experiment, workers: int) -> Results:
        asked.append({**vars(experiment), "workers": workers})
        turns = make_turns().assign(arm="a")
        turns.loc[0, "outcome"] = "missed"
        calls = pd.DataFrame({"call": range(10), "status": "ok", "error": ""})
        return Results(turns, calls, {"seed": 7})

    monkeypatch.setattr(study, "sweep", sweep)
    return asked


def titles(ax: Axes) -> str:
    return "".join(ax.get_title(place) for place in ("left", "center", "right"))


def own(tmp_path: Path, **terms: object) -> lab.Study:
    return lab.Study("04_model_routing", calls=3, turns=2, figures_to=tmp_path, **terms)


def test_a_run_takes_the_terms_of_the_study_unless_it_has_its_own(runs, tmp_path):
    here = own(tmp_path, max_missed=0.025, workers=2)
    here.run({"a": "vanilla"})
    here.run({"a": "vanilla"}, calls=1, clock="wall")
    assert [(r["calls"], r["turns"], r["clock"], r["workers"]) for r in runs] == [
        (3, 2, "virtual", 2),
        (1, 2, "wall", 2),
    ]


@pytest.mark.parametrize("allowed", [{}, {"max_missed": 0.025}, {"max_missed_turns": 1}])
def test_missed_turns_are_allowed_as_a_proportion_or_a_number(runs, tmp_path, allowed):
    with pytest.raises(CheckFailed, match="missed or failed turns: 1"):
        own(tmp_path, max_missed=0.0).run({"a": "vanilla"})
    assert len(own(tmp_path).run({"a": "vanilla"}, **allowed).turns) == 40


def test_a_chart_is_kept_with_its_title_and_its_numbers(tmp_path):
    here = own(tmp_path)
    chart = figures.forest(lab.compare(BASE, {"faster": FASTER}), worth_s=0.05)
    here.keep("forest", chart, Results(BASE, BASE, {"seed": 7}), "Does it save?")
    assert titles(chart.drawing) == "Does it save?"
    kept = pd.read_csv(tmp_path / "04_model_routing" / "forest.csv")
    assert kept["arm"].to_list() == ["faster"]


def test_the_conclusion_is_saved_and_its_statement_said(tmp_path):
    here = own(tmp_path)
    with pytest.raises(UsageError, match="conclude"):
        here.statement()
    comparison = lab.compare(BASE, {"faster": FASTER, "same": make_turns()})
    shown = here.conclude(
        lab.verdicts.rows(comparison, claim=Claim("The guide", 0.1, 0.3)), headline="same"
    )
    assert list(shown.index) == ["faster", "same"]
    saved = json.loads((tmp_path / "04_model_routing" / "verdict.json").read_text())
    assert saved["headline"] == "same"
    assert here.statement().data == f"**{saved['statement']}**"


def test_what_is_claimed_is_quoted_with_its_source(tmp_path):
    here = own(tmp_path)
    assert here.claim.claim in here.quote().data and here.claim.source in here.quote().data


def test_charts_carry_the_numbers_they_draw():
    arms = {"faster": FASTER}
    harms = figures.harms(BASE, arms, {"too soon": "premature"})
    assert harms.data["value"].to_list() == [pytest.approx(3 / 40)]
    assert len(harms.drawing.axes) == 1
    points = figures.trade_off(arms, harm="premature").data
    assert points["harm"].to_list() == [pytest.approx(3 / 40)]
    both = pd.concat([t.assign(delay_s=d, who=w) for t, d, w in
                      ((BASE, 0.1, "x"), (FASTER, 0.2, "x"), (BASE, 0.1, "y"))])  # fmt: skip
    lines = figures.swept(both, "delay_s", by="who")
    assert lines.data[["who", "delay_s"]].to_numpy().tolist() == [
        ["x", 0.1],
        ["x", 0.2],
        ["y", 0.1],
    ]
    panels = figures.swept(both, "delay_s", panel="who")
    assert [titles(ax) for ax in panels.drawing.axes] == ["x", "y"]


def test_tables_are_joined_under_names_that_tell_them_apart():
    table = pd.DataFrame({"arm": ["a", "b"], "value": [1, 2]})
    joined = tables.together({"": table, "late": table.head(1)})
    assert joined["arm"].to_list() == ["a", "b", "a (late)"]


def test_outcomes_and_costs_are_read_with_their_intervals():
    shown = tables.outcomes(FASTER)["value, 95% CI"]
    assert shown["premature (% of turns)"].startswith("7.5% [")
    assert shown["US cents per turn"] == "0.2000 [0.2000–0.2000]"
