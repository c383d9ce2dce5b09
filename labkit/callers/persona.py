"""Personas: how a caller speaks, listens, and from where.

A persona changes some of the caller's settings; what a study sets takes precedence. So
``caller.persona=hesitant`` and ``caller.noise_snr_db=10`` together are a hesitant caller in a noisy
place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from labkit.callers.field import MANNERS, drawn
from labkit.settings import Settings, Value


@dataclass(frozen=True)
class Persona:
    """A kind of caller.

    Attributes:
        name: What ``caller.persona`` says.
        stands_for: The kind of caller it represents.
        sets: Settings that it changes.
        draws: Further settings, drawn from the seed for each call.
        prefers: Variants of a turn spoken before all others, in order, where they are recorded.
    """

    name: str
    stands_for: str
    sets: Mapping[str, Value] = field(default_factory=dict, hash=False)
    draws: Callable[[int, int], Mapping[str, Value]] = lambda seed, call: {}
    prefers: tuple[str, ...] = ()

    def settings(self, settings: Settings, seed: int, call: int) -> Settings:
        """The settings with this persona's changes; those already changed are kept."""
        return Settings({**self.sets, **self.draws(seed, call), **settings.as_dict()})

    def variant(self, recorded: Sequence[str], settings: Settings, draw: float) -> str:
        """The variant of a turn that is spoken, of those recorded.

        Args:
            recorded: Names of the variants; ``fluent`` is always among them.
            settings: The caller's settings: how often it hesitates or is terse.
            draw: Between 0 and 1, one for each turn.
        """
        likely = [v for v in self.prefers if v in recorded]
        if draw < settings.number("caller.hesitant_prob"):
            likely.append("hesitant")
        elif draw > 1 - settings.number("caller.terse_prob"):
            likely.append("terse")
        return next(v for v in [*likely, "fluent"] if v in recorded)


PERSONAS = {
    p.name: p
    for p in (
        Persona(
            "field",
            "the callers of real agents, drawn for each call: how they hesitate, how long they "
            "pause, how loud and fast they speak, into what microphone, before what background",
            draws=drawn,
        ),
        Persona("fluent", "someone who knows what to say and says it in one go"),
        Persona(
            "hesitant",
            "someone who looks things up while speaking: pauses of 0.5 to 1.4 s inside turns",
            {"caller.hesitant_prob": 1.0},
        ),
        Persona(
            "terse", "someone who answers in as few words as will do", {"caller.terse_prob": 1.0}
        ),
        Persona(
            "barging_in",
            "someone in a hurry: one second into each reply they say that the agent should wait, "
            "and go on with what they want next",
            MANNERS["barging_in"],
        ),
        Persona(
            "back_channelling",
            "a lively listener, who says mhm or right during most replies and wants the agent to "
            "go on",
            MANNERS["back_channelling"],
        ),
        Persona(
            "rephrasing",
            "someone who puts things in other words than one would expect",
            prefers=("paraphrase",),
        ),
        Persona(
            "near_miss",
            "someone who asks for something close to what is expected, such as Sunday instead of "
            "Saturday",
            prefers=("near_miss", "paraphrase"),
        ),
        Persona(
            "noisy_line",
            "someone who calls from an open-plan office over a poor radio link",
            {"caller.noise": "office", "caller.noise_snr_db": 10.0, "links.caller.loss": 0.03},
        ),
    )
}
