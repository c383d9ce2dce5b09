"""The voices of the corpus: text in, audio with one time span per written word out.

Build-time only. Each engine is one small class behind the ``Voice`` protocol, so a voice that goes
away can be replaced without touching anything else: give ``render`` and add it to ``SOURCES``.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.signal import resample_poly
from timing import Span

DRAWN = 2.0
"""How many times its length a drawn-out word lasts."""


@dataclass(frozen=True)
class Take:
    """One synthesised sentence: float samples at ``rate`` and a span in seconds per word."""

    samples: np.ndarray
    rate: int
    spans: list[Span]


class Voice(Protocol):
    """What a build needs of a speech engine."""

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        """Speaks one sentence at a sample rate in Hz; ``drawn`` words last ``DRAWN`` times."""


def resampled(samples: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Band-limited resampling to ``ratio`` times as many samples."""
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), dtype=np.float32)


@dataclass(frozen=True)
class Kept:
    """A voice whose takes are kept on disk, as some engines take as long as the speech lasts."""

    voice: Voice
    name: str
    folder: Path = field(repr=False)

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        """The take in the folder, made first if it is not there."""
        key = repr((self.name, repr(self.voice), sentence, rate, sorted(drawn)))
        file = self.folder / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        if not file.exists():
            take = self.voice.render(sentence, rate, drawn)
            self.folder.mkdir(parents=True, exist_ok=True)
            half = file.with_suffix(".part")
            half.write_bytes(pickle.dumps(take))
            half.rename(file)
        take = pickle.loads(file.read_bytes())
        assert isinstance(take, Take)
        return take
