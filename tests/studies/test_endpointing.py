"""Turn taking with the SDK's real detectors: what cuts callers off, what is waited for, and why."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.run import run
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.evidence.statistics import rate
from labkit.tunnel.worker import ENVIRONMENT

SCRIPT = Path(__file__).with_name("scripted_pause.py")
MODEL = "providers.openai.models.gpt-4.1"
QUICK = {
    f"{MODEL}.first_token": 0.1,
    f"{MODEL}.tokens_per_s": 150.0,
    "providers.cartesia.models.sonic-3.first_audio": 0.09,
}
"""Providers so quick that a hasty decision is heard before the caller goes on."""

READY = {
    f"{MODEL}.first_token": 0.05,
    f"{MODEL}.tokens_per_s": 300.0,
    "providers.cartesia.models.sonic-3.first_audio": 0.05,
    "providers.deepgram.models.nova-3.final": 0.1,
    **{f"links.{host}.rtt_s": 0.01 for host in ("deepgram", "openai", "cartesia")},
    "preemptive.tts": True,
}
"""So quick that a reply is synthesized before the turn is committed."""


def scripted(pause_s: float, **changes: object) -> dict[str, Any]:
    settings = [f"{k}={v}" for k, v in (QUICK | changes).items()]
    done = subprocess.run(
        [sys.executable, SCRIPT, str(pause_s), *settings],
        env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def alone(silence_s: float, floor_s: float) -> dict[str, object]:
    """Silence alone ends turns."""
    return {
        "turn_detection": "vad",
        "vad.min_silence_s": silence_s,
        "endpointing.min_delay_s": floor_s,
    }


def test_a_pause_shorter_than_the_silence_is_one_turn() -> None:
    row = scripted(0.45, **alone(0.55, 0.5))
    assert (row["n_messages"], row["n_false_endpoints"], row["n_premature_replies"]) == (1, 0, 0)
    assert row["outcome"] == "answered" and row["overlap_s"] == 0


def test_a_pause_longer_than_the_silence_is_split() -> None:
    row = scripted(0.5, **alone(0.4, 0.4))
    # the caller goes on 0.1 s after the decision, before the reply is ready, and the SDK drops it
    assert (row["n_messages"], row["n_false_endpoints"], row["n_premature_replies"]) == (2, 1, 0)
    assert row["outcome"] == "answered" and row["deletions"] == 0


def test_a_reply_that_is_ready_at_the_decision_is_premature() -> None:
    row = scripted(0.5, **alone(0.4, 0.4), **READY)
    assert (row["n_messages"], row["n_false_endpoints"], row["n_premature_replies"]) == (2, 1, 1)
    assert row["outcome"] == "premature"
    assert math.isnan(row["response_latency_s"]) and row["overlap_s"] > 0
    # at its first speech the agent is deaf for 3 s (aec_warmup_duration): it talks on, and what
    # was said meanwhile is gone
    assert row["overlap_s"] > 2 and row["deletions"] > 5
    assert not row["unanswered"]
    assert scripted(0.45, **alone(0.55, 0.5), **READY)["n_premature_replies"] == 0


@pytest.fixture(scope="module")
def frontier() -> Results:
    arms = {
        f"{delay} s": f"vanilla@turn_detection=vad,endpointing.min_delay_s={delay}"
        for delay in (0.3, 0.6, 1.2)
    }
    arms["detector"] = "vanilla"
    personas = {"caller.persona": ["hesitant", "fluent"]}
    return sweep(Experiment(arms, grid=personas, settings=QUICK, calls=4, turns=4))


def premature(turns: pd.DataFrame) -> float:
    return float((turns["n_premature_replies"] > 0).mean())


@pytest.mark.slow
def test_hesitant_callers_get_more_premature_replies_than_fluent_ones(frontier: Results) -> None:
    shares = {
        key: premature(turns)
        for key, turns in frontier.turns.groupby(["arm", "caller.persona"], sort=False)
    }
    assert shares["0.3 s", "hesitant"] > 0.3
    for arm in frontier.arms:
        hesitant, fluent = shares[arm, "hesitant"], shares[arm, "fluent"]
        assert hesitant > fluent or hesitant == fluent == 0, arm


@pytest.mark.slow
def test_premature_replies_fall_as_the_delay_grows(frontier: Results) -> None:
    hesitant = frontier.part(**{"caller.persona": "hesitant"})
    found = [
        rate(turns, turns["n_premature_replies"] > 0)
        for turns in (hesitant.part(arm=arm).turns for arm in ("0.3 s", "0.6 s", "1.2 s"))
    ]
    assert found[0].value > found[1].value > found[2].value
    assert found[0].low > found[2].high


@pytest.mark.slow
def test_the_detector_interrupts_less_than_silence_that_is_as_quick(frontier: Results) -> None:
    hesitant = frontier.part(**{"caller.persona": "hesitant"})
    detector, quick = (hesitant.part(arm=arm).turns for arm in ("detector", "0.3 s"))
    assert premature(detector) < premature(quick) / 2
    patient = hesitant.part(arm="1.2 s").turns
    median = {n: t["response_latency_s"].median() for n, t in
              (("detector", detector), ("1.2 s", patient))}  # fmt: skip
    assert median["detector"] < median["1.2 s"]


def test_the_floor_below_the_vads_silence_does_nothing() -> None:
    grid = {"endpointing.min_delay_s": [0.1, 0.5], "vad.min_silence_s": [0.55]}
    found = sweep(
        Experiment({"vad": "vanilla@turn_detection=vad"}, grid=grid, calls=1, turns=3)
    ).turns
    low, high = (part["end_of_turn_s"].tolist() for _, part in found.groupby(
        "endpointing.min_delay_s"))  # fmt: skip
    assert low == pytest.approx(high, abs=1e-6)
    assert min(low) > 0.55


def test_max_delay_is_what_is_waited_when_the_detector_doubts() -> None:
    grid = {"endpointing.max_delay_s": [1.0, 2.5]}
    fluent = {"caller.persona": "fluent"}
    asked = Experiment({"defaults": "vanilla"}, grid=grid, settings=fluent, calls=6, turns=3)
    turns = sweep(asked).turns
    doubted = turns[turns["eot_prob"] < 0.36]
    assert len(doubted) >= 2
    # counted from the VAD's own idea of the last speech, which is a little later than the truth
    late = doubted["end_of_turn_s"] - doubted["endpointing.max_delay_s"]
    assert late.between(0.0, 0.15).all()
    sure = turns[turns["eot_prob"] >= 0.36]
    assert (sure["end_of_turn_s"] < 0.6).all()


def test_a_vad_silence_too_short_for_the_detector_is_refused_by_the_sdk() -> None:
    refused = run("vanilla", calls=1, turns=1, settings={"vad.min_silence_s": 0.2})
    assert refused.calls["status"].tolist() == ["failed"]
    assert "too low for the TurnDetector" in refused.calls["error"].iloc[0]
    assert not len(run("vanilla", calls=1, turns=1, settings={"vad.min_silence_s": 0.25})
                   .calls.query("status != 'ok'"))  # fmt: skip


@pytest.fixture(scope="module")
def button() -> pd.DataFrame:
    arms = {
        "closed": "push_to_talk",
        "impatient": "push_to_talk@agent.transcript_timeout_s=0.5",
        "open": "push_to_talk@agent.closes_microphone=false",
    }
    release = {"caller.release_after_s": [-0.8, 0.6, 1.2]}
    return sweep(Experiment(arms, grid=release, calls=1, turns=2)).turns


def released(turns: pd.DataFrame, arm: str, release_s: float) -> pd.DataFrame:
    return turns[(turns["arm"] == arm) & (turns["caller.release_after_s"] == release_s)]


def test_a_late_release_waits_for_the_transcript_timeout(button: pd.DataFrame) -> None:
    for arm, timeout_s in (("closed", 2.0), ("open", 2.0), ("impatient", 0.5)):
        # the button's signal takes half a round trip of 40 ms
        handover = released(button, arm, 1.2)["handover_s"]
        assert handover.tolist() == pytest.approx([timeout_s + 0.02] * 2, abs=0.005)


def test_an_early_release_loses_the_last_words(button: pd.DataFrame) -> None:
    assert (released(button, "open", -0.8)["trailing_deletions"] > 0).all()
    assert (released(button, "open", 0.6)["deletions"] == 0).all()


def test_every_turn_with_a_button_is_answered(button: pd.DataFrame) -> None:
    assert set(button["outcome"]) <= {"answered", "interrupted"}
    assert button["residual_s"].abs().max() < 0.005


def test_a_button_needs_an_agent_that_listens_to_it() -> None:
    failed = run("vanilla", calls=1, turns=1, settings={"caller.release_after_s": 0.0})
    assert failed.calls["status"].tolist() == ["failed"]
    assert "does not register" in failed.calls["error"].iloc[0]
