"""Routing: where it drops turns, where it is late, where it works; and how its rules err."""

from __future__ import annotations

import pandas as pd
import pytest

import labkit as lab
from labkit.evidence.agent_parts import load
from labkit.evidence.checks import MAX_RESIDUAL_S
from labkit.evidence.phrasings import phrasings
from labkit.evidence.turn_rules import NEEDS, classifier_errors, needs_heavy, probabilities
from labkit.studies import routing

LARGE, SMALL = "claude-sonnet-4-5", "claude-haiku-4-5"


@pytest.fixture(scope="module")
def turns() -> pd.DataFrame:
    """One call about an order under each wiring; its eighth turn is "Cancel my entire order."."""
    arms = {
        "as published": "model_routing@agent.where=as_published",
        "hook": "model_routing@agent.where=update_options",
        "hook, no preemption": "model_routing@agent.where=update_options,preemptive.enabled=false",
        "llm_node": "model_routing@agent.where=llm_node",
    }
    settings = {
        "llm.provider": "anthropic",
        "llm.model": LARGE,
        "agent.light_model": SMALL,
        "caller.persona": "fluent",
        "caller.dialogue": "order_status",
        "caller.patience_s": 5.0,
    }
    experiment = lab.Experiment(arms, settings=settings, calls=1, turns=8, seed=3)
    results = lab.sweep(experiment)
    assert list(results.calls["status"]) == ["ok"] * len(arms)
    return routing.judged(results.turns, SMALL)


def of(turns: pd.DataFrame, arm: str) -> pd.DataFrame:
    return turns[turns["arm"] == arm].reset_index(drop=True)


def test_as_published_drops_every_turn(turns: pd.DataFrame) -> None:
    published = of(turns, "as published")
    assert published["dropped"].all()
    assert published["llm_calls"].sum() > 0  # the reply begun ahead is paid for all the same


def test_the_hook_is_one_turn_late_only_when_the_reply_is_begun_ahead(turns: pd.DataFrame) -> None:
    late = of(turns, "hook")
    assert late["agent_wanted_model"][0] == SMALL
    assert late["served_model"][0] == LARGE
    in_time = of(turns, "hook, no preemption")
    assert not in_time["late"].any()
    assert in_time["served_model"][0] == SMALL


def test_in_llm_node_every_turn_gets_the_model_chosen_for_it(turns: pd.DataFrame) -> None:
    routed = of(turns, "llm_node")
    assert not routed["dropped"].any()
    assert (routed["late"] == 0).all()
    assert routed["served_model"].iloc[7] == LARGE
    assert set(routed["served_model"]) == {LARGE, SMALL}
    assert routed["residual_s"].abs().max() < MAX_RESIDUAL_S


def test_composed_turns_come_from_the_arm_that_the_rule_chooses() -> None:
    def arm(latency_s: float) -> pd.DataFrame:
        return pd.DataFrame({
            "call": 0, "turn": [0, 1], "heavy": [True, True],
            "said": ["Cancel my entire order.", "Would you please cancel my entire order?"],
            "outcome": "answered", "response_latency_s": latency_s,
        })  # fmt: skip

    found = routing.composed(arm(2.0), arm(1.0), needs_heavy("length", 5))
    assert found["response_latency_s"].tolist() == [1.0, 2.0]
    assert found["misrouted"].tolist() == [True, False]


def test_unknown_rule_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="must be one of classifier, length, phrases"):
        needs_heavy("lenght", 3)


def test_classifier_was_not_trained_on_what_callers_say() -> None:
    table = phrasings()
    train = set(table.loc[table["split"] == "train", "text"])
    test = table[(table["split"] == "test") & ~table["seen"]]
    assert not train & set(test["text"])
    assert set(test["variant"]) == {"fluent", "hesitant", "terse", "paraphrase"}


def test_classifier_errs_less_on_other_words_than_on_another_business() -> None:
    errors = classifier_errors([0.3]).set_index(["tested_on", "error"])["error_share"]
    hard = "hard turn, small model"
    known = errors["the same businesses, other words", hard]
    assert 0 < known < 0.15
    assert errors["another business", hard] > known


def test_weights_beside_the_agent_are_those_of_the_dialogues() -> None:
    import numpy as np

    from labkit.evidence.agent_parts import vectors
    from labkit.evidence.phrasings import fit

    train = phrasings().query("split == 'train'")
    labels = np.array([NEEDS.index(n) for n in train["needs"]])
    texts = train["text"].tolist()
    weights = fit(vectors(texts), labels)
    scores = vectors(texts) @ weights[:, :-1].T + weights[:, -1]
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    kept = probabilities(texts)
    assert list(kept.columns) == list(load("_turn_rules").LABELS)
    # other processors round the 8-bit model differently
    assert np.abs(kept.to_numpy() - odds).max() < 0.02
