"""A verdict belongs to a provider profile: another profile, another verdict."""

from __future__ import annotations

import pytest

import labkit as lab

RULES = lab.Rules(max_harm=0.06)
"""Eighty turns of which none is harmed cannot rule out less."""

USUAL = {"llm.model": "gpt-4.1-mini", "preemptive.enabled": False}  # the model is always waited for
QUICK = USUAL | {"providers.openai.models.gpt-4.1-mini.first_token": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "verdict"), [(USUAL, "adopt"), (QUICK, "reject")])
def test_a_small_model_is_adopted_beside_a_slow_one_only(
    profile: dict[str, object], verdict: str
) -> None:
    rules = {"one model": "never", "routed": "always"}
    arms = {n: lab.Arm("model_routing", {**profile, "agent.rule": r}) for n, r in rules.items()}
    results = lab.sweep(lab.Experiment(arms, calls=16, turns=5, seed=7), workers=2)
    arm = {"routed": results.arms["routed"]}
    found = lab.compare(results.arms["one model"], arm, rules=RULES)
    assert found["advice"].tolist() == [verdict], found["reason"].tolist()
