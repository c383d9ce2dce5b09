"""What a caller's turn needs, told from its words: by length, by phrase list, by a classifier.

The classifier is a softmax regression on sentence embeddings. Its weights lie beside this file;
train your own on your own callers' sentences, since it knows little of a business it has not seen.
"""

import json
import re
from pathlib import Path

import numpy as np
from _embedder import Embedder

ACKNOWLEDGEMENT, LIGHT, HEAVY = LABELS = ("acknowledgement", "light", "heavy")
"""Nothing new was said; a small model will do; the large model is needed."""

_PHRASES = """
alright, all right, bye, cool, exactly, fine, good, goodbye, got it, great, i see, lovely, mhm,
of course, okay, perfect, right, sure, thank you, thank you so much, thank you very much, thanks,
thanks a lot, that's fine, that's great, that's right, uh huh, understood, wonderful, yeah, yep, yes
"""
ACKNOWLEDGEMENTS = frozenset(phrase.strip() for phrase in _PHRASES.split(","))


def words(text: str) -> list[str]:
    """The words of a transcript in lower case, without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))


def is_short(text: str, max_words: int) -> bool:
    """Whether a turn has at most so many words: "cancel my entire order" has four."""
    return len(words(text)) <= max_words


def is_acknowledgement(text: str) -> bool:
    """Whether a turn consists of nothing but listed phrases: "Okay, great, thanks."."""
    parts = [" ".join(words(part)) for part in re.split(r"[,.!?;]", text)]
    said = [part for part in parts if part]
    return bool(said) and all(part in ACKNOWLEDGEMENTS for part in said)


class TurnClassifier:
    """Probabilities of ``LABELS`` for a turn.

    Args:
        embedder: The model whose vectors the weights were trained on.
        weights: JSON file with ``labels`` and ``weights``, one row per label, the bias last.
    """

    def __init__(self, embedder: Embedder, weights: Path | None = None) -> None:
        path = weights or Path(__file__).with_name("turn_classifier.json")
        table = json.loads(path.read_text(encoding="utf-8"))
        self._embedder, self.labels = embedder, tuple(table["labels"])
        self._weights = np.array(table["weights"], dtype=np.float32)

    def of_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities of embedded sentences: (n, 384) in, (n, labels) out."""
        scores = vectors @ self._weights[:, :-1].T + self._weights[:, -1]
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    async def probabilities(self, text: str) -> dict[str, float]:
        """How probable each label is for one turn; takes about 4 ms."""
        found = self.of_vectors((await self._embedder.embed_one(text))[None, :])[0]
        return dict(zip(self.labels, map(float, found), strict=True))
