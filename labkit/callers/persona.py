"""Personas: how a caller speaks, listens, and from where.

A persona prefers some recordings to others and changes some of the caller's settings; what a study
sets takes precedence. So ``caller.persona=hesitant`` and ``caller.noise_snr_db=10`` together are
a hesitant caller in a noisy place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labkit.randomness import uniform
from labkit.settings import Settings, Value

MIXED = "mixed"


@dataclass(frozen=True)
class Persona:
    """A way of speaking.

    Attributes:
        name: What ``caller.persona`` says.
        prefers: Variants of a turn in order of preference; the first one recorded is spoken.
        stands_for: The kind of caller it represents.
        proportion: Of the callers that ``mixed`` draws, 0 to 1. An assumption: no public source
            gives such figures, so conclusions should hold for each persona alone.
        sets: Settings that it changes.
    """

    name: str
    prefers: tuple[str, ...]
    stands_for: str
    proportion: float
    sets: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def variant(self, recorded: Sequence[str]) -> str:
        """The variant this persona speaks, of those recorded."""
        return next(v for v in self.prefers if v in recorded)

    def settings(self, settings: Settings) -> Settings:
        """The settings with this persona's changes; those already changed are kept."""
        return Settings({**self.sets, **settings.as_dict()})


PERSONAS = {
    p.name: p
    for p in (
        Persona("fluent", ("fluent",), "someone who knows what to say and says it in one go", 0.4),
        Persona(
            "hesitant",
            ("hesitant", "fluent"),
            "someone who looks things up while speaking: pauses of 0.5 to 1.4 s inside turns",
            0.25,
        ),
        Persona(
            "terse", ("terse", "fluent"), "someone who answers in as few words as will do", 0.1
        ),
        Persona(
            "barging_in",
            ("fluent",),
            "someone in a hurry: one second into each reply they say that the agent should wait, "
            "and go on with what they want next",
            0.05,
            {"caller.barge_in_after_s": 1.0},
        ),
        Persona(
            "back_channelling",
            ("fluent",),
            "a lively listener, who says mhm or right during most replies and wants the agent to "
            "go on",
            0.1,
            {"caller.backchannel_prob": 0.8},
        ),
        Persona(
            "rephrasing",
            ("paraphrase", "fluent"),
            "someone who puts things in other words than one would expect; not in mixed",
            0.0,
        ),
        Persona(
            "near_miss",
            ("near_miss", "paraphrase", "fluent"),
            "someone who asks for something close to what is expected, such as Sunday instead of "
            "Saturday; not in mixed",
            0.0,
        ),
        Persona(
            "noisy_line",
            ("fluent",),
            "someone who calls from an open-plan office over a poor radio link",
            0.1,
            {"caller.noise": "office", "caller.noise_snr_db": 10.0, "links.caller.loss": 0.03},
        ),
    )
}


def persona_of(settings: Settings, seed: int, call: int) -> Persona:
    """The persona of this call; ``mixed`` draws one by its proportion."""
    name = settings.text("caller.persona")
    if name != MIXED:
        return PERSONAS[name]
    draw = uniform(seed, "caller.persona", call) * sum(p.proportion for p in PERSONAS.values())
    for persona in PERSONAS.values():
        draw -= persona.proportion
        if draw < 0:
            return persona
    return persona
