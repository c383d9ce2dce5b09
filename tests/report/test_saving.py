"""A figure on disk changes when, and only when, its numbers, its origin or its drawing changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from labkit.report.saving import alike, figures_dir, save, write_json

DATA = pd.DataFrame({"x_s": [0.1, 0.2], "y_s": [1.0, float("nan")]})
ORIGIN = {
    "agent": "vanilla", "settings": {}, "seed": 7, "n_calls": 4, "n_turns": 5, "clock": "virtual",
    "code": {"version": "0.1.0", "commit": "a" * 40, "dirty": True},
    "packages": {"livekit-agents": "1.8.9"}, "platform": {"python": "3.11.7"},
}  # fmt: skip


def draw(title="What is it?", colour="C0"):
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.plot(DATA["x_s"], DATA["y_s"], color=colour, marker="o")
    ax.set_title(title)
    return figure


class Folder:
    """Saves into a folder and tells which files that touched."""

    def __init__(self, path: Path):
        self.path = path
        self.written()

    def save(self, figure=None, data=DATA, origin=ORIGIN):
        save(figure or draw(), "00_study/figure", data, origin, self.path)
        return self.written()

    def written(self):
        found = set()
        for path in self.path.rglob("*.*"):
            if path.stat().st_mtime_ns != 1_000_000_000:
                found.add(path.suffix)
                os.utime(path, ns=(1_000_000_000, 1_000_000_000))
        return found

    def record(self):
        return json.loads((self.path / "00_study" / "figure.json").read_text())


@pytest.fixture
def folder(tmp_path):
    saved = Folder(tmp_path)
    assert saved.save() == {".png", ".csv", ".json"}
    return saved


def test_the_record_counts_finished_calls_only_where_some_are_missing(folder):
    assert folder.save(origin={**ORIGIN, "n_calls_finished": 4}) == set()
    points = {"points": [{"arm": "a"}, {"arm": "b"}]}
    folder.save(origin={**ORIGIN, **points, "n_calls_finished": 8})
    assert "n_calls_finished" not in folder.record()
    folder.save(origin={**ORIGIN, **points, "n_calls_finished": 7})
    assert folder.record()["n_calls_finished"] == 7


def test_a_rerun_that_changes_nothing_touches_no_file(folder):
    assert folder.save() == set()


def test_another_commit_or_machine_touches_no_file(folder):
    code = {"version": "0.1.0", "commit": "b" * 40, "dirty": False}
    assert folder.save(origin={**ORIGIN, "code": code, "platform": {"python": "3.12.1"}}) == set()


def test_the_record_holds_no_commit_no_time_and_no_duration(folder):
    record = folder.record()
    assert record["code"] == {"version": "0.1.0"}
    assert not [k for k in record if "time" in k or "date" in k or k.startswith("wall")]


def test_other_numbers_are_written_everywhere(folder):
    assert folder.save(data=DATA * 2) == {".png", ".csv", ".json"}


def test_noise_in_the_last_digits_is_no_change(folder):
    assert folder.save(data=DATA + 1e-13) == set()


def test_a_nanosecond_is_no_change_and_a_few_microseconds_are(folder):
    moved = DATA + 1e-9
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.plot(moved["x_s"], moved["y_s"], color="C0", marker="o")
    ax.set_title("What is it?")
    assert folder.save(figure, data=moved) == set()
    assert folder.save(data=DATA + 5e-6) == {".png", ".csv", ".json"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1.0, None]}, {"a": [1.0 + 1e-9, None]}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1.0}, {"a": None}, False),
        ({"a": 1.0}, {"b": 1.0}, False),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, False),
        ({"a": "x"}, {"a": "y"}, False),
        ({"a": 0.0}, {"a": 1e-8}, True),
        ({"a": 0.001}, {"a": 0.001002}, False),
    ],
)
def test_what_is_alike(one, other, same):
    assert alike(one, other) is same


def test_another_seed_changes_the_record_alone(folder):
    assert folder.save(origin={**ORIGIN, "seed": 8}) == {".json"}
    assert folder.record()["parameters"]["seed"] == 8


@pytest.mark.parametrize("change", [{"title": "Why?"}, {"colour": "C1"}])
def test_another_drawing_is_drawn_again_and_the_numbers_left_alone(folder, change):
    assert folder.save(draw(**change)) == {".png", ".json"}


@pytest.mark.parametrize("lost", [".png", ".csv", ".json"])
def test_a_lost_file_comes_back(folder, lost):
    (folder.path / "00_study" / "figure").with_suffix(lost).unlink()
    assert lost in folder.save()


def test_a_broken_record_is_replaced(folder):
    (folder.path / "00_study" / "figure.json").write_text("{")
    folder.save()
    assert folder.record()["figure"] == "figure"


def test_numbers_and_picture_are_what_was_given(folder):
    pd.testing.assert_frame_equal(pd.read_csv(folder.path / "00_study" / "figure.csv"), DATA)
    assert (folder.path / "00_study" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_relative_folder_starts_at_the_checkout():
    root = Path(__file__).resolve().parents[2]
    assert figures_dir() == root / "figures"
    assert figures_dir("reports/figures") == root / "reports" / "figures"


def test_json_has_null_for_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": [1.0, {"z": float("nan")}]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [1.0, {"z": None}]}
