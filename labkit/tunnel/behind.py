"""What an agent plays behind its speech, such as ambience, on its way to the caller's ear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labkit.callers.ear import Ear, Heard
from labkit.callers.g711 import G711
from labkit.callers.line import Line


class Behind:
    """The tracks that an agent publishes besides its speech, as the caller hears them.

    Args:
        ear: Where they are heard, apart from speech.
        line: The way there.
        now: The call's clock, seconds.
        turn: The turn that is answered, by which the line counts its packets.
    """

    def __init__(
        self, ear: Ear, line: Line, now: Callable[[], float], turn: Callable[[], int]
    ) -> None:
        self._ear, self._line, self._now, self._turn = ear, line, now, turn
        self._counted = (-1, 0)  # the turn, and the first sample of that
        self._ends: dict[str, tuple[float, float, G711 | None]] = {}
        """Of each track: when all of it has left, when what its codec gives next leaves, and that
        codec."""

    def play(self, track: str, left_s: float, pcm: np.ndarray, rate_hz: int) -> None:
        """Takes samples of a track (int16, frames × channels) that leave at ``left_s``."""
        mono = pcm[:, 0] if pcm.shape[1] == 1 else pcm.mean(axis=1).astype(np.int16)
        end_s, at_s, coder = self._ends.get(track, (-1.0, left_s, None))
        if left_s > end_s + 1e-6:
            at_s, coder = left_s, self._line.coder(rate_hz)
        ends_s = left_s + len(mono) / rate_hz
        coded = coder.carry(mono) if coder else mono
        turn, first = self._turn(), round(at_s * rate_hz)
        if turn != self._counted[0]:
            self._counted = (turn, round(at_s * rate_hz))
        heard = self._line.carry("down", first, coded, rate_hz, self._counted)
        self._ends[track] = (ends_s, at_s + len(coded) / rate_hz, coder)
        self._ear.add_behind(track, Heard(at_s + self._line.down_s, heard, rate_hz))

    def cut(self, track: str) -> None:
        """What of a track has not left yet will not be heard."""
        self._ends.pop(track, None)
        self._ear.cut_behind(track, self._now() + self._line.down_s)
