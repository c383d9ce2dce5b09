"""Short turns: acknowledgements are answered at once, orders are not taken for one."""

from __future__ import annotations

import pandas as pd
import pytest

import labkit as lab
from labkit.evidence.agent_parts import load
from labkit.studies import short_turns


@pytest.fixture(scope="module")
def turns() -> pd.DataFrame:
    arms = {
        "large": "vanilla@llm.model=gpt-4.1",
        "as published": "short_turns@llm.model=gpt-4.1,agent.answer=as_published",
        "small": "short_turns@llm.model=gpt-4.1,agent.answer=light",
        "phrases": "short_turns@llm.model=gpt-4.1",
        "length": "short_turns@llm.model=gpt-4.1,agent.rule=length",
    }
    settings = {
        "caller.persona": "fluent",
        "caller.dialogue": "order_status",
        "caller.patience_s": 5.0,
    }
    experiment = lab.Experiment(arms, settings=settings, calls=1, turns=8, seed=3)
    results = lab.sweep(experiment)
    assert list(results.calls["status"]) == ["ok"] * len(arms)
    return short_turns.treated(results.turns)


def said(turns: pd.DataFrame, arm: str, text: str) -> pd.Series:
    return turns[(turns["arm"] == arm) & (turns["said"] == text)].iloc[0]


def test_as_published_drops_exactly_the_short_turns(turns: pd.DataFrame) -> None:
    published = turns[turns["arm"] == "as published"]
    assert published.loc[published["dropped"], "said"].tolist() == ["Okay."]


def test_the_small_model_serves_acknowledgements_alone(turns: pd.DataFrame) -> None:
    small = turns[turns["arm"] == "small"]
    served = small.loc[small["served_model"] == "gpt-4.1-nano", "said"]
    assert served.tolist() == ["Okay."]


def test_a_canned_line_needs_neither_model_nor_voice(turns: pd.DataFrame) -> None:
    canned, answered = said(turns, "phrases", "Okay."), said(turns, "large", "Okay.")
    assert canned["outcome"] == "answered"
    assert canned["served_model"] == ""
    assert canned["tts_characters"] == 0
    assert canned["response_latency_s"] < answered["response_latency_s"] - 0.3
    assert abs(canned["residual_s"]) < 0.005
    assert (canned["llm_ttft_s"], canned["tts_ttfb_s"]) == (0.0, 0.0)


def test_the_history_keeps_what_was_answered_with_a_canned_line(turns: pd.DataFrame) -> None:
    """The next turns are understood, which takes the turns before them."""
    after = turns[(turns["arm"] == "phrases") & (turns["turn"] > 2)]
    assert (after["reply_right"] == 1).all()


def test_an_order_is_no_acknowledgement_however_short(turns: pd.DataFrame) -> None:
    order, question = "Cancel my entire order.", "What's your return policy?"
    assert said(turns, "length", question)["mistreated"]
    assert said(turns, "length", question)["reply_right"] == 0
    assert not said(turns, "phrases", order)["mistreated"]
    assert said(turns, "phrases", order)["reply_right"] == 1
    assert not turns[turns["arm"] == "phrases"]["harmed"].any()


@pytest.mark.parametrize(
    ("text", "nothing_else"),
    [
        ("Okay.", True),
        ("Okay, great, thanks.", True),
        ("That\u2019s right.", True),
        ("Okay, switch me over.", False),
        ("Cancel my entire order.", False),
        ("Thanks, but no.", False),
        ("", False),
    ],
)
def test_phrases(text: str, nothing_else: bool) -> None:
    assert load("_turn_rules").is_acknowledgement(text) is nothing_else


def test_only_the_length_rule_takes_hard_turns_for_acknowledgements() -> None:
    settings = {"phrases": [0], "classifier": [0.7], "length": [4]}
    errors = short_turns.acknowledgement_errors(settings).set_index("rule")
    assert errors.loc["phrases", "hard"] == errors.loc["classifier", "hard"] == ""
    assert "Cancel my entire order." in errors.loc["length", "hard"]
    assert errors.loc["length", "wrong"] > 5 * errors.loc["phrases", "wrong"]
