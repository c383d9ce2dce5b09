"""Whole recordings that are sent to be transcribed."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np


def read_wav(data: bytes) -> tuple[int, int, bytes]:
    """Sample rate (Hz), channels and samples of a 16-bit WAV, which may be cut short.

    Raises:
        ValueError: it is something else.
    """
    try:
        with wave.open(io.BytesIO(data)) as f:
            if f.getsampwidth() != 2:
                raise ValueError("only 16-bit samples are decoded")
            if not 1 <= f.getnchannels() <= 20 or not 8_000 <= f.getframerate() <= 48_000:
                raise ValueError("such a format is not decoded")
            return f.getframerate(), f.getnchannels(), f.readframes(f.getnframes())
    except (wave.Error, EOFError, RuntimeError, OverflowError, struct.error) as e:
        raise ValueError(str(e)) from None


def first_channel(pcm: bytes, channels: int) -> bytes:
    """The first channel of interleaved 16-bit samples."""
    if channels == 1:
        return pcm
    whole = len(pcm) - len(pcm) % (2 * channels)
    return np.frombuffer(pcm[:whole], np.int16)[::channels].tobytes()
