"""Finds the scripted turn that a caller's words belong to.

All ways to say all turns of all dialogues are indexed once. Similarity is a Dice coefficient over
words, each weighted by how rare it is among the scripted phrases, so "Saturday" counts for more
than "the".
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from labkit.providers.wording import canonical, stem
from labkit.world.turn import Dialogue, NearMiss, Turn, normalise

MATCH_FROM = 0.6
"""Similarity from which a text counts as said."""
_LONG = 2_000
"""Characters. What is found for longer texts is not remembered."""
_NEARLY_ALL = 0.12
"""A prefix that lacks at most this proportion of the words' weight counts as the whole."""


@dataclass(frozen=True, eq=False)
class Phrase:
    """One way to say one turn."""

    dialogue: Dialogue
    turn: Turn
    words: tuple[str, ...]
    near_miss: NearMiss | None = None


@dataclass(frozen=True)
class Match:
    """A phrase that fits a text.

    Attributes:
        phrase: What was recognised.
        score: 1 for the same words, less for similar ones.
        partial: The text is only the beginning of the phrase.
    """

    phrase: Phrase
    score: float
    partial: bool = False


def _phrases(dialogues: Mapping[str, Dialogue]) -> list[Phrase]:
    out = []
    for dialogue in dialogues.values():
        for turn in dialogue.turns:
            texts = [turn.text(v) for v in ("fluent", "hesitant", "terse") if v in turn.variants]
            for text in dict.fromkeys([*texts, *turn.paraphrases]):
                out.append(Phrase(dialogue, turn, canonical(text)))
            for miss in turn.near_misses:
                out.append(Phrase(dialogue, turn, canonical(miss.text), miss))
    return [phrase for phrase in out if phrase.words]


class PhraseIndex:
    """All scripted phrases, searchable by words."""

    def __init__(self, dialogues: Mapping[str, Dialogue]) -> None:
        self.dialogues = dict(dialogues)
        self.phrases = _phrases(self.dialogues)
        self._exact: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._starts: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._holding: dict[str, list[int]] = defaultdict(list)
        self._bags: list[Counter[str]] = []
        for i, phrase in enumerate(self.phrases):
            self._exact[phrase.words].append(i)
            for n in range(1, len(phrase.words)):
                self._starts[phrase.words[:n]].append(i)
            bag = Counter(map(stem, phrase.words))
            self._bags.append(bag)
            for word in bag:
                self._holding[word].append(i)
        self._rarest = math.log(1 + len(self.phrases))
        self._weights = [self._weight(bag) for bag in self._bags]
        self._found = lru_cache(maxsize=1 << 12)(self._find)
        self.homes = lru_cache(maxsize=1 << 6)(self._homes)

    def _word_weight(self, word: str) -> float:
        return math.log(1 + len(self.phrases) / (1 + len(self._holding.get(word, ()))))

    def _weight(self, bag: Counter[str]) -> float:
        return sum(n * self._word_weight(word) for word, n in bag.items())

    def _homes(self, system: str) -> frozenset[str]:
        """Which dialogues a system prompt belongs to: its own text, else its tenant's name."""
        text = f" {normalise(system)} "
        known = [d for d in self.dialogues.values() if d.system]
        named = [d.name for d in known if normalise(d.system)[:120] in text]
        if not named:
            named = [d.name for d in known if f" {normalise(d.tenant)} " in text]
        return frozenset(named)

    def find(self, text: str, homes: frozenset[str] = frozenset()) -> tuple[Match, ...]:
        """The phrases a text may be, best first; at most 12.

        Args:
            text: What the caller is reported to have said.
            homes: Only these dialogues; all if empty.
        """
        return self._found(text, homes) if len(text) <= _LONG else self._find(text, homes)

    def _find(self, text: str, homes: frozenset[str]) -> tuple[Match, ...]:
        words = canonical(text)
        if not words:
            return ()
        exact = self._at_home(self._exact.get(words, ()), homes)
        if exact:
            return tuple(Match(self.phrases[i], 1.0) for i in exact)[:12]
        similar = self._similar(words, homes)
        started = self._started(words, homes)
        whole = [m for m in similar if m.phrase not in {p.phrase for p in started}]
        if started and (not whole or whole[0].score < 0.85):
            return tuple(started[:12])
        return tuple(similar[:12])

    def _at_home(self, found: Iterable[int], homes: frozenset[str]) -> list[int]:
        return [i for i in found if not homes or self.phrases[i].dialogue.name in homes]

    def _started(self, words: tuple[str, ...], homes: frozenset[str]) -> list[Match]:
        """Phrases of which ``words`` is only a beginning, a cut-off number included."""
        found = self._at_home(self._starts.get(words, ()), homes)
        if words[-1].isdecimal():
            before = words[:-1]
            longer: Iterable[int] = range(len(self.phrases))
            if before:
                longer = self._starts.get(before, ())
            found += [
                i
                for i in self._at_home(longer, homes)
                if self._cut_number(self.phrases[i].words, words) and i not in found
            ]
        matches = []
        for i in found:
            missing = 1 - self._weight(Counter(map(stem, words))) / self._weights[i]
            cut = self._cut_number(self.phrases[i].words, words)
            if missing > _NEARLY_ALL or cut:
                matches.append(Match(self.phrases[i], 1 - max(missing, 0.0), partial=True))
        return sorted(matches, key=lambda m: -m.score)

    @staticmethod
    def _cut_number(whole: tuple[str, ...], words: tuple[str, ...]) -> bool:
        if not words[-1].isdecimal() or len(words) > len(whole):
            return False
        number = whole[len(words) - 1]
        return number.isdecimal() and number != words[-1] and number.startswith(words[-1])

    def _similar(self, words: tuple[str, ...], homes: frozenset[str]) -> list[Match]:
        bag = Counter(map(stem, words))
        own = self._weight(bag)
        shared: dict[int, float] = defaultdict(float)
        for word, n in bag.items():
            weight = self._word_weight(word)
            for i in self._holding.get(word, ()):
                shared[i] += weight * min(n, self._bags[i][word])
        scored = [
            Match(self.phrases[i], 2 * common / (own + self._weights[i]))
            for i, common in shared.items()
            if 2 * common >= MATCH_FROM * (own + self._weights[i])
            and (not homes or self.phrases[i].dialogue.name in homes)
        ]
        return sorted(scored, key=lambda m: -m.score)
