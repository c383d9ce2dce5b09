"""Study 20: the gateway's cost is its hops, and it is measured between the same turns."""

from __future__ import annotations

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.sweep import sweep
from labkit.evidence.verdict import Rules
from labkit.studies import gateway

NEAR, FAR = 0.02, 0.2


def test_every_place_sets_the_same_links() -> None:
    places = gateway.regions(NEAR, FAR)
    assert len({frozenset(settings) for settings in places.values()}) == 1
    assert set(places[gateway.ONE_REGION].values()) == {NEAR}
    away = places["agent far away"]
    assert away["links.livekit.rtt_s"] == away["links.openai.rtt_s"] == FAR
    assert away["providers.livekit.behind.rtt_s"] == NEAR


@pytest.mark.slow
def test_the_gateway_costs_what_lies_behind_it() -> None:
    """Without preemption the model and the voice are each waited for in full: two more hops."""
    settings = {
        **gateway.regions(NEAR, FAR)[gateway.ONE_REGION],
        "caller.persona": "fluent",
        "preemptive.enabled": False,
    }
    results = sweep(Experiment(gateway.ARMS, settings=settings, calls=2, turns=3))
    assert set(results.turns["outcome"]) == {"answered"}
    (row,) = gateway.compared(results, Rules()).to_dict("records")
    # a round trip, and 2 ms for each message and direction, of model and voice
    assert -row["saving_s"] == pytest.approx(2 * (NEAR + 0.004), abs=0.012)
    moved = gateway.moved(results.turns)
    assert {"llm_network", "tts_network", "response_latency"} <= set(moved.index)
    assert "llm_ttft" not in moved.index, "the model's own draws are the same"


def test_turns_after_an_interruption_are_told_apart() -> None:
    turns = pd.DataFrame({
        "arm": "a", "call": [0, 0, 0, 1, 1], "turn": [0, 1, 2, 0, 1],
        "reply_interrupted": [True, False, False, False, False],
        "tts_cold": [True, True, False, True, False],
        "tts_network_s": [0.1, 0.09, 0.02, 0.1, 0.02],
    })  # fmt: skip
    found = gateway.after_interruptions(turns)
    assert found["turns"].to_dict() == {"a, after an interrupted reply": "1", "a, other turns": "2"}
    assert found.loc["a, after an interrupted reply", "opened a connection (%)"] == "100"
    assert found.loc["a, other turns", "opened a connection (%)"] == "0"
