"""The semantic cache: said twice as published, once when done right; wrong answers and leaks."""

from __future__ import annotations

import pandas as pd
import pytest

import labkit as lab
from labkit.evidence.agent_parts import load
from labkit.studies import semantic_cache

THRESHOLDS = [0.7, 0.8, 0.85, 0.92, 0.99]


@pytest.fixture(scope="module")
def turns() -> pd.DataFrame:
    """A call about an order; its sixth turn asks for the opening hours, which seven shops know."""
    arms = {
        "no cache": "vanilla",
        "as published": "semantic_cache@agent.variant=as_published",
        "done right": "semantic_cache",
        "audio": "semantic_cache@agent.cached_audio=true",
        "no tenant": "semantic_cache@agent.by_tenant=false,agent.guard=false",
    }
    # an LLM so slow that the caller goes on first would not be heard after the cached answer
    llm = {"providers.openai.models.gpt-4.1.first_token": 0.5}
    settings = {
        "caller.persona": "fluent",
        "caller.dialogue": "order_status",
        "caller.gap_s": 2.5,
        **llm,
    }
    experiment = lab.Experiment(arms, settings=settings, calls=1, turns=8, seed=3)
    results = lab.sweep(experiment)
    assert list(results.calls["status"]) == ["ok"] * len(arms)
    return semantic_cache.judged(results.turns)


def hits(turns: pd.DataFrame, arm: str) -> pd.DataFrame:
    return turns[(turns["arm"] == arm) & turns["hit"]]


def test_both_general_questions_are_hits(turns: pd.DataFrame) -> None:
    asked = ["What time do you close on Saturday?", "What's your return policy?"]
    assert hits(turns, "done right")["said"].tolist() == asked


def test_as_published_answers_twice(turns: pd.DataFrame) -> None:
    assert hits(turns, "as published")["twice"].all()
    assert not hits(turns, "done right")["twice"].any()
    assert not hits(turns, "audio")["twice"].any()


def test_done_right_answers_every_turn_right_and_sooner(turns: pd.DataFrame) -> None:
    by_arm = {name: part.reset_index(drop=True) for name, part in turns.groupby("arm")}
    for arm in ("done right", "audio"):
        assert (by_arm[arm]["outcome"] == "answered").all()
        assert (by_arm[arm]["reply_right"] == 1).all()
        assert by_arm[arm]["residual_s"].abs().max() < 0.005
    hit = by_arm["audio"]["hit"]
    latency = {arm: by_arm[arm]["response_latency_s"][hit] for arm in by_arm}
    assert (latency["audio"] < latency["done right"]).all()
    assert (latency["done right"] < latency["no cache"]).all()
    assert (by_arm["audio"]["tts_characters"][hit] == 0).all()


def test_without_the_tenant_another_shop_answers(turns: pd.DataFrame) -> None:
    leaked = hits(turns, "no tenant")
    assert leaked["leaked"].any()
    assert (leaked["leaked"] == leaked["wrong"]).all()
    assert not turns[turns["arm"] == "done right"]["leaked"].any()


def test_the_look_up_is_charged(turns: pd.DataFrame) -> None:
    miss = turns[(turns["arm"] == "done right") & ~turns["hit"]]
    charged = lab.SETTINGS["compute.embed_s"].default
    assert miss["length_hook_s"].to_numpy() == pytest.approx(charged, abs=1e-6)


def test_leaks_come_from_sharing_alone_at_every_threshold() -> None:
    curves = semantic_cache.curves(THRESHOLDS)
    leaks = curves[curves["measure"] == "another business's answer"]
    shared = leaks["cache"] == "shared by all tenants"
    assert (leaks.loc[shared, "asked_share"] > 0).all()
    assert (leaks.loc[~shared, "asked_share"] == 0).all()


def test_the_guard_spares_most_near_misses_and_few_paraphrases() -> None:
    curves = semantic_cache.curves([0.8]).set_index(["cache", "measure"])["asked_share"]
    wrong, right = "near miss, answered wrongly", "other words, answered right"
    assert curves["one per tenant, guarded", wrong] < 0.3 * curves["one per tenant", wrong]
    assert curves["one per tenant, guarded", right] > 0.7 * curves["one per tenant", right]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Are you open on Saturday?", "Are you open on Sunday?", False),
        ("Where is order 4571?", "Where is order 4572?", False),
        ("Is breakfast included?", "Isn't breakfast included?", False),
        ("Can I see Doctor Miller?", "Can I see Doctor Milner?", False),
        ("How do returns work?", "What is the return policy?", True),
    ],
)
def test_details(a: str, b: str, same: bool) -> None:
    part = load("_answer_cache")
    assert (part.details(a) == part.details(b)) is same


def test_opposites() -> None:
    opposed = load("_answer_cache").opposed
    assert opposed("When do you open?", "When do you close?")
    assert not opposed("When do you open?", "From when are you open?")
    assert not opposed("When do you open and close?", "When do you close?")


def test_known_answers_are_those_of_the_dialogues() -> None:
    from labkit.evidence.phrasings import questions

    found = {(q["tenant"], q["question"]): q["answer"] for q in questions()}
    assert semantic_cache.known() == found
