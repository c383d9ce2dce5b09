"""First words: what a warm-up withholds, what a pre-connect buffer keeps, what echo does."""

from __future__ import annotations

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.studies import prebuffer


def run(grid: dict[str, list[object]], **settings: object) -> Results:
    experiment = Experiment(
        {"greeting": "greeting"},
        grid=grid,
        settings={"caller.persona": "fluent", **settings},
        calls=2,
        turns=1,
    )
    results = sweep(experiment, workers=2)
    assert (results.calls["status"] == "ok").all(), results.calls["error"].tolist()
    return results


@pytest.fixture(scope="module")
def greeted() -> pd.DataFrame:
    grid = {"aec_warmup_s": [0.0, 3.0, 5.0], "caller.barge_in_after_s": [None, 0.5]}
    return prebuffer.labelled(run(grid, **{"agent.greets": True}).turns)


def part(turns: pd.DataFrame, warm_up: str, barges_in: bool) -> pd.DataFrame:
    found = turns[(turns["warm-up"] == warm_up) & (turns["barged_in"] == barges_in)]
    assert len(found) == 2
    return found


def test_a_warm_up_saves_nothing_for_who_listens_to_the_greeting(greeted: pd.DataFrame) -> None:
    off = part(greeted, "off", False)["response_latency_s"].tolist()
    assert part(greeted, "3 s, the default", False)["response_latency_s"].tolist() == off
    assert part(greeted, "5 s", False)["response_latency_s"].tolist() == off


def test_it_costs_the_first_words_of_who_talks_over_it(greeted: pd.DataFrame) -> None:
    assert (part(greeted, "off", True)["deletions"] == 0).all()
    default = part(greeted, "3 s, the default", True)
    assert (default["leading_deletions"] >= 4).all()
    assert (default["leading_deletions"] == default["deletions"]).all(), "only the head is lost"


def test_a_longer_one_loses_the_whole_turn(greeted: pd.DataFrame) -> None:
    lost = part(greeted, "5 s", True)
    assert lost["lost"].all()
    assert (lost["outcome"] == "missed").all()


def test_it_keeps_a_greeting_from_being_stopped_by_its_own_echo() -> None:
    grid: dict[str, list[object]] = {"aec_warmup_s": [0.0, 3.0]}
    turns = prebuffer.labelled(
        run(grid, **{"agent.greets": True, "caller.echo_db": -10.0}).turns
    ).set_index("warm-up")
    assert turns.loc["off", "paused"].all()
    assert not turns.loc["3 s, the default", "paused"].any()
    assert (turns["deletions"] == 0).all(), "who waits is heard either way"


@pytest.fixture(scope="module")
def joined() -> pd.DataFrame:
    grid = {"join.handshake_s": [0.0, 2.0], "join.preconnect": [False, True]}
    turns = run(grid, **{"caller.start_after_s": 0.3}).turns
    return turns.set_index(["join.handshake_s", "join.preconnect"]).sort_index()


def test_without_a_buffer_the_handshake_swallows_the_head_of_the_turn(joined: pd.DataFrame) -> None:
    lost = joined.loc[(2.0, False)]
    assert (lost["leading_deletions"] >= 3).all()
    assert (lost["leading_deletions"] == lost["deletions"]).all()


def test_a_pre_connect_buffer_keeps_every_word(joined: pd.DataFrame) -> None:
    kept = joined.loc[(2.0, True)]
    assert (kept["deletions"] == 0).all()
    assert (kept["heard"] == kept["said"]).all()


def test_without_a_handshake_it_makes_no_difference(joined: pd.DataFrame) -> None:
    on, off = joined.loc[(0.0, True)], joined.loc[(0.0, False)]
    assert on["response_latency_s"].tolist() == off["response_latency_s"].tolist()


def test_a_microphone_opened_with_the_call_is_the_ordinary_one(joined: pd.DataFrame) -> None:
    plain = run({"agent.greets": [False]}, **{"caller.start_after_s": 0.3}).turns
    early = joined.loc[(0.0, False)]
    assert early["response_latency_s"].tolist() == plain["response_latency_s"].tolist()


def test_harms_are_those_of_callers_who_talk_over_the_greeting(greeted: pd.DataFrame) -> None:
    over = greeted[greeted["barged_in"]]
    harms = prebuffer.harms_of_barging_in(over, 5.0).set_index("harm")
    assert harms.loc["barge-ins unheard", "value"] == 1.0
    lost = over.loc[over["warm-up"] == "5 s", "leading_deletions"].mean()
    assert harms.loc["first words lost", "value"] == lost
