"""The words of a call: turns, tools and dialogues, and how their text is compared.

Read by ``labkit.world.dialogue``. Nothing of audio, time or LiveKit; standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from labkit.errors import UsageError, unknown

VARIANTS = ("fluent", "hesitant", "terse", "paraphrase", "near_miss")
"""The ways a turn may be spoken. ``paraphrase`` and ``near_miss`` speak the first of each list."""

KINDS = (
    "statement",
    "question",
    "acknowledgement",
    "correction",
    "long",
    "request",
    "two_part",  # a complete sentence, a pause, and more: ambiguous to every end-of-turn detector
)

PAUSE_KINDS = ("filler", "number", "drawn", "clause", "cut")
"""What comes before a mid-turn pause, the first that fits: "um"; part of a number or a spelled
name; a drawn-out word; a complete clause; none of these: the caller broke off inside a phrase."""

DRAWN_MARK = "~"
"""Written after a word of a hesitant text that is drawn out: ``the~``."""

FILLERS = ("um", "uh", "er")
"""Sounds that mean nothing."""

_FILLING = (*FILLERS, "you know", "let me see", "like", "well")

_COUNTED = frozenset(
    re.findall(
        r"\w+",
        "zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
        "eighty ninety hundred double triple dash slash dot at",
    )
)
"""Words between which a pause is inside a number, an address or a spelled name; so are letters."""

_PAUSE = re.compile(r"\s*\[(\d+(?:\.\d+)?)\]\s*")


class DialogueError(UsageError):
    """A dialogue file is not valid; the message names the file and the key."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One argument of a tool, in JSON schema terms."""

    type: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A function the agent may call; every parameter is required."""

    name: str
    description: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class NearMiss:
    """A question that differs from the turn's in one slot, with its own right answer."""

    text: str
    reply: str


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One caller turn and the right answer to it. Texts are as spoken: numbers are words."""

    id: str
    index: int
    """Position in the dialogue, from 0."""
    says: str
    hesitates: str | None = None
    """The same with pauses, as ``[seconds]``; None for no hesitant wording."""
    terse: str | None = None
    intent: str
    kind: str
    heavy: bool = False
    """Whether a right answer needs the large model."""
    reply: str
    reply_without: str | None = None
    """What the agent says when a needed fact is missing from the history it was sent."""
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tool_result: str | None = None
    """JSON text, as the tool returns it."""
    needs: tuple[str, ...] = ()
    gives: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Fact to the words that carry it, which appear in every way of saying this turn."""
    paraphrases: tuple[str, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants this turn has a text for, in the order of ``VARIANTS``."""
        return tuple(v for v in VARIANTS if self._marked(v) is not None)

    def marked(self, variant: str) -> str:
        """The text of a variant with its pause marks, e.g. ``"It's order, um, [0.9] four."``.

        Raises:
            DialogueError: the turn has no such variant.
        """
        text = self._marked(variant)
        if text is None:
            raise DialogueError(f"turn {self.id!r}: {unknown('variant', variant, self.variants)}")
        return text

    def text(self, variant: str = "fluent") -> str:
        """What a perfect transcript of the variant reads: its text without any marks."""
        return plain(" ".join(split_pauses(self.marked(variant))[0]))

    def right_reply(self, variant: str = "fluent") -> str:
        """The right answer to a variant: a near miss has its own, all others share ``reply``."""
        self.marked(variant)
        return self.near_misses[0].reply if variant == "near_miss" else self.reply

    def _marked(self, variant: str) -> str | None:
        return {
            "fluent": self.says,
            "hesitant": self.hesitates,
            "terse": self.terse,
            "paraphrase": self.paraphrases[0] if self.paraphrases else None,
            "near_miss": self.near_misses[0].text if self.near_misses else None,
        }.get(variant)


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """A whole call as data: whose agent, its prompt and tools, and the caller's turns in order."""

    name: str
    tenant: str
    greeting: str
    system: str
    tools: tuple[Tool, ...]
    turns: tuple[Turn, ...]

    def turn(self, turn_id: str) -> Turn:
        """The turn with this id.

        Raises:
            DialogueError: no such turn; the message names the closest.
        """
        for turn in self.turns:
            if turn.id == turn_id:
                return turn
        known = [t.id for t in self.turns]
        raise DialogueError(f"{self.name}: {unknown('turn', turn_id, known)}")

    def fact(self, name: str, *, before: int) -> str | None:
        """The words that carry a fact, from the latest turn with an index below ``before``.

        A correction gives the fact again, so the latest wins. None if no earlier turn gives it.
        """
        for turn in reversed(self.turns[:before]):
            if name in turn.gives:
                return turn.gives[name]
        return None


def normalise(text: str) -> str:
    """Lower case, no punctuation, single spaces: ``"It's 4571."`` becomes ``"its 4571"``."""
    kept = re.sub(r"['\u2019]", "", text.lower())
    return " ".join(re.sub(r"[\W_]+", " ", kept).split())


def mentions(text: str, words: str) -> bool:
    """Whether ``text`` holds ``words`` as whole words; punctuation and case do not count."""
    return f" {normalise(words)} " in f" {normalise(text)} "


def without_fillers(text: str) -> str:
    """The normalised words of a text that are no fillers."""
    return " ".join(w for w in normalise(text).split() if w not in FILLERS)


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a reply, split after ``.``, ``?`` or ``!`` and a space."""
    return tuple(s for s in re.split(r"(?<=[.?!])\s+", text.strip()) if s)


def split_pauses(marked: str) -> tuple[list[str], list[float]]:
    """Splits a text at its pause marks into n + 1 parts and n pauses in seconds."""
    pieces = _PAUSE.split(marked.strip())
    return pieces[0::2], [float(p) for p in pieces[1::2]]


def plain(text: str) -> str:
    """A text without the marks of drawn-out words."""
    return text.replace(DRAWN_MARK, "")


def pause_kinds(marked: str) -> tuple[str, ...]:
    """One of ``PAUSE_KINDS`` for each pause of a text, by what stands before and after it."""
    parts, _ = split_pauses(marked)
    return tuple(_pause_kind(before, after) for before, after in pairwise(parts))


def _pause_kind(before: str, after: str) -> str:
    said = f" {normalise(before)}"
    if said.endswith(tuple(f" {filler}" for filler in _FILLING)):
        return "filler"
    if _counted(said.split()[-1]) and _counted(normalise(after).split()[0]):
        return "number"
    if before.rstrip(",.?!").endswith(DRAWN_MARK):
        return "drawn"
    return "clause" if before[-1] in ",.?!" else "cut"


def _counted(word: str) -> bool:
    return word in _COUNTED or (len(word) == 1 and word not in "ai")
