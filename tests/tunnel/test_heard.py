"""What agents say before their answers, and play behind them, is told apart; by the recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.tunnel.spec import ENVIRONMENT
from labkit.world.speech import SpeechCorpus

WITHIN_S = 0.02
FILLERS = {"hook": 1, "flush": 1, "node": 1, "tool": 1, "model in tool": 1, "recording": 1}
"""By kind, which stretch of sound the answer begins with, from 0."""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One call of each kind."""
    corpus = SpeechCorpus.load()
    voice = corpus.dialogue_voices("order_status")[0]
    clips = (corpus.clip(dialogue="order_status", turn=t, voice=voice)
             for t in ("keep_the_desk", "order_number"))  # fmt: skip
    lines = (f'[[turn]]\nsays = "{clip.text}"\ntool = "look_up"\n' for clip in clips)
    own = tmp_path_factory.mktemp("lines") / "lines.toml"
    own.write_text("".join(lines))
    mine = {"caller.dialogue": str(own)}
    asked = {
        name: [name, mine if "tool" in name else {}, 2]
        for name in ("plain", "background", "slow node", *FILLERS)
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("heard_calls.py"))],
        input=json.dumps(asked), env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILLERS)
def test_first_sound_and_answer_are_where_the_recording_has_them(
    kind: str, calls: dict[str, Any]
) -> None:
    for row in calls[kind]["rows"]:
        starts = [a for a, _ in row["heard"]]
        assert row["outcome"] == "answered"
        assert row["response_latency_s"] == pytest.approx(starts[0], abs=WITHIN_S)
        assert row["answer_latency_s"] == pytest.approx(starts[FILLERS[kind]], abs=WITHIN_S)
        assert row["residual_s"] == pytest.approx(0, abs=0.005)


@pytest.mark.slow
def test_without_a_filler_the_first_sound_is_the_answer(calls: dict[str, Any]) -> None:
    for row in calls["plain"]["rows"]:
        assert row["response_latency_s"] == row["answer_latency_s"]


@pytest.mark.slow
def test_what_is_played_behind_speech_is_heard_and_changes_no_row(calls: dict[str, Any]) -> None:
    plain, behind = calls["plain"], calls["background"]
    assert max(plain["before"]) == 0 and min(behind["before"]) > 1000
    names = ("outcome", "response_latency_s", "answer_latency_s", "replied")
    for row, other in zip(plain["rows"], behind["rows"], strict=True):
        assert [row[n] for n in names] == [other[n] for n in names]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flush", "tool", "recording"])
def test_a_filler_is_booked_to_no_hook(kind: str, calls: dict[str, Any]) -> None:
    assert [row["hook_s"] for row in calls[kind]["rows"]] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flush", "hook", "recording"])
def test_a_filler_that_waits_for_no_model_is_booked_to_none(
    kind: str, calls: dict[str, Any]
) -> None:
    assert [row["llm_ttft_s"] for row in calls[kind]["rows"]] == [0, 0]


@pytest.mark.slow
def test_a_hook_and_a_node_have_their_own_time(calls: dict[str, Any]) -> None:
    assert [row["hook_s"] for row in calls["hook"]["rows"]] == pytest.approx([0.7, 0.7])
    for row in calls["slow node"]["rows"]:
        assert 0.6 < row["hook_s"] <= 1.0 and row["llm_network_s"] < 0.2
