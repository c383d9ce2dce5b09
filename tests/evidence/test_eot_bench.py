"""Published end-of-turn figures: held a second time here, and checked as they are read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from labkit.evidence.eot_bench import LOCAL, SILENCE, EotBenchError, load
from labkit.paths import data_dir

GOOD = (data_dir() / "eot_bench.toml").read_text(encoding="utf-8")


def test_the_published_rows_are_those_of_the_benchmark() -> None:
    bench = load()
    row = {d.id: (d.cutoffs_at_300ms, d.cutoffs_at_600ms, d.latency_at_5_s, d.latency_at_10_s)
           for d in bench.detectors.values()}  # fmt: skip
    assert row[SILENCE] == (0.556, 0.217, 1.6, 1.0)
    assert row[LOCAL] == (0.278, 0.121, 1.07, 0.698)
    assert row["v1"] == (0.099, 0.045, 0.543, 0.295)
    assert row["smart-turn"] == (0.352, 0.148, 1.051, 0.739)
    assert math.isnan(row["soniox"][0])
    assert [(p.threshold, p.action_delay_s, p.timeout_s, p.false_cutoffs, p.ends_detected)
            for p in bench[LOCAL].points] == [
        (0.43, 0.7, 2.0, 0.05, 0.715), (0.36, 0.5, 1.5, 0.098, 0.802),
        (0.25, 0.2, 1.0, 0.278, 0.89), (0.39, 0.3, 1.5, 0.121, 0.762),
    ]  # fmt: skip
    assert (bench.n_ends, bench.n_pauses) == (400, 705)


def test_the_local_detectors_latencies_follow_from_the_ends_it_detects() -> None:
    """So a latency that agrees makes the ends detected agree: one is no check of the other."""
    for p in load()[LOCAL].points:
        wait_s = p.ends_detected * p.action_delay_s + (1 - p.ends_detected) * p.timeout_s
        assert wait_s == pytest.approx(p.latency_s, abs=0.001)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("false_cutoffs = 0.05\n", "false_cutoffs = 5.0\n", "false_cutoffs=5.0"),
        ("latency_at_5_s = 1.6", "latency_at_5_s = -1.6", "latency_at_5_s=-1.6"),
        ("latency_s = 1.07\nends", "latency_s = 0.9\nends", "latency is 1.071 s or more"),
        ("latency_at_5_s = 1.6", "latency_at_5 = 1.6", "latency_at_5"),
        ('id = "v1-mini"', 'id = "mini"', "unknown detector 'v1-mini'"),
        ('id = "v1"', 'id = "v1-mini"', "listed twice"),
        ("n_ends = 400", "", "n_ends"),
        ('source = "', 'source = ', "eot_bench.toml"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_right_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    path = tmp_path / "eot_bench.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(EotBenchError, match=said):
        load(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EotBenchError, match=r"none\.toml"):
        load(tmp_path / "none.toml")


def test_a_misspelt_detector_gets_a_suggestion() -> None:
    with pytest.raises(EotBenchError, match="did you mean v1-mini"):
        load()["v1mini"]
