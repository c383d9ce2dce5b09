"""The agents' own rules for short and hard turns, tried on texts instead of calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from labkit.errors import unknown
from labkit.evidence import statistics
from labkit.evidence.agent_parts import load, vectors
from labkit.evidence.phrasings import fit, phrasings

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
    """The rule by which ``model_routing`` asks the large model; see :func:`acknowledges`.

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
    raise ValueError(unknown("rule", rule, ("classifier", "length", "phrases")))


def classifier_errors(thresholds: Sequence[float]) -> pd.DataFrame:
    """How the routing classifier errs on sentences it was not trained on.

    Twice: on held-out wordings with the weights that the agent has, and on each business with
    weights that were trained without any of its sentences.

    Returns:
        One row per threshold, material and error: ``threshold``, ``error``, ``tested_on``,
        ``error_share``, ``low``, ``high``, ``n`` (sentences). CIs resample businesses.
    """
    table = phrasings()
    test = table[(table["split"] == "test") & ~table["seen"]].reset_index(drop=True)
    held_out = probabilities(test["text"].tolist())["heavy"].to_numpy()
    everyone = table[table["dialogue"] != ""].reset_index(drop=True)
    strangers = _without_own_business(table, everyone)
    rows: list[dict[str, Any]] = []
    for name, material, score in (
        ("the same businesses, other words", test, held_out),
        ("another business", everyone, strangers),
    ):
        for threshold in thresholds:
            for error, wrong, of in (
                ("hard turn, small model", score < threshold, material["needs"] == "heavy"),
                ("easy turn, large model", score >= threshold, material["needs"] != "heavy"),
            ):
                part = material[of].assign(call=material["dialogue"])
                found = statistics.rate(part, pd.Series(wrong, material.index)[of])
                rows.append({"threshold": threshold, "error": error, "tested_on": name,
                             **found.row("error_share"), "n": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def _without_own_business(table: pd.DataFrame, material: pd.DataFrame) -> np.ndarray:
    known = vectors(table["text"].tolist())
    labels = np.array([NEEDS.index(n) for n in table["needs"]])
    asked = vectors(material["text"].tolist())
    score = np.empty(len(material))
    for business in material["dialogue"].unique():
        others = (table["dialogue"] != business).to_numpy()
        own = (material["dialogue"] == business).to_numpy()
        weights = fit(known[others], labels[others])
        raw = asked[own] @ weights[:, :-1].T + weights[:, -1]
        odds = np.exp(raw - raw.max(axis=1, keepdims=True))
        score[own] = odds[:, NEEDS.index("heavy")] / odds.sum(axis=1)
    return score
