"""Every sentence of the dialogues, labelled: material to train and test small models on.

Callers speak the fluent, hesitant and terse wordings and the first paraphrase, so a model is
trained on the other paraphrases and tested on those. Acknowledgements have no paraphrases: common
ones are trained on instead; a spoken one among them is no fair test, and is marked ``seen``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from labkit.world.dialogue import load_dialogues
from labkit.world.turn import VARIANTS, Turn, normalise

COMMON_ACKNOWLEDGEMENTS = (
    "Alright.", "All right then.", "Bye.", "Cool, thank you.", "Fine.", "Good.", "Good to know.",
    "Got it.", "Great.", "I see.", "Mhm.", "Okay.", "Okay, great.", "Perfect.", "Right.",
    "See you.", "Sure.", "Thank you.", "Thanks.", "Thanks a lot.", "That's great.", "Understood.",
    "Yeah.", "Yes.", "Yes, exactly.",
)  # fmt: skip
"""What a developer would write down without having heard a single call."""

_STEPS, _RATE = 800, 8.0
_PENALTY = 1e-3
"""On the squared weights; the bias is free. It was not tuned."""


def needs(turn: Turn) -> str:
    """``acknowledgement`` if nothing new was said, ``heavy`` if it takes the large model, else
    ``light``. A "yes" that answers a question says something new."""
    if turn.heavy:
        return "heavy"
    return "acknowledgement" if turn.intent in ("acknowledge", "thank") else "light"


def phrasings() -> pd.DataFrame:
    """All sentences.

    Returns:
        One row per sentence: ``dialogue``, ``tenant``, ``turn_id``, ``intent``, ``variant`` (near
        misses left out), ``text``, ``needs``, ``split`` (``train`` or ``test``), ``seen`` (a test
        sentence whose words are in the training set too), ``right_reply``.
    """
    rows: list[dict[str, Any]] = []
    for dialogue in load_dialogues().values():
        for turn in dialogue.turns:
            spoken = {v: turn.text(v) for v in VARIANTS if v in turn.variants and v != "near_miss"}
            rest = {f"paraphrase_{i}": t for i, t in enumerate(turn.paraphrases) if i}
            for variant, text in {**spoken, **rest}.items():
                rows.append({
                    "dialogue": dialogue.name, "tenant": dialogue.tenant, "turn_id": turn.id,
                    "intent": turn.intent, "variant": variant, "text": text, "needs": needs(turn),
                    "split": "test" if variant in spoken else "train", "right_reply": turn.reply,
                })  # fmt: skip
    for text in COMMON_ACKNOWLEDGEMENTS:
        rows.append({
            "dialogue": "", "tenant": "", "turn_id": "", "intent": "acknowledge",
            "variant": "listed", "text": text, "needs": "acknowledgement", "split": "train",
            "right_reply": "",
        })  # fmt: skip
    table = pd.DataFrame(rows)
    trained = {normalise(t) for t in table.loc[table["split"] == "train", "text"]}
    said = table["text"].map(normalise)
    table["seen"] = (table["split"] == "test") & said.isin(trained)
    return table


def questions() -> list[dict[str, str]]:
    """What a business would put into its answer cache beforehand: each general question as the
    dialogues word it, with the right answer. General means that no fact of the call and no tool is
    needed.

    Returns:
        ``tenant``, ``question`` and ``answer`` of each.
    """
    return [
        {"tenant": d.tenant, "question": t.text(), "answer": t.reply}
        for d in load_dialogues().values()
        for t in d.turns
        if t.kind == "question" and not (t.needs or t.tool or t.heavy)
    ]


def fit(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Softmax regression with balanced labels, by gradient descent.

    Args:
        vectors: (n, dimensions).
        labels: (n,) indices from 0; each occurs.

    Returns:
        Weights (labels, dimensions + 1), the bias last.
    """
    x = np.c_[vectors, np.ones(len(vectors))]
    sizes = np.bincount(labels)
    wanted = np.eye(len(sizes))[labels]
    share = 1 / sizes[labels] / len(sizes)
    weights = np.zeros((x.shape[1], len(sizes)))
    for _ in range(_STEPS):
        scores = x @ weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        slope = x.T @ ((odds - wanted) * share[:, None])
        slope[:-1] += _PENALTY * weights[:-1]
        weights -= _RATE * slope
    return np.asarray(weights.T)
