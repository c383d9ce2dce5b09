"""Evaluation: what a judge, an exporter and a guardrail cost in the turn, and what they lose."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.run import run
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.paths import agents_dir
from labkit.providers.collector import Collector
from labkit.providers.profile import load_profiles
from labkit.studies import evaluation
from labkit.tunnel.blocking import BlockingHost
from labkit.tunnel.link import Link
from labkit.world.scene import Scene

COLLECTOR = "providers.collector.traces.accept"
ARMS = {
    "no judge": "vanilla",
    "inline": "reply_evaluation@agent.judge=inline",
    "background": "reply_evaluation@agent.judge=background",
    "batch": "reply_evaluation@agent.spans=batch",
    "simple": "reply_evaluation@agent.spans=simple",
    "whole": "output_guardrail@agent.guardrail=whole",
    "sentence": "output_guardrail@agent.guardrail=sentence",
    "early": "output_guardrail@agent.guardrail=early",
    "parallel": "output_guardrail@agent.guardrail=parallel",
}


CLEAN = {"caller.persona": "fluent", "endpointing.max_delay_s": 0.3}
"""Every turn waits alike: a detector that doubts would hide what is added."""


@pytest.fixture(scope="module")
def results() -> Results:
    found = sweep(
        Experiment(ARMS, settings=CLEAN | {COLLECTOR: 0.1}, calls=2, turns=3, seed=1),
        workers=2,
    )
    assert (found.calls["status"] == "ok").all(), found.calls["error"].tolist()
    return found


@pytest.fixture(scope="module")
def turns(results: Results) -> pd.DataFrame:
    return evaluation.counted(results.turns)


def latency(turns: pd.DataFrame, arm: str) -> pd.Series:
    part = turns[turns["arm"] == arm].set_index(["call", "turn"])
    assert len(part) == 6
    assert (part["outcome"] == "answered").all()
    return part["response_latency_s"]


def test_a_judge_in_the_hook_delays_every_turn_that_has_a_reply_to_judge(
    turns: pd.DataFrame,
) -> None:
    added = latency(turns, "inline") - latency(turns, "no judge")
    first = added.index.get_level_values("turn") == 0
    assert (added[first] == 0).all(), "there was nothing to judge yet"
    assert (added[~first] > 0).all()
    hooks = turns[turns["arm"] == "inline"].set_index(["call", "turn"])["length_hook_s"]
    assert (hooks[~first] > 0.1).all()


@pytest.mark.parametrize("arm", ["background", "batch", "parallel"])
def test_what_runs_beside_the_turn_adds_nothing_to_it(turns: pd.DataFrame, arm: str) -> None:
    assert latency(turns, arm).tolist() == latency(turns, "no judge").tolist()


def test_the_background_judge_scores_every_reply(turns: pd.DataFrame) -> None:
    scored = turns[turns["arm"] == "background"].groupby("call")["agent_scored"].last()
    assert scored.isin([2, 3]).all(), "all, but perhaps the one at which the call ends"


def test_a_simple_exporter_stalls_the_loop_for_each_span(
    turns: pd.DataFrame, results: Results
) -> None:
    added = latency(turns, "simple") - latency(turns, "no judge")
    # a stall also changes which frames the detector hears together, and so now and then its answer
    waits = [turns[turns["arm"] == a].set_index(["call", "turn"])["length_endpointing_s"] > 1
             for a in ("simple", "no judge")]  # fmt: skip
    alike = waits[0] == waits[1]
    assert alike.sum() >= 5
    assert (added[alike] > 0.1).all()
    simple = turns[turns["arm"] == "simple"]
    spans = [json.loads(s) for s in results.part(arm="simple").calls["spans"]]
    # each export takes the collector's 0.1 s and a round trip; some end after the last turn's log
    stalled = simple.groupby("call")["agent_stalled_s"].last().to_numpy()
    assert (stalled > 0.5 * 0.13 * pd.Series(spans).map(len).to_numpy()).all()


def test_the_collector_gets_every_span_of_a_turn(results: Results) -> None:
    for arm in ("batch", "simple"):
        part = results.part(arm=arm)
        names = [s["name"] for s in json.loads(part.calls["spans"].iloc[0])]
        assert names.count("agent_turn") >= 3
        assert {"agent_session", "user_turn", "llm_node", "tts_node"} <= set(names)
        assert part.turns["agent_spans_lost"].dropna().eq(0).all()
    assert (results.part(arm="no judge").calls["spans"] == "").all()


def test_spans_are_shown_under_their_parents(results: Results) -> None:
    table = evaluation.nested(results.part(arm="batch"))
    names = table.index.tolist()
    assert names[0] == "agent_session"
    assert "\u2003agent_turn" in names and "\u2003\u2003llm_node" in names
    assert (table["took (ms)"] >= 0).all()
    with pytest.raises(ValueError, match=r"unknown span 'agent_trun'.* one of agent_session"):
        evaluation.nested(results.part(arm="batch"), under="agent_trun")
    with pytest.raises(ValueError, match="got no spans of call 0"):
        evaluation.nested(results.part(arm="whole"))


def test_a_collector_that_does_not_answer_loses_the_last_spans() -> None:
    lost = run(
        "reply_evaluation", calls=1, turns=1, settings={"agent.spans": "batch", COLLECTOR: 4.0}
    )
    assert (lost.calls["status"] == "ok").all()
    last = lost.turns.iloc[-1]
    assert last["agent_spans_lost"] == last["agent_spans"] > 0
    assert last["outcome"] == "answered"


def test_a_guard_before_the_voice_delays_and_leaves_nothing_unguarded(turns: pd.DataFrame) -> None:
    plain = latency(turns, "no judge")
    for arm in ("whole", "sentence"):
        assert (latency(turns, arm) > plain).all()
    guarded = turns[turns["arm"].isin(["whole", "sentence", "early"])]
    assert not guarded["unguarded"].any()
    assert (guarded["reply_right"] == 1).all()


def test_checked_before_the_commit_it_never_takes_longer_than_before_the_voice(
    turns: pd.DataFrame,
) -> None:
    early, sentence = latency(turns, "early"), latency(turns, "sentence")
    assert (early <= sentence + 0.1).all()
    assert early.mean() < sentence.mean()


def test_checked_beside_the_voice_some_words_are_heard_first(turns: pd.DataFrame) -> None:
    parallel = turns[turns["arm"] == "parallel"]
    assert parallel["unguarded"].any()
    assert (parallel["unguarded_words"] <= parallel["replied"].str.split().map(len)).all()


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """The guardrail agent with a rule of its own: no reply may speak of a number."""
    text = (agents_dir() / "output_guardrail.py").read_text()
    asks = 'verdict.strip().lower() == "allow"'
    assert text.count(asks) == 1
    agent = tmp_path / "strict.py"
    agent.write_text(text.replace(asks, '"number" not in text'))
    (tmp_path / "vanilla.py").write_text((agents_dir() / "vanilla.py").read_text())
    return agent


INSTEAD = "I'm sorry, I can't help with that."
SENTENCE = "Can you tell me the order number?"


def blocked(strict: Path, how: str) -> pd.Series:
    settings = {
        "caller.persona": "fluent",
        "agent.guardrail": how,
        "caller.dialogue": "order_status",
    }
    results = run(str(strict), calls=1, turns=1, settings=settings)
    assert (results.calls["status"] == "ok").all(), results.calls["error"].tolist()
    return results.turns.iloc[0]


def test_a_guard_in_the_models_node_keeps_a_blocked_sentence_from_voice_and_history(
    strict: Path,
) -> None:
    turn = blocked(strict, "early")
    assert SENTENCE not in turn["replied"]
    assert turn["replied"].endswith(INSTEAD)
    assert turn["tts_characters"] == pytest.approx(len(turn["replied"]), abs=2)


def test_a_guard_before_the_voice_keeps_it_from_the_voice_alone(strict: Path) -> None:
    whole = blocked(strict, "whole")
    assert whole["tts_characters"] == pytest.approx(len(INSTEAD), abs=2)
    assert SENTENCE in whole["replied"], "the history holds what was never said"
    sentence = blocked(strict, "sentence")
    spoken = len("I'm sorry to hear that. ") + len(INSTEAD)
    assert sentence["tts_characters"] == pytest.approx(spoken, abs=2)


def test_a_guard_beside_the_voice_stops_it_and_says_something_else(strict: Path) -> None:
    turn = blocked(strict, "parallel")
    assert SENTENCE not in turn["replied"]
    assert turn["replied"].endswith(INSTEAD)


def test_two_blocked_sentences_are_answered_once(strict: Path) -> None:
    strict.write_text(strict.read_text().replace('"number" not in text', "False"))
    turn = blocked(strict, "parallel")
    assert turn["replied"].count(INSTEAD) == 1
    assert turn["replied"].endswith(INSTEAD)


def test_a_blocking_client_waits_for_handshakes_once_and_for_the_collector_each_time() -> None:
    collector = Collector(load_profiles()["collector"], Scene, lambda: 0.0)
    host = BlockingHost(collector, Link(rtt_s=0.03, dns_s=0.005))
    empty = (7, "/v1/traces", {}, b"")
    assert host.exchange(*empty) == (200, pytest.approx(0.005 + 3 * 0.03 + 0.02))
    assert host.exchange(*empty) == (200, pytest.approx(0.03 + 0.02))
    assert host.exchange(7, "/v1/metrics", {}, b"")[0] == 404
    assert host.exchange(7, "/v1/traces", {}, b"not protobuf")[0] == 400


def test_running_totals_become_amounts_per_turn() -> None:
    table = pd.DataFrame({
        "arm": "a", "call": 0, "turn": [0, 1, 2], "agent_stalled_s": [0.5, float("nan"), 0.7],
        "agent_unguarded_s": [0.2, float("nan"), 9.0], "at_reply_heard_s": 1.0,
        "at_reply_over_s": 3.0, "replied": "one two three four",
    })  # fmt: skip
    out = evaluation.counted(table)
    assert out["stalled_s"].tolist() == pytest.approx([0.5, 0.0, 0.2])
    assert out["unguarded_words"].tolist() == pytest.approx([0.4, 0.0, 4.0])
