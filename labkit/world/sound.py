"""What recordings, callers and detectors agree on about samples."""

from __future__ import annotations

import numpy as np

from labkit.world.clips import CALLER_RATE_HZ, Pcm

FRAME = CALLER_RATE_HZ // 100
"""Samples of a 10 ms frame."""
VOICED_DB = -35.0
"""A frame is voiced when it is within this of the loudest one, as in the speech corpus."""


def frame_power(samples: np.ndarray) -> np.ndarray:
    """Mean square of each whole 10 ms frame."""
    whole = len(samples) // FRAME * FRAME
    frames = samples[:whole].astype(np.float64).reshape(-1, FRAME)
    power: np.ndarray = np.mean(frames**2, axis=1)
    return power


def to_pcm(samples: np.ndarray) -> Pcm:
    """Samples in 16-bit units as int16: rounded, and clipped where they are too loud."""
    pcm: Pcm = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return pcm
