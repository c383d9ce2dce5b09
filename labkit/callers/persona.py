"""Personas: how a caller speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Persona:
    """A way of speaking.

    Attributes:
        name: What ``caller.persona`` says.
        prefers: Variants of a turn in order of preference; the first one recorded is spoken.
        stands_for: Whom it stands for.
    """

    name: str
    prefers: tuple[str, ...]
    stands_for: str

    def variant(self, recorded: Sequence[str]) -> str:
        """The variant this persona speaks, of those recorded."""
        return next(v for v in self.prefers if v in recorded)


PERSONAS = {
    p.name: p
    for p in (
        Persona("fluent", ("fluent",), "someone who knows what to say and says it in one go"),
        Persona(
            "hesitant",
            ("hesitant", "fluent"),
            "someone who looks things up while speaking: pauses of 0.4 to 1.4 s inside turns",
        ),
        Persona("terse", ("terse", "fluent"), "someone who answers in as few words as will do"),
    )
}
