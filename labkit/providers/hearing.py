"""What an emulated recogniser may report: only words whose samples reached it.

The caller's track holds every sample that left the caller's mouth and says when each word is
spoken. :class:`Hearing` finds out which stretch of the track each received chunk is, and from that
how much of each word arrived and when, counted in received audio as recognisers count it. Audio
may arrive late, with holes, in a burst, resampled, softer or noisier; a word is heard when enough
of it arrived, unless noise hides it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labkit.providers.profile import Profile
from labkit.providers.scene import SAMPLE_RATE_HZ, CallerTrack, SpokenWord
from labkit.randomness import uniform

Samples = npt.NDArray[np.float32]

_PIECE = 320  # bytes: 10 ms, the grain at which chunks with holes are matched
_ZEROS = bytes(1 << 16)
_QUIET_RMS = 30.0  # int16 steps; softer chunks hold too little to be searched for
_NEAR = 64  # samples around the expected place that a resampled chunk may have slipped
_LOOK_BACK_S = 20.0  # how far back a chunk is searched first
_SEARCH_S = 8.0  # how far back a resampled or noisy chunk is searched, which is slow
_SEARCH_EVERY_S = 0.25  # audio found nowhere is not searched for more often than this
_ALIKE = 0.4  # correlation from which a chunk counts as that stretch of the track


@dataclass(frozen=True)
class HeardWord:
    """A word as the recogniser understood it; times in seconds of received audio.

    ``turn`` and ``ordinal`` (its place among the words of that turn) name the occasion for luck.
    """

    turn: int
    ordinal: int
    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Ear:
    """How well a recogniser hears; all figures come from the provider's profile.

    Attributes:
        min_heard: Share of a word's samples that must arrive (0 to 1).
        clean_error: Chance that a word is lost or misheard however clean the sound (0 to 1).
        half_lost_db: How much louder than the speech noise is when half the words go wrong, dB.
        slope_db: How fast that chance falls with the ratio, dB per logistic unit.
        lost_share: Share of wrong words that are lost; the others are misheard (0 to 1).
    """

    min_heard: float = 0.6
    clean_error: float = 0.0
    half_lost_db: float = 5.0
    slope_db: float = 3.0
    lost_share: float = 0.5

    @classmethod
    def from_profile(cls, profile: Profile) -> Ear:
        """The ear of a provider's profile, table ``hearing``."""
        return cls(**{name: profile.value("hearing", name) for name in cls.__dataclass_fields__})

    def error_prob(self, snr_db: float) -> float:
        """Chance that a word heard at ``snr_db`` is lost or misheard."""
        x = (snr_db + self.half_lost_db) / self.slope_db
        return self.clean_error + (1 - self.clean_error) / (1 + math.exp(min(x, 60.0)))


# What a misheard word turns into: short, common, and plausible anywhere.
_MISHEARD = ("the", "and", "for", "him", "there", "then", "one", "was", "when", "your", "all", "more")


@dataclass
class _Part:
    """How much of one word has arrived."""

    heard_s: float = 0.0
    start_s: float = math.inf
    end_s: float = 0.0


class Hearing:
    """Follows the audio of one connection along the caller's track.

    Attributes:
        received_s: Audio received so far, seconds; every other time here counts it too.
        speech_start_s: When the present or latest stretch of speech began.
        speech_end_s: When the last sample of speech was received; -inf before any speech.
    """

    def __init__(
        self,
        track: CallerTrack,
        sample_rate_hz: int,
        ear: Ear,
        *,
        seed: int = 0,
        key: tuple[int | str, ...] = (),
        gap_s: float = 0.12,
        find: Callable[[bytes, CallerTrack], int] | None = None,
    ) -> None:
        """Starts listening.

        Args:
            track: What the caller says.
            sample_rate_hz: Rate of the audio that will be fed, Hz.
            ear: How well it hears.
            seed: Base seed of the luck with noisy words.
            key: Names this call within the seed's streams.
            gap_s: Silence that separates two stretches of speech, seconds.
            find: Where a chunk (16 kHz) that the track does not hold can be found after all: puts
                what it found on the track and returns its byte offset, or -1.
        """
        self._track = track
        self._rate = sample_rate_hz
        self._ear = ear
        self._seed, self._key = seed, key
        self._gap_s = gap_s
        self._find = find
        self._pos: int | None = None  # track byte expected next; None until something matched
        self._gone = 0  # bytes received since then that were not the track's
        self._next = 0  # first word that may still be touched by audio at _pos
        self._parts: dict[int, _Part] = {}
        self._open: list[int] = []  # words begun and not reported
        self._new: list[HeardWord] = []
        self._noise: tuple[float, float] = (-math.inf, 0.0)  # noise power, measured up to when
        self._channel_noise = 0.0  # noise-to-signal power ratio added on the way
        self._searched_s = -math.inf
        self.received_s = 0.0
        self.speech_start_s = -math.inf
        self.speech_end_s = -math.inf

    # -- what came ---------------------------------------------------------------------------

    def feed(self, pcm: bytes) -> None:
        """Takes the next chunk of received audio, mono 16-bit at the connection's rate."""
        begin_s = self.received_s
        self.received_s = begin_s + len(pcm) / 2 / self._rate
        if self._rate != SAMPLE_RATE_HZ:
            pcm = _resample(pcm, self._rate)
        pos = self._pos
        if pos is not None and not self._gone and self._track.pcm.startswith(pcm, pos):
            self._channel_noise = 0.0
            self._advance(pos, len(pcm), begin_s)
        else:
            self._place(pcm, begin_s)
        if self._open:
            self._settle()

    def _place(self, pcm: bytes, begin_s: float) -> None:
        """Finds where on the track an unexpected chunk is from."""
        if self._exact(pcm, begin_s):
            return
        if len(pcm) > _PIECE and (_ZEROS[:_PIECE] in pcm):  # holes: match what is between them
            for i in range(0, len(pcm), _PIECE):
                piece = pcm[i : i + _PIECE]
                if not self._exact(piece, begin_s + i / 2 / SAMPLE_RATE_HZ):
                    self._gone += len(piece)
            return
        at = self._similar(pcm)
        if at is None:
            self._gone += len(pcm)
        else:
            self._advance(at, len(pcm), begin_s)

    def _exact(self, pcm: bytes, begin_s: float) -> bool:
        """Matches bit by bit; digital silence only where it is expected."""
        track = self._track.pcm
        pos = self._pos
        if pos is not None:
            for expected in (pos + self._gone, pos):
                if track.startswith(pcm, expected) and expected < len(track):
                    self._channel_noise = 0.0
                    self._advance(expected, len(pcm), begin_s)
                    return True
        if pcm == _ZEROS[: len(pcm)]:
            self._gone += len(pcm)
            return True
        # Room tone may repeat, so the latest place is the likeliest.
        at = track.rfind(pcm, max(0, len(track) - int(_LOOK_BACK_S * 2 * SAMPLE_RATE_HZ)))
        if at < 0:
            at = track.rfind(pcm, 0 if pos is None else pos)
        if at < 0 and self._find is not None and self._may_search():
            at = self._find(pcm, self._track)
        if at < 0 or at % 2:
            return False
        self._channel_noise = 0.0
        self._advance(at, len(pcm), begin_s)
        return True

    def _may_search(self) -> bool:
        if self.received_s - self._searched_s < _SEARCH_EVERY_S:
            return False
        self._searched_s = self.received_s
        return True

    def _similar(self, pcm: bytes) -> int | None:
        """Where a resampled, softer or noisier chunk is from; ``None`` if it is not the track's."""
        chunk = np.frombuffer(pcm, np.int16).astype(np.float32)
        power = float(chunk @ chunk) / max(len(chunk), 1)
        expected = None if self._pos is None else self._pos + self._gone
        if expected is None and power < _QUIET_RMS**2:
            return None
        if expected is not None:
            at_s = expected / 2 / SAMPLE_RATE_HZ
            held = self._power(at_s, at_s + len(chunk) / SAMPLE_RATE_HZ)
            if held < max(power / 4, _QUIET_RMS**2):  # nothing there to tell by: go on as expected
                return expected
            if power < _QUIET_RMS**2:
                return None
            at, alike = self._best(chunk, expected // 2 - _NEAR, expected // 2 + _NEAR)
            if alike >= _ALIKE:
                return self._note(at, alike)
        if not self._may_search():
            return None
        end = len(self._track.pcm) // 2
        at, alike = self._best(chunk, end - int(_SEARCH_S * SAMPLE_RATE_HZ), end - len(chunk))
        return self._note(at, alike) if alike >= _ALIKE else None

    def _note(self, at: int, alike: float) -> int:
        # The correlation of a signal with itself plus independent noise tells their ratio.
        self._channel_noise = max(1 / alike**2 - 1, 0.0)
        return at * 2

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

    # -- what it means -----------------------------------------------------------------------

    def _advance(self, at: int, size: int, begin_s: float) -> None:
        """Counts track bytes ``at..at + size`` as received from ``begin_s`` on."""
        words = self._track.words
        if self._pos is None or at < self._pos:  # the first match, or audio sent again
            self._next = max(bisect_right(words, at / 2 / SAMPLE_RATE_HZ, key=_start) - 1, 0)
        self._pos, self._gone = at + size, 0
        from_s, to_s = at / 2 / SAMPLE_RATE_HZ, (at + size) / 2 / SAMPLE_RATE_HZ
        i = self._next
        while i < len(words) and words[i].start_s < to_s:
            word = words[i]
            if word.end_s > from_s:
                self._touch(i, word, from_s, to_s, begin_s - from_s)
            if word.end_s <= to_s and i == self._next:
                self._next = i + 1
            i += 1

    def _touch(self, i: int, word: SpokenWord, from_s: float, to_s: float, shift_s: float) -> None:
        part = self._parts.get(i)
        if part is None:
            part = self._parts[i] = _Part()
            self._open.append(i)
        start_s, end_s = max(word.start_s, from_s), min(word.end_s, to_s)
        part.heard_s += end_s - start_s
        part.start_s = min(part.start_s, start_s + shift_s)
        part.end_s = max(part.end_s, end_s + shift_s)
        if start_s + shift_s - self.speech_end_s > self._gap_s:
            self.speech_start_s = start_s + shift_s
        self.speech_end_s = max(self.speech_end_s, end_s + shift_s)

    def _settle(self, everything: bool = False) -> None:
        """Reports the begun words that are over and of which enough arrived."""
        assert self._pos is not None
        now_s = (self._pos + self._gone) / 2 / SAMPLE_RATE_HZ + 1e-6
        still = []
        for i in self._open:
            word, part = self._track.words[i], self._parts[i]
            if word.end_s > now_s and not everything:
                still.append(i)
            elif part.heard_s >= self._ear.min_heard * (word.end_s - word.start_s) - 1e-6:
                self._report(i, word, part)
            elif word.end_s > now_s - 30.0 and not everything:
                still.append(i)  # the rest may still come
        self._open = still

    def _report(self, i: int, word: SpokenWord, part: _Part) -> None:
        text = word.said or word.text
        snr_db = self._snr_db(i, word)
        prob = self._ear.error_prob(snr_db)
        first = i
        while first and self._track.words[first - 1].turn == word.turn:
            first -= 1
        name = (*self._key, word.turn, i - first)
        luck = uniform(self._seed, "hearing.word", *name)
        if luck < prob * self._ear.lost_share:
            return
        if luck < prob:
            pick = uniform(self._seed, "hearing.misheard", *name)
            text = _MISHEARD[int(pick * len(_MISHEARD))]
        confidence = (1 - prob) * (0.995 - 0.06 * uniform(self._seed, "hearing.sure", *name) ** 3)
        self._new.append(
            HeardWord(
                word.turn, i - first, text, part.start_s, part.end_s, round(confidence, 4)
            )
        )

    def _snr_db(self, i: int, word: SpokenWord) -> float:
        """Signal-to-noise ratio of a word: the track's own noise and what the way added, dB."""
        previous_s = self._track.words[i - 1].end_s if i else 0.0
        if word.start_s - previous_s >= 0.2 and word.start_s > self._noise[0]:
            self._noise = (word.start_s, self._power(word.start_s - 0.2, word.start_s))
        power = self._power(word.start_s, word.end_s)
        if power <= 0:
            return 99.0
        own = min(self._noise[1] / power, 1.0)
        signal = max(1 - own, 1e-3)
        noise = own + self._channel_noise
        return 99.0 if noise <= 0 else 10 * math.log10(signal / noise)

    def _power(self, from_s: float, to_s: float) -> float:
        a, b = int(from_s * SAMPLE_RATE_HZ) * 2, int(to_s * SAMPLE_RATE_HZ) * 2
        samples = np.frombuffer(bytes(self._track.pcm[max(a, 0) : b]), np.int16).astype(np.float32)
        return float(samples @ samples) / len(samples) if len(samples) else 0.0

    # -- what to tell ------------------------------------------------------------------------

    def take(self) -> list[HeardWord]:
        """Words newly heard since the last call."""
        if not self._new:
            return []
        new, self._new = self._new, []
        return new

    def finish(self) -> None:
        """No more audio is expected for now: words cut short are judged by what arrived."""
        if self._open:
            self._settle(everything=True)

    @property
    def silence_s(self) -> float:
        """Audio received since the last sample of speech, seconds."""
        return self.received_s - self.speech_end_s


def _start(word: SpokenWord) -> float:
    return word.start_s


def _resample(pcm: bytes, rate_hz: int) -> bytes:
    samples = np.frombuffer(pcm, np.int16)
    count = round(len(samples) * SAMPLE_RATE_HZ / rate_hz)
    places = np.arange(count) * (rate_hz / SAMPLE_RATE_HZ)
    values = np.interp(places, np.arange(len(samples)), samples)
    return np.asarray(values, np.int16).tobytes()
