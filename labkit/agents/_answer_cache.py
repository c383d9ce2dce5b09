"""A semantic cache of answers: a question close enough in meaning to a known one gets its answer.

Similarity alone cannot tell "open on Saturday" from "open on Sunday": they are closer than most
paraphrases. So a hit must also agree in its details: numbers, days and dates, names, negation and
opposites. And an answer belongs to a tenant; entries of others are never looked at.
"""

import re
from dataclasses import dataclass

import numpy as np
from _embedder import Embedder

_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
thousand
half first second third last next
"""
_DATES = """
monday tuesday wednesday thursday friday saturday sunday weekend today tomorrow yesterday tonight
morning noon afternoon evening night midnight day week month year january february march april may
june july august september october november december
"""
_NEGATIONS = "no not never without nobody nothing none neither"
_DETAILS = frozenset(f"{_NUMBERS} {_DATES} {_NEGATIONS}".split())
_OPPOSITES = (
    ("open", "close"), ("in", "out"), ("arrive", "leave"), ("start", "end"), ("buy", "sell"),
    ("cheap", "expensive"), ("up", "down"), ("with", "without"), ("before", "after"),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A question somebody asked, the answer that was right, and whose answer it is."""

    tenant: str
    question: str
    answer: str


@dataclass(frozen=True)
class Found:
    """The entry closest to a question, and how close: cosine similarity, at most 1.

    ``agrees`` tells whether the details of both questions are the same.
    """

    entry: Entry
    similarity: float
    agrees: bool


def details(text: str) -> frozenset[str]:
    """What must be the same in two questions with the same answer."""
    plain = text.replace("\u2019", "'")
    found = {w for w in re.findall(r"[a-z]+", plain.lower()) if w in _DETAILS}
    found |= set(re.findall(r"\d+", plain))
    if re.search(r"n't\b", plain.lower()):
        found.add("not")
    # a capital inside a sentence is a name, or a day, which is there in small letters already
    names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", plain)
    return frozenset(found | {name.lower() for name in names})


def opposed(a: str, b: str) -> bool:
    """Whether one text has a word where the other has its opposite."""
    one, other = (set(re.findall(r"[a-z]+", t.lower())) for t in (a, b))

    def has(words: set[str], stem: str) -> bool:
        return any(w in (stem, f"{stem}s", f"{stem}d", f"{stem}r") for w in words)

    for left, right in _OPPOSITES:
        sides = [(has(words, left), has(words, right)) for words in (one, other)]
        if set(sides) == {(True, False), (False, True)}:
            return True
    return False


class AnswerCache:
    """Entries of many tenants with the vectors of their questions.

    Args:
        embedder: Turns questions into vectors.
        entries: What is known from the start.
        by_tenant: Whether only the asker's own entries are looked at. Without it, one business
            answers with another's opening hours.
    """

    def __init__(self, embedder: Embedder, entries: list[Entry], *, by_tenant: bool = True) -> None:
        self._embedder, self._by_tenant = embedder, by_tenant
        self.entries = list(entries)
        self._vectors = embedder.embed([e.question for e in entries]) if entries else None

    def find_vector(self, vector: np.ndarray, question: str, tenant: str) -> Found | None:
        """The closest entry to an embedded question; None if there is none to compare."""
        if self._vectors is None:
            return None
        similarities = self._vectors @ vector
        if self._by_tenant:
            own = np.array([e.tenant == tenant for e in self.entries])
            similarities = np.where(own, similarities, -1.0)
            if not own.any():
                return None
        entry = self.entries[best := int(similarities.argmax())]
        agrees = details(question) == details(entry.question)
        agrees = agrees and not opposed(question, entry.question)
        return Found(entry, float(similarities[best]), agrees)

    async def find(self, question: str, tenant: str) -> Found | None:
        """The same for words; the embedding takes about 4 ms."""
        return self.find_vector(await self._embedder.embed_one(question), question, tenant)
