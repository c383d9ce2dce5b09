"""Study 17 on silences of known length and score."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from labkit.engine.tables import Results
from labkit.evidence import eot_bench
from labkit.evidence.claims import AS_CLAIMED, FASTER, SLOWER
from labkit.evidence.eot import Eot
from labkit.evidence.eot_bench import LOCAL, SILENCE
from labkit.evidence.eot_comparison import compared
from labkit.evidence.eot_policy import sweep, sweep_silence
from labkit.report import eot_charts
from labkit.studies import turn_detection


def callers(n: int = 400, detected: float = 0.802, cut: float = 0.098) -> Eot:
    """Turns with a pause of 1 s each; so many ends score 0.9, and so many of the pauses."""
    rows = []
    for i in range(n):
        head = {"call": i, "turn": 0, "voice": "ab"[i % 2]}
        place = (i * 0.618034) % 1  # spread evenly over both speakers
        for is_end, length_s, proportion in ((False, 1.0, cut), (True, math.inf, detected)):
            score = 0.9 if place < proportion else 0.1
            rows.append({**head, "length_s": length_s, "is_end": is_end, "score": score,
                         "early_score": score, "asked_s": 0.3})  # fmt: skip
    silences = pd.DataFrame(rows)
    swept = pd.concat([sweep_silence(silences).assign(detector=SILENCE),
                       sweep(silences).assign(detector=LOCAL)])  # fmt: skip
    return Eot(silences, swept, compared(silences, eot_bench.load()),
               Results(silences, silences[["call"]].assign(status="ok")))  # fmt: skip


AT = "0.36 / 0.5 / 1.5"


@pytest.mark.parametrize(
    ("detected", "outcome"), [(0.802, AS_CLAIMED), (0.99, FASTER), (0.55, SLOWER)]
)
def test_the_verdict_is_by_the_whole_interval(detected: float, outcome: str) -> None:
    rows = turn_detection.verdict_rows(callers(800, detected)).set_index("arm")
    assert rows.loc[AT, "claim_outcome"] == outcome
    assert rows.loc[AT, "p50_s"] == 0.5
    assert rows.loc[AT, "harm"] == pytest.approx(0, abs=0.005)
    assert rows.loc[AT, "harm_low"] < 0 < rows.loc[AT, "harm_high"]
    assert outcome in rows.loc[AT, "statement"]


def test_too_few_turns_decide_nothing() -> None:
    rows = turn_detection.verdict_rows(callers(20)).set_index("arm")
    assert rows.loc[AT, "claim_outcome"] == "undecided"


def test_inputs_and_checks_share_no_row() -> None:
    found = callers()
    given, left = turn_detection.inputs(found), turn_detection.checks(found)
    assert not set(given.index) & set(left.index)
    assert len(given) + len(left) == len(found.comparison) == 20
    text = turn_detection.summary(found)
    agrees = found.comparison.groupby("role")["agrees"].sum()
    assert f"{agrees['input of the fit']} of 12 inputs" in text
    assert f"{agrees['check']} of 8 checks" in text
    assert "400 turns with 400 mid-turn silences by 2 speakers" in text


def test_the_charts_draw_the_numbers() -> None:
    found = callers()
    lengths = eot_charts.pause_lengths(found).data
    here = lengths[~lengths["published"]].set_index("longer_than_s")["share"]
    assert here[0.99] == 1.0
    assert here[1.0] == 0.0
    people = lengths[lengths["published"]].set_index("longer_than_s")["share"]
    assert people.to_dict() == {0.3: 0.556, 0.6: 0.217, 1.0: 0.1, 1.6: 0.05}
    scores = eot_charts.scores(found).data.set_index(["of", "threshold"])["share"]
    assert scores["ends of turns", 0.36] == pytest.approx(0.802, abs=0.005)
    assert scores["mid-turn silences", 0.9] == pytest.approx(0.098, abs=0.005)
    assert scores["mid-turn silences", 0.91] == 0.0
    assert scores["ends, published", 0.43] == 0.715
    speakers = eot_charts.by_speaker(found, 0.36).data
    assert set(speakers["voice"]) == {"a", "b"}
    drawn = eot_charts.trade_off(found).data
    policy = drawn[drawn["policy"] == AT].iloc[0]
    assert policy["latency_s"] == pytest.approx(0.698, abs=0.005)
    assert policy["published_s"] == 0.698
    curve = drawn[(drawn["detector"] == LOCAL) & ~drawn["published"] & drawn["policy"].isna()]
    assert (np.diff(curve["false_cutoffs"]) < 0).all()


def test_the_moments_of_asking_stand_beside_each_other() -> None:
    found = callers()
    found.silences.loc[~found.silences["is_end"], "score"] = math.nan
    table = turn_detection.asked(found)
    assert table.loc["by a session", "not asked"] == "100.0%"
    assert table.loc["0.2 s after the last sound", "not asked"] == "0.0%"
    assert table.loc["by a session", "asked after (ms)"] == "300–300"


def test_speakers_that_differ_are_named() -> None:
    found = callers()
    found.silences.loc[found.silences["voice"] == "b", "score"] = 0.1
    assert "doubts 100.0% of the ends of *b*" in turn_detection.spread(found, 0.36)


def test_backgrounds_are_scored_one_by_one() -> None:
    points, results = turn_detection.backgrounds(
        [-120.0, -50.0], "hesitant", 0.36, calls=2, turns=2, seed=7
    )
    assert points["caller.noise_floor_dbfs"].tolist() == [-120.0, -120.0, -50.0, -50.0]
    assert points["taken_rate"].between(0, 1).all()
    assert points["low"].between(0, 1).all()
    quiet, noisy = (points[points["caller.noise_floor_dbfs"] == f] for f in (-120.0, -50.0))
    assert noisy["taken_rate"].mean() > quiet["taken_rate"].mean(), "noise makes ends of pauses"
    assert results.provenance["settings"]["caller.noise_floor_dbfs"] == -50.0
    assert turn_detection.background_chart(points).data is points
