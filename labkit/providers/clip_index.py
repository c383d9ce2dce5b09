"""An index that finds a few milliseconds of audio among many recordings, in less than 1 ms.

Of the sounds, windows of 32 samples are noted at every 128th sample. Whatever holds 160 samples of
a sound holds one of these windows, wherever it was cut out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_WINDOW, _STEP = 32, 128  # samples
NEEDLE = _WINDOW + _STEP  # samples that are enough to be found by
_Words = npt.NDArray[np.uint64]


def _hashed(windows: npt.NDArray[np.int16]) -> _Words:
    """One number for each row of 32 samples."""
    words = np.ascontiguousarray(windows).view(np.uint64)
    odd = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed: _Words = (words * (odd | np.uint64(1))).sum(axis=1, dtype=np.uint64)
    return mixed


class SoundIndex:
    """Where each of some sounds, laid end to end, can be recognised."""

    def __init__(self, pcm: bytes) -> None:
        """Indexes 16-bit samples."""
        self.pcm = pcm
        samples = np.frombuffer(pcm, np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_STEP]
        starts = np.flatnonzero(windows.any(axis=1))
        hashes = _hashed(windows[starts])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._starts = hashes[order], starts[order] * _STEP

    def find(self, needle: bytes) -> Iterator[int]:
        """The byte offsets at which the first samples of ``needle`` stand, in rising order."""
        samples = np.frombuffer(needle[: 2 * NEEDLE], np.int16)
        if len(samples) < _WINDOW:
            return
        windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[:_STEP]
        hashes = _hashed(windows)
        first = np.searchsorted(self._hashes, hashes, "left")
        last = np.searchsorted(self._hashes, hashes, "right")
        places = {
            2 * (int(self._starts[i]) - shift)
            for shift in np.flatnonzero(last > first).tolist()
            for i in range(int(first[shift]), int(last[shift]))
        }
        for at in sorted(places):
            if at >= 0 and self.pcm.startswith(needle, at):
                yield at
