"""The agents' own rules for short and hard turns, tried on texts instead of calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from labkit.evidence.agent_parts import load, vectors

NEEDS = ("acknowledgement", "light", "heavy")
"""What a turn may need, in the order of the classifier's labels."""
Rule = Callable[[Sequence[str]], np.ndarray]
"""Texts in, whether it applies out: bool (n,)."""


def probabilities(texts: Sequence[str]) -> pd.DataFrame:
    """What the agents' classifier makes of texts: one row each, one column per label."""
    classifier = load("_turn_rules").TurnClassifier(None)
    scores = classifier.of_vectors(vectors(texts))
    return pd.DataFrame(scores, columns=list(classifier.labels))


def needs_heavy(rule: str, setting: float) -> Rule:
    """The rule by which ``model_routing`` asks the large model.

    Args:
        rule: ``classifier``, ``length`` or ``phrases``.
        setting: Its threshold or number of words; the phrase list has none.

    Raises:
        ValueError: an unknown rule.
    """
    if rule == "classifier":
        return lambda texts: (probabilities(texts)["heavy"] >= setting).to_numpy()
    easy = acknowledges(rule, setting)
    return lambda texts: ~easy(texts)


def acknowledges(rule: str, setting: float) -> Rule:
    """The rule by which ``short_turns`` takes a turn for an acknowledgement, by its words alone.

    Args:
        rule: ``classifier``, ``length`` or ``phrases``.
        setting: Its threshold or number of words; the phrase list has none.

    Raises:
        ValueError: an unknown rule.
    """
    rules = load("_turn_rules")
    if rule == "classifier":
        return lambda texts: (probabilities(texts)["acknowledgement"] >= setting).to_numpy()
    if rule == "length":
        return lambda texts: np.array([rules.is_short(t, int(setting)) for t in texts], dtype=bool)
    if rule == "phrases":
        return lambda texts: np.array([rules.is_acknowledgement(t) for t in texts], dtype=bool)
    raise ValueError(f"rule={rule}: allowed are classifier, length and phrases")
