"""The sweep from clip to table, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from livekit.local_inference import EOT
from typer.testing import CliRunner

import labkit as lab
from labkit.cli import app
from labkit.errors import UsageError
from labkit.evidence.eot import Eot
from labkit.evidence.eot_bench import LOCAL, SILENCE, load
from labkit.evidence.eot_comparison import CHECK, FIT, moments, speakers
from labkit.evidence.eot_policy import KNOBS, Policy, policy
from labkit.report.eot import comparison_rows, comparison_table
from labkit.world.speech import SpeechCorpus

HESITANT = {"caller.persona": "hesitant"}
RATE = 16_000


@pytest.fixture(scope="module")
def found() -> Eot:
    return lab.eot(calls=2, turns=2, settings=HESITANT, early=True)


def test_each_silence_has_the_score_of_what_was_heard_by_then(found: Eot) -> None:
    clips = {c.clip_id: c for c in SpeechCorpus.load().clips()}
    model, scored = EOT(), found.silences.dropna(subset=["score", "early_score"])
    assert len(scored) > 6
    for row in scored.itertuples():
        heard = np.concatenate([np.zeros(19_200, np.int16), clips[row.name].pcm,
                                np.zeros(RATE, np.int16)])  # fmt: skip
        for score, silence_s in ((row.score, row.asked_s), (row.early_score, 0.2)):
            last = round((row.start_s + silence_s) * RATE)
            assert score == pytest.approx(model.predict(heard[last - 19_200 : last]), abs=1e-6)


def test_every_turn_has_one_end_and_its_marked_pauses(found: Eot) -> None:
    clips = {c.clip_id: c for c in SpeechCorpus.load().clips()}
    for (_, _), turn in found.silences.groupby(["call", "turn"]):
        clip = clips[turn["name"].iloc[0]]
        assert turn["is_end"].tolist() == [False] * (len(turn) - 1) + [True]
        assert len(turn) - 1 >= clip.n_pauses
        assert np.isinf(turn["length_s"].iloc[-1])
    short = found.silences["length_s"] < 0.2 - 1e-9
    assert found.silences.loc[short, "early_score"].isna().all()


def test_a_session_asks_a_tenth_of_a_second_later_and_not_in_short_pauses(found: Eot) -> None:
    asked = found.silences["asked_s"].dropna()
    assert asked.between(0.23, 0.45).all()
    assert found.silences.loc[found.silences["is_end"], "score"].notna().all()
    brief = found.silences["length_s"] < 0.15
    assert found.silences.loc[brief, "score"].isna().all()
    table = moments(found.silences)
    assert table["asked"].tolist() == ["by a session", "0.2 s after the last sound"]


def test_the_tunnel_gets_the_same_answers() -> None:
    """The detector of a session in the tunnel, over the same callers: alike, not equal, as the
    frames of a call lie otherwise."""
    ours = lab.eot(calls=3, turns=3, settings=HESITANT, early=True).silences
    run = lab.run(calls=3, turns=3, settings=HESITANT, workers=1).turns
    both = ours[ours["is_end"]].merge(run, on=["call", "turn"])
    apart = (both["score"] - both["eot_prob"]).abs()
    assert len(apart.dropna()) >= 8
    assert apart.median() < 0.1


def test_the_sweep_and_the_comparison_say_the_same_as_the_policy(found: Eot) -> None:
    local = found.sweep[found.sweep["detector"] == LOCAL]
    assert len(local) == 101 * 54
    row = local.iloc[2000]
    out = policy(found.silences, *(row[k] for k in KNOBS))
    assert row["false_cutoffs"] == pytest.approx(out.false_cutoffs)
    at = found.comparison.set_index(["detector", "at", "quantity"])
    out = policy(found.silences, 0.36, 0.5, 1.5)
    for name, value in out._asdict().items():
        assert at.loc[(LOCAL, "0.36 / 0.5 / 1.5", name), "ours"] == pytest.approx(value)
    lengths = found.silences["length_s"]
    counted = lengths[(lengths >= 0.2 - 1e-9) & (lengths < 6)]
    longer = (counted > 0.3 + 1e-9).mean()
    assert at.loc[(SILENCE, "best at 300 ms", "false_cutoffs"), "ours"] == pytest.approx(longer)


def test_inputs_of_the_fit_stand_apart_from_its_checks(found: Eot) -> None:
    roles = found.comparison.set_index(["detector", "at", "quantity"])["role"]
    assert (roles[SILENCE] == FIT).all()
    points = roles[LOCAL].loc[lambda r: r.index.get_level_values("at").str.contains("/")]
    assert (points.xs("ends_detected", level="quantity") == CHECK).all()
    assert (points.drop(index="ends_detected", level="quantity") == FIT).all()
    assert len(points) == 12


def made(score_end: float, score_pause: float, length_s: float, n: int = 50) -> pd.DataFrame:
    """Turns of two speakers with a pause each."""
    rows = []
    for i in range(n):
        head = {"call": i, "turn": 0, "voice": "ab"[i % 2]}
        rows.append({**head, "length_s": length_s, "is_end": False, "score": score_pause})
        rows.append({**head, "length_s": np.inf, "is_end": True, "score": score_end})
    return pd.DataFrame(rows)


def test_a_difference_agrees_up_to_what_is_allowed_and_no_further() -> None:
    from labkit.evidence.eot_comparison import compared

    # at 0.36 / 0.5 / 1.5: 40 of 50 ends detected, a mean of 0.7 s; published 80.2% and 698 ms
    table = made(0.5, 0.0, 0.4)
    table.loc[table.index[1:20:2], "score"] = 0.1
    rows = compared(table, load()).set_index(["at", "quantity"]).loc["0.36 / 0.5 / 1.5"]
    assert rows.loc["ends_detected", "ours"] == 0.8
    assert rows.loc["latency_s", "ours"] == pytest.approx(0.7)
    assert rows.loc["latency_s", "difference"] == pytest.approx(0.002 / 0.698)
    assert rows.loc["false_cutoffs", "difference"] == pytest.approx(-0.098)
    assert rows["agrees"].to_dict() == {
        "false_cutoffs": False, "latency_s": True, "ends_detected": True,
    }  # fmt: skip


def test_speakers_are_told_apart() -> None:
    table = made(0.5, 0.4, 0.4)
    table.loc[(table["voice"] == "b") & table["is_end"], "score"] = 0.2
    found = speakers(table, 0.36).set_index("voice")
    assert found["ends_detected"].to_dict() == {"a": 1.0, "b": 0.0}
    assert found["pauses_taken"].to_dict() == {"a": 1.0, "b": 1.0}
    assert found["auc"].to_dict() == {"a": 1.0, "b": 0.0}


def test_recordings_of_a_clip_score_as_the_clip_does(found: Eot, tmp_path: Path) -> None:
    name = found.silences["name"].iloc[0]
    clip = next(c for c in SpeechCorpus.load().clips() if c.clip_id == name)
    room = np.zeros(RATE, np.int16)
    soundfile.write(tmp_path / "clip.wav", np.concatenate([clip.pcm, room]), RATE)
    rows = f"file,end_s,pauses_s\nclip.wav,{clip.speech_end_s},\n"
    (tmp_path / "turns.csv").write_text(rows)
    own = lab.eot(recordings=tmp_path, early=True).silences
    same = found.silences[(found.silences["call"] == 0) & (found.silences["turn"] == 0)]
    assert own["length_s"].tolist() == pytest.approx(same["length_s"].tolist())
    # what comes before is silence in one, nothing in the other
    late = own["start_s"].to_numpy() > 1.0
    both = (table["early_score"][late].tolist() for table in (own, same))
    assert next(both) == pytest.approx(next(both), nan_ok=True)


def test_a_rerun_and_a_saved_table_are_the_same(found: Eot, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    out = tmp_path / "silences.parquet"
    again = lab.eot(calls=2, turns=2, settings=HESITANT, early=True, out=out,
                    progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert again.results.digest == found.results.digest
    pd.testing.assert_frame_equal(pd.read_parquet(out), again.silences)
    assert told[-1] == (4, 4)
    assert json.loads((tmp_path / "silences.json").read_text())["settings"] == HESITANT


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"calls": 0}, "calls=0"),
        ({"thresholds": [1.2]}, "threshold 1.2: must be at least 0 and at most 1"),
        ({"thresholds": []}, "threshold nothing"),
        ({"thresholds": [float("nan")]}, "threshold nan"),
        ({"action_delays_s": [0.1]}, "action delay 0.1: must be at least 0.2"),
        ({"timeouts_s": [float("inf")]}, "timeout inf"),
        ({"action_delays_s": [1.0], "timeouts_s": [0.5]}, "no policy is possible"),
        ({"out": "table.csv"}, "must end in .parquet"),
        ({"recordings": "none"}, "no such folder"),
        ({"recordings": ".", "settings": HESITANT}, "no setting changes them"),
        ({"settings": {"caller.person": "hesitant"}}, "did you mean"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lab.eot(**given)  # type: ignore[arg-type]


def labkit(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["eot", *words])
    return done.exit_code, done.stdout, done.stderr


FEW = ("--calls", "2", "--turns", "2", "--set", "caller.persona=hesitant")


def test_the_command_prints_json(found: Eot, tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"
    code, text, _ = labkit(*FEW, "--json", "--early", "--out", str(out), "--threshold", "0.3,0.36",
                           "--action-delay", "0.3", "--timeout", "1.5,2")  # fmt: skip
    assert code == 0
    told = json.loads(text)
    assert told["digest"] == found.results.digest
    own = [r for r in told["sweep"] if r["detector"] == LOCAL]
    assert [(r["threshold"], r["timeout_s"]) for r in own] == [
        (0.3, 1.5), (0.3, 2.0), (0.36, 1.5), (0.36, 2.0),
    ]  # fmt: skip
    assert len(told["comparison"]) == len(found.comparison)
    assert out.is_file()


def test_the_command_prints_tables(found: Eot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    code, text, _ = labkit(*FEW, "--threshold", "0.3")
    assert code == 0
    assert "silence alone: published" in text
    assert "0.30 / 0.2 / 1.0" in text
    assert found.results.digest != "" and "14 more policies" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "high"), "threshold=high: expected numbers"),
        (("--timeout", ""), "timeout=: expected numbers"),
        (("--action-delay", "0.1"), "action delay 0.1"),
        (("--set", "caller.persona=hesitent"), "did you mean hesitant"),
        (("--recordings", "none"), "no such folder"),
        (("--out", "table.csv"), ".parquet"),
    ],
)
def test_the_command_refuses_in_one_line(words: tuple[str, ...], said: str) -> None:
    code, out, err = labkit(*words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


def test_differences_are_in_points_and_per_cent(found: Eot) -> None:
    rows = comparison_rows(found.comparison)
    by_unit = {row[1]: row[5] for row in rows}
    assert by_unit["false cut-offs (%)"].endswith(" points")
    assert by_unit["latency (ms)"].endswith("%")
    assert {row[6] for row in rows} <= {"agrees", "differs"}
    assert len(comparison_table(found.comparison, load())) == len(found.comparison)


def test_the_policy_of_a_row_is_the_one_in_its_name(found: Eot) -> None:
    from labkit.evidence.eot_comparison import named

    assert named(Policy(0.25, 0.2, 1.0)) == "0.25 / 0.2 / 1.0"
    assert named(Policy(np.inf, 0.84, 0.84)) == "0.84 s"
