"""What an emulated provider may know about the call in progress.

An emulated STT cannot truly hear, so it is told what the caller says and when; it must still decide
from the audio that *reaches* it which of those words it may report. The scene is the only channel
between the caller's side and the providers, and it is replaced with every call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.world.clips import Pcm
from labkit.world.events import EventLog

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class SpokenWord:
    """A word on the caller's track; times in seconds from the track's first sample."""

    text: str
    start_s: float
    end_s: float
    turn: int
    said: str = ""
    """What an ideal STT would write; ``text`` if empty."""


class CallerTrack:
    """Everything the caller has said so far, as 16 kHz mono 16-bit PCM, and its words.

    It is what leaves the caller's device, so with what a telephone's codec does to it.

    ``pcm`` grows as the caller speaks (with background noise between utterances); ``words`` is
    sorted by time and holds each word *before* its samples are sent: a reader must compare times.
    """

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.words: list[SpokenWord] = []

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / 2 / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Spoken:
    """What an LLM may have spoken: its text, the turn it is about, and what names its draws."""

    text: str
    turn: int
    name: tuple[int | str, ...]


_ANSWERS = 50


@dataclass
class Scene:
    """The call in progress.

    Attributes:
        seed: The study's base seed.
        call: Index of the call within the study.
        turn: Index of the caller's current turn; -1 before the first one.
        dialogue: Name of the dialogue being played; empty if nothing is known.
        dialogues: Every dialogue that answers may come from, by name.
        track: What the caller says.
        local_eot: The SDK's local end-of-turn model, where there is one: the probability that a
            turn is over, from its last sounds (int16, 16 kHz).
        answers: The latest answers of the LLMs that may be spoken, begun or not.
        log: Events of the providers.
    """

    seed: int = 0
    call: int = 0
    turn: int = -1
    dialogue: str = ""
    dialogues: Mapping[str, Any] = field(default_factory=dict)
    track: CallerTrack = field(default_factory=CallerTrack)
    local_eot: Callable[[Pcm], float] | None = None
    answers: deque[Spoken] = field(default_factory=lambda: deque(maxlen=_ANSWERS))
    log: EventLog = field(default_factory=EventLog)
