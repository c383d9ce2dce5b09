"""The first study as it is committed: a fresh run of it gives the committed numbers again."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pages import Page

from labkit.report.saving import figures_dir
from labkit.site.notebooks import run_notebook

ROOT = Path(__file__).resolve().parents[2]
STUDY = "00_anatomy_of_a_turn"
COMMITTED = ROOT / "figures" / STUDY
FIGURES = (
    "difference",
    "distribution",
    "ear_against_sdk",
    "slow_mode",
    "stages",
    "starter",
    "waterfall",
)
TOLERANCE_S = 0.002
"""Another processor may round the neural models differently, which moves an event by a little."""


def numbers(folder, figure):
    return pd.read_csv(folder / f"{figure}.csv")


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_has_its_picture_its_numbers_and_its_record(figure):
    for suffix in (".png", ".csv", ".json"):
        assert (COMMITTED / f"{figure}{suffix}").is_file()
    record = json.loads((COMMITTED / f"{figure}.json").read_text())
    assert record["parameters"]["n_calls"] == (20 if figure == "starter" else 40)
    assert record["code"].keys() == {"version"}
    assert record["packages"]["livekit-agents"].startswith("1.8.")


def test_committed_stages_add_up_to_the_committed_latency():
    stages, parts = numbers(COMMITTED, "stages"), numbers(COMMITTED, "waterfall")
    assert stages["share"].sum() == pytest.approx(1, abs=0.005)
    for _, turn in parts.groupby(["call", "turn"]):
        by_part = turn.set_index("part")
        whole = by_part.loc["response_latency", "end_s"]
        stages_of_turn = by_part.drop(["response_latency", "sdk_e2e_latency"])
        lengths = stages_of_turn[stages_of_turn["slack_s"] == 0]  # what was waited for
        total = (lengths["end_s"] - lengths["start_s"]).sum()
        assert total == pytest.approx(whole, abs=0.005)


def test_committed_parts_of_the_sdk_gap_add_up_to_it():
    gap = numbers(COMMITTED, "difference").set_index("part")["mean_s"]
    assert gap.drop("difference").sum() == pytest.approx(gap["difference"], abs=0.002)


def test_the_committed_verdict_says_what_the_committed_numbers_say():
    verdict = json.loads((COMMITTED / "verdict.json").read_text())
    (row,) = verdict["rows"]
    points = numbers(COMMITTED, "distribution").set_index("quantile")["value_s"]
    assert row["p95_s"] == pytest.approx(points[0.95], abs=1e-6)
    assert row["p50_s"] == pytest.approx(points[0.5], abs=1e-6)
    assert f"{1000 * row['p95_s']:,.0f} ms" in verdict["statement"]


@pytest.mark.slow
def test_a_smoke_run_gives_the_committed_numbers_for_its_calls(tmp_path):
    committed = [(p, p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(COMMITTED.iterdir())]
    page = Page(run_notebook(STUDY, to=tmp_path, preset="smoke"))
    fresh = figures_dir(tmp_path / "figures") / STUDY
    keys = {"ear_against_sdk": ["call", "turn"], "slow_mode": ["arm", "call", "turn"]}
    for figure, key in keys.items():
        now, then = (numbers(f, figure).set_index(key) for f in (fresh, COMMITTED))
        assert len(now) >= 16, "four calls of five turns, and a few without a figure"
        # the same seed and call give the same turn, however many calls there are
        pd.testing.assert_frame_equal(
            now, then.loc[now.index], check_exact=False, rtol=0, atol=TOLERANCE_S
        )
    assert sorted(p.stem for p in fresh.glob("*.png")) == sorted(FIGURES)
    assert [(p, p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(COMMITTED.iterdir())] == (
        committed
    ), "a smoke run leaves the committed figures alone"
    assert page.fetched_from_elsewhere() == []
    assert len(page.images) == len(FIGURES)
    assert "Traceback" not in page.shown
