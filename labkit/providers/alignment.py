"""Finding which stretch of the caller's track each received chunk of audio is.

Usually a chunk is the next stretch, bit for bit, and one comparison settles it. Otherwise it may
have come after a gap, have holes, or have been resampled, made softer or noisier on its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from labkit.world.scene import SAMPLE_RATE_HZ, CallerTrack

Samples = npt.NDArray[np.float32]
Find = Callable[[bytes, CallerTrack], int]
"""Looks up a chunk, puts what it is part of on the track, gives its byte offset there or -1."""

_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
_FRAME = 1600  # bytes: larger chunks found nowhere are taken apart
_PIECE = 320  # bytes: 10 ms, the grain at which chunks with holes are matched
_HOLE = bytes(_PIECE)
_QUIET_RMS = 30.0  # int16 steps; softer chunks hold too little to be searched for
_NEAR = 64  # samples around the expected place that a resampled chunk may have slipped
_LOOK_BACK_S = 20.0  # how far back a chunk is searched first
_SEARCH_S = 8.0  # how far back a resampled or noisy chunk is searched, which is slow
_SEARCH_EVERY_S = 0.25  # audio found nowhere is not searched for more often than this
_ALIKE = 0.4  # correlation from which a chunk counts as that stretch of the track


class Span(NamedTuple):
    """Received audio and where it is from: ``size`` bytes of the track from byte ``at`` on."""

    at: int
    size: int
    begin_s: float
    """When it began, in seconds of received audio."""


class Alignment:
    """Follows one connection's audio along the track, both at 16 kHz.

    Attributes:
        noise: Power of the noise added on the way, at the track's loudness (int16 steps squared).
    """

    def __init__(self, track: CallerTrack, find: Find | None = None) -> None:
        self.noise = 0.0
        self._track = track
        self._find = find
        self._pos: int | None = None  # track byte expected next; None until something matched
        self._gone = 0  # bytes received since then that were not the track's
        self._missed: deque[bytes] = deque(maxlen=50)  # unmatched pieces, to look back on
        self._searched_s = -_SEARCH_EVERY_S
        self._spans: list[Span] = []

    @property
    def expected(self) -> int:
        """The byte of the track expected next if nothing was skipped."""
        return (self._pos or 0) + self._gone

    def place(self, pcm: bytes, begin_s: float) -> list[Span]:
        """The stretches of the track in a chunk that began at ``begin_s`` of received audio."""
        self._spans = []
        pos = self._pos
        if pos is not None and not self._gone and self._track.pcm.startswith(pcm, pos):
            self._found(pos, pcm, begin_s)
        elif not self._exact(pcm, begin_s):
            if len(pcm) > _FRAME:
                self._apart(pcm, begin_s, _FRAME)
            elif _HOLE in pcm and len(pcm) > _PIECE:
                self._apart(pcm, begin_s, _PIECE)
            else:
                self._roughly(pcm, begin_s)
        return self._spans

    def _found(self, at: int, pcm: bytes, begin_s: float, noise: float = 0.0) -> None:
        self._spans.append(Span(at, len(pcm), begin_s))
        self._pos, self._gone = at + len(pcm), 0
        self.noise = noise

    def _apart(self, pcm: bytes, begin_s: float, size: int) -> None:
        """Places the parts of a chunk one by one."""
        spans: list[Span] = []
        for i in range(0, len(pcm), size):
            part, part_s = pcm[i : i + size], begin_s + i / _BYTES_PER_S
            if size == _FRAME:
                spans += self.place(part, part_s)
            elif not self._exact(part, part_s):
                self._gone += len(part)
        self._spans = spans or self._spans

    # -- bit by bit --------------------------------------------------------------------------

    def _exact(self, pcm: bytes, begin_s: float) -> bool:
        """Matches bit by bit; digital silence only where it is expected."""
        track = self._track.pcm
        pos = self._pos
        if pos is not None:
            for expected in (pos + self._gone, pos):
                if expected < len(track) and track.startswith(pcm, expected):
                    self._found(expected, pcm, begin_s)
                    return True
        if pcm.count(0) == len(pcm):
            self._gone += len(pcm)
            return True
        if self._find is not None:
            return self._elsewhere(pcm, begin_s)
        # Background noise may repeat, so the latest place is the likeliest.
        at = track.rfind(pcm, max(0, len(track) - int(_LOOK_BACK_S * _BYTES_PER_S)))
        if at < 0:
            at = track.rfind(pcm, pos or 0)
        if at < 0 or at % 2:
            return False
        self._found(at, pcm, begin_s)
        return True

    def _elsewhere(self, pcm: bytes, begin_s: float) -> bool:
        """Looks a chunk up outside the track, with what came unmatched just before it."""
        assert self._find is not None
        silent = pcm.startswith(_HOLE)  # nothing to go by; its parts follow
        at = self._find(pcm, self._track) if not silent and self._may_search(begin_s) else -1
        if at < 0:
            self._missed.append(pcm)
            return False
        first = at
        while self._missed:
            before = self._missed.pop()
            if not self._track.pcm.startswith(before, first - len(before)):
                break
            first -= len(before)
        self._missed.clear()
        if first < at:
            self._spans.append(Span(first, at - first, begin_s - (at - first) / _BYTES_PER_S))
        self._found(at, pcm, begin_s)
        return True

    def _may_search(self, now_s: float) -> bool:
        if now_s - self._searched_s < _SEARCH_EVERY_S:
            return False
        self._searched_s = now_s
        return True

    # -- roughly -----------------------------------------------------------------------------

    def _roughly(self, pcm: bytes, begin_s: float) -> None:
        """Places a resampled, softer or noisier chunk, if it is the track's at all."""
        chunk = np.frombuffer(pcm, np.int16).astype(np.float32)
        loudness = float(chunk @ chunk) / max(len(chunk), 1)
        quiet = loudness < _QUIET_RMS**2
        if self._pos is not None:
            expected = self.expected // 2
            held = power(self._track, expected, expected + len(chunk))
            if held < max(loudness / 4, _QUIET_RMS**2):  # nothing there to tell by
                self._found(expected * 2, pcm, begin_s, self.noise)
                return
            if not quiet:
                at, alike = self._best(chunk, expected - _NEAR, expected + _NEAR)
                if alike >= _ALIKE:
                    self._found_noisy(at, pcm, begin_s, alike)
                    return
        if not quiet and self._may_search(begin_s):
            end = len(self._track.pcm) // 2
            first = end - int(_SEARCH_S * SAMPLE_RATE_HZ)
            at, alike = self._best(chunk, first, end - len(chunk))
            if alike >= _ALIKE:
                self._found_noisy(at, pcm, begin_s, alike)
                return
        self._gone += len(pcm)

    def _found_noisy(self, at: int, pcm: bytes, begin_s: float, alike: float) -> None:
        # A signal's correlation with itself plus noise tells the ratio of their powers.
        ratio = max(1 / alike**2 - 1, 0.0)
        noise = ratio * power(self._track, at, at + len(pcm) // 2)
        self._found(at * 2, pcm, begin_s, noise)

    def _best(self, chunk: Samples, first: int, last: int) -> tuple[int, float]:
        """The sample offset in ``first..last`` most like the chunk, and the correlation there."""
        first = max(first, 0)
        held = bytes(self._track.pcm[first * 2 : (max(last, first) + len(chunk)) * 2])
        track = np.frombuffer(held, np.int16).astype(np.float32)
        if len(track) < len(chunk):
            return first, 0.0
        size = 1 << (len(track) + len(chunk)).bit_length()
        spectrum = np.fft.rfft(track, size) * np.conj(np.fft.rfft(chunk, size))
        products = np.fft.irfft(spectrum, size)[: len(track) - len(chunk) + 1]
        sums = np.concatenate(([0.0], np.cumsum(track.astype(np.float64) ** 2)))
        energy = sums[len(chunk) :] - sums[: -len(chunk)]
        norm = np.sqrt(np.maximum(energy, 1.0) * max(float(chunk @ chunk), 1.0))
        alike = products / norm
        i = int(np.argmax(alike))
        return first + i, float(alike[i])


def power(track: CallerTrack, first: int, last: int) -> float:
    """Mean square of the track's samples ``first..last``; 0 where there are none."""
    samples = np.frombuffer(bytes(track.pcm[max(first, 0) * 2 : last * 2]), np.int16)
    values = samples.astype(np.float32)
    return float(values @ values) / len(values) if len(values) else 0.0
