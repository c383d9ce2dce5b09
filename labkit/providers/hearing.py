"""What an emulated STT may report: only words whose samples reached it.

The caller's track holds every sample that left the caller's mouth and says when each word is
spoken. :class:`Hearing` finds out which stretch of the track each received chunk is, and from that
how much of each word arrived and when, counted in received audio as STT count it. Audio
may arrive late, with holes, in a burst, resampled, softer or noisier; a word is heard when enough
of it arrived, unless noise hides it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from labkit.providers.alignment import Alignment, Find, Span, power
from labkit.providers.profile import Profile
from labkit.providers.voice import resample
from labkit.randomness import uniform
from labkit.world.scene import SAMPLE_RATE_HZ, CallerTrack, SpokenWord


@dataclass(frozen=True)
class HeardWord:
    """A word as the STT understood it; times in seconds of received audio.

    ``turn`` and ``ordinal`` (its place among the words of that turn) name its random draws.
    """

    turn: int
    ordinal: int
    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Acuity:
    """How well an STT hears; all figures come from the provider's profile.

    Attributes:
        min_heard: Proportion of a word's samples that must arrive (0 to 1).
        clean_error: Chance that a word is lost or misheard however clean the sound (0 to 1).
        half_lost_db: How much louder than the speech noise is when half the words go wrong, dB.
        slope_db: How fast that chance falls with the ratio, dB per logistic unit.
        lost_share: Proportion of wrong words that are lost; the others are misheard (0 to 1).
    """

    min_heard: float = 0.6
    clean_error: float = 0.0
    half_lost_db: float = 5.0
    slope_db: float = 3.0
    lost_share: float = 0.5

    @classmethod
    def from_profile(cls, profile: Profile) -> Acuity:
        """That of a provider's profile, table ``hearing``."""
        return cls(**{name: profile.value("hearing", name) for name in cls.__dataclass_fields__})

    def error_prob(self, snr_db: float) -> float:
        """Chance that a word heard at ``snr_db`` is lost or misheard."""
        x = (snr_db + self.half_lost_db) / self.slope_db
        return self.clean_error + (1 - self.clean_error) / (1 + math.exp(min(x, 60.0)))


# What a misheard word turns into: short, common, and plausible anywhere.
_MISHEARD = ("the", "and", "for", "him", "there", "then", "one", "was", "when", "your", "all")


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
        acuity: Acuity,
        *,
        seed: int = 0,
        key: tuple[int | str, ...] = (),
        gap_s: float = 0.12,
        find: Find | None = None,
    ) -> None:
        """Starts listening.

        Args:
            track: What the caller says.
            sample_rate_hz: Rate of the audio that will be fed, Hz.
            acuity: How well it hears.
            seed: Base seed of the random draws for noisy words.
            key: Names this call within the seed's streams.
            gap_s: Silence that separates two stretches of speech, seconds.
            find: For a track that nobody else fills: looks up a chunk (16 kHz), puts what it is
                part of on the track and returns its byte offset there, or -1.
        """
        self._track = track
        self._rate = sample_rate_hz
        self._acuity = acuity
        self._seed, self._key = seed, key
        self._gap_s = gap_s
        self._alignment = Alignment(track, find)
        self._end = -1  # byte of the track up to which audio was counted; -1 before any
        self._next = 0  # first word that may still be touched by audio from there on
        self._parts: dict[int, _Part] = {}
        self._open: list[int] = []  # words begun and not reported
        self._new: list[HeardWord] = []
        self._noise = 0.0  # power of what is heard between the words
        self.received_s = 0.0
        self.speech_start_s = -math.inf
        self.speech_end_s = -math.inf

    def feed(self, pcm: bytes) -> None:
        """Takes the next chunk of received audio, mono 16-bit at the connection's rate."""
        begin_s = self.received_s
        self.received_s = begin_s + len(pcm) / 2 / self._rate
        if self._rate != SAMPLE_RATE_HZ:
            samples = np.frombuffer(pcm, np.int16)
            pcm = resample(samples, self._rate, SAMPLE_RATE_HZ).tobytes()
        for span in self._alignment.place(pcm, begin_s):
            self._count(span)
        if self._open:
            self._settle()

    def _count(self, span: Span) -> None:
        """Counts a stretch of the track as received."""
        words = self._track.words
        from_s = span.at / 2 / SAMPLE_RATE_HZ
        to_s = (span.at + span.size) / 2 / SAMPLE_RATE_HZ
        if span.at < self._end or self._end < 0:  # audio sent again, or the first
            self._next = max(bisect_right(words, from_s, key=_start) - 1, 0)
        self._end = span.at + span.size
        i = self._next
        while i < len(words) and words[i].start_s < to_s:
            word = words[i]
            if word.end_s > from_s:
                self._touch(i, word, from_s, to_s, span.begin_s - from_s)
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
        now_s = self._alignment.expected / 2 / SAMPLE_RATE_HZ + 1e-6
        still = []
        for i in self._open:
            word, part = self._track.words[i], self._parts[i]
            if word.end_s > now_s and not everything:
                still.append(i)
            elif part.heard_s >= self._acuity.min_heard * (word.end_s - word.start_s) - 1e-6:
                self._report(i, word, part)
            elif word.end_s > now_s - 30.0 and not everything:
                still.append(i)  # the rest may still come
        self._open = still

    def _report(self, i: int, word: SpokenWord, part: _Part) -> None:
        text = word.said or word.text
        snr_db = self._snr_db(i, word)
        prob = self._acuity.error_prob(snr_db)
        first = i
        while first and self._track.words[first - 1].turn == word.turn:
            first -= 1
        name = (*self._key, word.turn, i - first)
        u = uniform(self._seed, "hearing.word", *name)
        if u < prob * self._acuity.lost_share:
            return
        if u < prob:
            pick = uniform(self._seed, "hearing.misheard", *name)
            text = _MISHEARD[int(pick * len(_MISHEARD))]
        confidence = (1 - prob) * (0.995 - 0.06 * uniform(self._seed, "hearing.sure", *name) ** 3)
        self._new.append(
            HeardWord(word.turn, i - first, text, part.start_s, part.end_s, round(confidence, 4))
        )

    def _snr_db(self, i: int, word: SpokenWord) -> float:
        """Signal-to-noise ratio of a word: the track's own noise and what the way added, dB."""
        gap_s = word.start_s - (self._track.words[i - 1].end_s if i else 0.0)
        if gap_s >= 0.2:
            self._noise = self._power(word.start_s - 0.2, word.start_s)
        loudness = self._power(word.start_s, word.end_s)
        if loudness <= 0:
            return 99.0
        own = min(self._noise, loudness)
        noise = own + self._alignment.noise
        return 99.0 if noise <= 0 else 10 * math.log10(max(loudness - own, 1e-3 * loudness) / noise)

    def _power(self, from_s: float, to_s: float) -> float:
        return power(self._track, int(from_s * SAMPLE_RATE_HZ), int(to_s * SAMPLE_RATE_HZ))

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
