"""Regions: a host's name pins, the published ways do not, and distance is heard where it lies."""

from __future__ import annotations

import pandas as pd
import pytest

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.run import run
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.evidence.compare import compare
from labkit.report.tables import ran
from labkit.studies import regions

NEAR, OCEAN, FAR = 0.01, 0.12, 0.21
HOSTS = {
    "hosts.api.eu.deepgram.com": "deepgram",
    "hosts.eu.api.openai.com": "openai",
    "links.api.eu.deepgram.com.rtt_s": NEAR,
    "links.eu.api.openai.com.rtt_s": NEAR,
    "links.deepgram.rtt_s": OCEAN,
    "links.openai.rtt_s": OCEAN,
    "preemptive.enabled": False,  # nothing hides the model's distance
}
PIN = {"agent.stt_host": "api.eu.deepgram.com", "agent.llm_host": "eu.api.openai.com"}
CALLS, TURNS = 2, 3


@pytest.fixture(scope="module")
def pins() -> Results:
    arms = {
        "default hosts": Arm("regional"),
        "pinned": Arm("regional", PIN),
        "region=": Arm("regional", {"agent.variant": "as_published", "agent.region": "eu"}),
        "no path": Arm("regional", {**PIN, "agent.variant": "no_path"}),
    }
    return sweep(
        Experiment(arms, settings={"caller.persona": "fluent", **HOSTS}, calls=CALLS, turns=TURNS)
    )


def test_the_published_argument_does_not_exist(pins: Results) -> None:
    table = ran(pins)
    assert table.loc["region=", "calls that failed"] == CALLS
    assert table.loc["region=", "turns spoken"] == 0
    assert "unexpected keyword argument 'region'" in table.loc["region=", "error"]


def test_an_address_without_its_path_answers_nothing(pins: Results) -> None:
    table = ran(pins)
    assert table.loc["no path", "calls that failed"] == 0
    assert table.loc["no path", "turns spoken"] == CALLS * TURNS
    assert table.loc["no path", "turns answered"] == 0


def test_a_pin_saves_the_models_way_across_the_ocean(pins: Results) -> None:
    arms = pins.arms
    both = arms["default hosts"].turns.merge(arms["pinned"].turns, on=["call", "turn"])
    assert len(both) == CALLS * TURNS
    assert set(both["outcome_y"]) == {"answered"}
    later = both[both["turn"] > 0]  # the first may pay for a handshake too
    saved = later["response_latency_s_x"] - later["response_latency_s_y"]
    assert saved.to_numpy() == pytest.approx(OCEAN - NEAR, abs=0.001)


def test_an_arm_that_does_not_run_is_rejected_with_its_error(pins: Results) -> None:
    arms = pins.arms
    (row,) = compare(arms["default hosts"], {"region=": arms["region="]}).to_dict("records")
    assert row["advice"] == "reject"
    assert "does not run: TypeError" in row["reason"]
    assert row["n_turns"] == 0


def test_a_sweep_tells_what_is_heard_from_what_is_hidden() -> None:
    experiment = Experiment(
        {"defaults": "vanilla"},
        points=regions.places([FAR]),
        settings={"caller.persona": "fluent", **regions.near(NEAR)},
        calls=4,
        turns=3,
        seed=3,
    )
    turns = sweep(experiment).turns
    added = regions.added(turns)
    share = added[added["added_rtt_s"] > 0].set_index("hop")["ms_per_ms"]
    assert share["caller"] == pytest.approx(1.0, abs=0.02)
    assert share["TTS"] >= 0.99
    assert share["STT"] < 0.5
    assert share["LLM"] < 0.99
    stages = regions.by_stage(turns)
    # over a long way the audio may run dry before its first sound: more than one round trip
    assert stages.loc["TTS", "tts_network_s"] == pytest.approx(share["TTS"], abs=0.02)
    assert (stages.loc["STT"] < 0.5).all(), "most turns wait for the delay, not for the STT"
    for hop in regions.HOPS:
        assert stages.loc[hop, "heard by the caller"] == pytest.approx(share[hop], abs=0.01)


def test_a_gateway_adds_its_round_trip_and_work() -> None:
    settings = {
        "caller.persona": "fluent",
        "preemptive.enabled": False,
        "gateway.rtt_s": 0.02,
        "gateway.processing_s": 0.003,
    }
    plain, relayed = (
        run("vanilla", calls=1, turns=3, settings={**settings, "gateway.enabled": on}).turns
        for on in (False, True)
    )
    change = (relayed["response_latency_s"] - plain["response_latency_s"]).to_numpy()[1:]
    # the request and the text each go there and back; the STT's way is hidden
    assert change == pytest.approx(2 * (0.02 + 2 * 0.003), abs=0.002)
    assert (relayed["residual_s"].abs() < 0.005).all()


def test_added_needs_its_base() -> None:
    turns = pd.DataFrame({c: [NEAR] for c in regions.HOPS.values()} | {"call": [0]})
    with pytest.raises(ValueError, match="with its base"):
        regions.added(turns)
