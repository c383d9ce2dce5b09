"""The record of a finished call: plain data that can be pickled, without livekit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from labkit.world.events import Event

NAN = float("nan")
_SLACK_S = 0.05
"""How exactly it is known when a word begins."""


@dataclass
class ReplySegment:
    """A stretch of agent speech as it was played; times in seconds, NaN where nothing sounded.

    ``left_s`` is on the agent's side of the line; the voiced times are at the caller's ear.
    ``voiced`` are the stretches of sound, ``breaks`` the moments at which it fell silent with
    something left to say, each with the moment at which it went on (NaN if it did not).
    ``starved_s`` is how long it waited, before its first sound, for audio that had not arrived.
    ``runs`` says from which second of its sound on it went without a break, and when that was
    heard; last, how long all its sound is, and when that ended.
    """

    left_s: float
    first_voiced_s: float
    last_voiced_s: float
    interrupted: bool
    voiced: tuple[tuple[float, float], ...] = ()
    breaks: tuple[tuple[float, float], ...] = ()
    starved_s: float = 0.0
    runs: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.voiced and self.first_voiced_s == self.first_voiced_s:
            self.voiced = ((self.first_voiced_s, self.last_voiced_s),)

    @property
    def sound_s(self) -> float:
        """How much sound was played, seconds."""
        return self.runs[-1][0] if self.runs else 0.0

    def heard_at(self, word_s: float) -> float:
        """When a word was heard that begins that many seconds into the sound; NaN if it was not."""
        if word_s >= self.sound_s:
            return NAN
        at_s = max(heard_s + word_s - s for s, heard_s in self.runs if s <= word_s)
        for begins_s, ends_s in self.voiced:
            if at_s < ends_s:  # a word after silence begins with the first sound
                return begins_s if at_s < begins_s + _SLACK_S else at_s
        return NAN


@dataclass
class CallerTurn:
    """A caller turn as it was spoken; times at the mouth, seconds from the start of the call.

    ``pauses`` are the silences inside it, ``barged_in`` says that it was begun over the agent's
    speech, ``released_s`` when a push-to-talk button was let go (NaN without one).
    """

    index: int
    dialogue: str
    turn_id: str
    intent: str
    kind: str
    heavy: bool
    variant: str
    text: str
    right_reply: str
    clip_id: str
    started_s: float
    stopped_s: float
    over_s: float
    pauses: tuple[tuple[float, float], ...] = ()
    barged_in: bool = False
    released_s: float = float("nan")


@dataclass
class Backchannel:
    """A backchannel, made while the agent answered a turn; seconds, at the mouth."""

    turn: int
    text: str
    started_s: float
    stopped_s: float


class Tracks(NamedTuple):
    """A call as the caller has it, int16 at 16 kHz; sample 0 is the start of the call.

    Attributes:
        mouth: What left the mouth, background included, before any codec.
        ear: What was heard of the agent, after the line.
        speech: The caller's words alone. Where noise covers the end of a word, only these say when
            it ended.
    """

    mouth: np.ndarray
    ear: np.ndarray
    speech: np.ndarray


@dataclass
class CallRecord:
    """One finished call.

    Attributes:
        call: Index of the call in its study.
        seed: The study's base seed.
        persona: Who called.
        voice: The caller's voice.
        turns: What the caller said.
        segments: What the agent said.
        providers: What happened at the providers, in order.
        session: Rows of the session's own events, in order.
        up_delay_s: From a sample at the caller's mouth to its play-out at the agent.
        down_delay_s: From a sample at the agent to its play-out at the caller's ear.
        simulated_s: Length of the call on its own clock.
        wall_s: Time it took to run.
        refused: Whether it failed because the agent asked for a host the tunnel does not have.
        overrides: What was set on the agent's session from outside, as ``name=value``.
        survey: What the agent's session has, and what can be changed of it; see
            :func:`labkit.tunnel.override.survey`. Empty if none started.
        backchannels: The caller's backchannels.
        tracks: What the caller said and heard, if it was asked for.
    """

    call: int
    seed: int
    persona: str
    voice: str
    turns: list[CallerTurn]
    segments: list[ReplySegment]
    providers: list[Event]
    session: list[dict[str, Any]]
    up_delay_s: float
    down_delay_s: float
    simulated_s: float
    wall_s: float
    status: str = "ok"
    error: str = ""
    refused: bool = False
    connects: dict[str, int] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    survey: dict[str, Any] = field(default_factory=dict)
    backchannels: list[Backchannel] = field(default_factory=list)
    tracks: Tracks | None = None

    @classmethod
    def lost(cls, call: int, seed: int, error: str) -> CallRecord:
        """A call of which nothing is left but that it failed."""
        nan = float("nan")
        return cls(
            call=call, seed=seed, persona="", voice="", turns=[], segments=[], providers=[],
            session=[], up_delay_s=nan, down_delay_s=nan, simulated_s=nan, wall_s=nan,
            status="failed", error=error,
        )  # fmt: skip
