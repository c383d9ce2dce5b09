"""A warm connection to the TTS: the agents' behaviour, and the arithmetic of the study."""

from __future__ import annotations

import pandas as pd
import pytest

import labkit as lab
from labkit.engine.tables import Results
from labkit.studies import warmup

RTT_S = 0.2
SLOW = {"providers.cartesia.models.sonic-3.real_time_factor": 0.7}


@pytest.fixture(scope="module")
def calls() -> Results:
    arms = {
        "cold": "vanilla@prewarm.tts=false",
        "default": "vanilla",
        "early": "tts_warmup@agent.variant=as_published",
        "early alone": "tts_warmup@agent.variant=as_published,prewarm.tts=false",
    }
    settings = {"links.cartesia.rtt_s": RTT_S}
    return lab.sweep(lab.Experiment(arms, settings=settings, calls=2, turns=2), workers=2)


@pytest.fixture(scope="module")
def talked_over() -> Results:
    arms = {"default": lab.Arm("vanilla", SLOW), "again": lab.Arm("tts_warmup", SLOW)}
    settings = {"caller.persona": "barging_in", "caller.barge_in_after_s": 0.3}
    return lab.sweep(lab.Experiment(arms, settings=settings, calls=2, turns=5), workers=2)


def test_every_turn_is_answered(calls: Results) -> None:
    lab.check(calls, min_turns=1)


def test_building_early_opens_nothing(calls: Results) -> None:
    latency = {n: r.turns["response_latency_s"].tolist() for n, r in calls.arms.items()}
    assert latency["early"] == latency["default"]
    assert latency["early alone"] == latency["cold"]


def test_only_a_cold_first_turn_opens_a_connection(calls: Results) -> None:
    for arm, results in calls.arms.items():
        first = results.turns["turn"] == 0
        assert not results.turns[~first]["tts_cold"].any()
        assert results.turns[first]["tts_cold"].all() == (arm in ("cold", "early alone"))


def test_a_cold_turn_waits_three_round_trips_less_what_is_hidden(calls: Results) -> None:
    first = {n: r.turns[r.turns["turn"] == 0] for n, r in calls.arms.items()}
    waited_s = first["cold"]["tts_network_s"].max() - first["default"]["tts_network_s"].max()
    # one round trip, and the wait for audio that ran dry before its first sound
    assert RTT_S <= first["default"]["tts_network_s"].max() + 1e-6 <= RTT_S + 0.05
    # TCP, TLS and the upgrade, a name look-up of 5 ms and some work at the provider
    assert 3 * RTT_S + 0.05 < waited_s < 3 * RTT_S + 0.4


def test_a_lost_connection_is_opened_while_the_caller_speaks(talked_over: Results) -> None:
    arms = talked_over.arms
    assert arms["default"].turns["tts_cold"].any()
    wait = {n: r.turns["tts_network_s"].max() for n, r in arms.items()}
    assert wait["default"] > wait["again"]
    answered = [set(map(tuple, r.turns[["call", "turn", "outcome"]].values)) for r in arms.values()]
    assert answered[0] == answered[1]


def test_an_idle_connection_is_closed_by_the_provider() -> None:
    arms = {"cold": "vanilla@prewarm.tts=false", "default": "vanilla"}
    settings = {"caller.start_after_s": 310}
    results = lab.sweep(lab.Experiment(arms, settings=settings, calls=1, turns=1), workers=2)
    assert results.turns["tts_cold"].all()
    table = warmup.by_idle(results.turns.assign(**{warmup.START: 310.0}))
    assert table.loc["default, idle for 310 s", "opened a connection"] == "100.0%"


def test_moments_of_a_call() -> None:
    turns = pd.DataFrame(
        {
            "arm": ["a", "b", "a", "b", "a"],
            "call": 0,
            "turn": [0, 0, 1, 1, 2],
            "reply_interrupted": [True, False, False, False, False],
        }
    )
    assert warmup.moment(turns).tolist() == [
        warmup.FIRST,
        warmup.FIRST,
        warmup.AFTER,
        warmup.LATER,
        warmup.LATER,
    ]


def test_the_slope_counts_round_trips() -> None:
    rows = [
        {"arm": arm, "call": 0, "turn": 0, "outcome": "answered", warmup.RTT: rtt,
         "n_user_messages": 1, "sdk_end_of_turn_delay_s": 2.5, "response_latency_s": 3.0 + wait}
        for rtt, cold in ((0.0, 0.08), (0.1, 0.38), (0.2, 0.68))
        for arm, wait in (("cold", cold), ("default", 0.0))
    ]  # fmt: skip
    points = warmup.by_round_trip(pd.DataFrame(rows), 2.5)
    held, alone = (points[points["turns"] == t] for t in ("held back 2,500 ms", warmup.HANDSHAKE))
    assert held["saved_s"].tolist() == [pytest.approx(v) for v in (0.08, 0.38, 0.68)]
    assert alone["saved_s"].tolist() == [pytest.approx(v) for v in (0.0, 0.3, 0.6)]
    told = "3.0 ms saved per millisecond of round trip, and 80 ms without any distance."
    assert warmup.read_slopes(points) == f"Turns *held back 2,500 ms*: {told}"
    assert warmup.read_slopes(alone) == "A slope needs two round trips."
