"""Where on the caller's track the audio of a detector's socket is, and which words it held."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.providers.alignment import Alignment
from labkit.world.scene import SAMPLE_RATE_HZ, CallerTrack, SpokenWord

_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
_SAME_S = 1e-6


@dataclass
class Touched:
    """A word of which something was heard.

    Attributes:
        word: The word.
        ordinal: Its place among the words of its turn.
        heard_s: How much of it was heard, seconds.
    """

    word: SpokenWord
    ordinal: int
    heard_s: float = 0.0


class Overheard:
    """Follows the audio of one socket, 16 kHz mono.

    Attributes:
        words: Those touched since :meth:`forget`, in order.
    """

    def __init__(self, track: CallerTrack) -> None:
        self._track, self._alignment = track, Alignment(track)
        self._received = 0
        self._touched: dict[int, Touched] = {}

    @property
    def words(self) -> list[Touched]:
        return [self._touched[i] for i in sorted(self._touched)]

    def forget(self) -> None:
        """Begins a new stretch."""
        self._touched.clear()

    def feed(self, pcm: bytes) -> None:
        """Takes what was received next."""
        spans = self._alignment.place(pcm, self._received / _BYTES_PER_S)
        self._received += len(pcm)
        words = self._track.words
        for span in spans:
            from_s, to_s = span.at / _BYTES_PER_S, (span.at + span.size) / _BYTES_PER_S
            for i in range(len(words) - 1, -1, -1):  # the latest are the likeliest
                word = words[i]
                if word.end_s <= from_s:
                    break
                if word.start_s < to_s:
                    touched = self._touched.setdefault(i, Touched(word, self._ordinal(i)))
                    touched.heard_s += min(word.end_s, to_s) - max(word.start_s, from_s)

    def _ordinal(self, i: int) -> int:
        words = self._track.words
        return sum(1 for w in words[:i] if w.turn == words[i].turn)

    def goes_on(self) -> bool:
        """Whether the caller has yet to say words of the turn whose last word was heard."""
        heard_s = self._alignment.expected / _BYTES_PER_S
        said = [w for w in self._track.words if w.start_s < heard_s - _SAME_S]
        later = (w for w in self._track.words if w.start_s >= heard_s - _SAME_S)
        return bool(said) and any(w.turn == said[-1].turn for w in later)
