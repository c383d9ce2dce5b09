"""Clips of speech and the words in them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

CALLER_RATE_HZ = 16_000
AGENT_RATE_HZ = 24_000

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Word:
    """One word as a smart transcript writes it, and when it sounds, in seconds from the start."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One utterance of a caller: starts and ends with voiced sound, pauses are digital silence."""

    clip_id: str
    voice: str
    dialogue: str
    """Empty for back-channels and barge-ins."""
    turn: str
    variant: str
    text: str
    """What a perfect transcript reads; equal to the words joined by spaces."""
    words: tuple[Word, ...]
    speech_end_s: float
    """End of the last voiced 10 ms frame."""
    pauses: tuple[tuple[float, float], ...]
    """Start and end of each marked pause in seconds; unmarked silence never exceeds 0.25 s."""
    pause_kinds: tuple[str, ...] = ()
    """What comes before each of these pauses, one of ``labkit.world.turn.PAUSE_KINDS``."""
    pcm: Pcm = field(repr=False)
    """Mono, 16 kHz, read-only."""

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return len(self.pcm) / CALLER_RATE_HZ

    @property
    def n_pauses(self) -> int:
        """How many pauses the text asked for."""
        return len(self.pauses)


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentClip:
    """One or more sentences in the agent's voice."""

    text: str
    words: tuple[Word, ...]
    pcm: Pcm = field(repr=False)
    """Mono, 24 kHz, read-only."""

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return len(self.pcm) / AGENT_RATE_HZ
