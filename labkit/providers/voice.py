"""Sound for any text: what an emulated TTS says.

Sentences of the speech corpus sound as recorded there. Any other text becomes a hum with the
rhythm of speech: a buzz at a speaker's pitch with one swell per syllable, at an ordinary speaking
rate, with pauses at commas and full stops. The same text always gives the same sound.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labkit.providers.recent import Recent
from labkit.world.clips import AGENT_RATE_HZ, AgentClip, Pcm, Word
from labkit.world.speech import SpeechCorpus

_CHARACTERS_PER_S = 15.0  # ordinary English reading speed, spaces included
_REMEMBERED_BYTES = 128 << 20
_BLOCK = 1 << 14  # samples worked on at once, so that they stay in the processor's cache
_PEAK = 9000  # int16 steps, about -11 dBFS
_PAUSES_S = {",": 0.12, ";": 0.15, ":": 0.15, ".": 0.25, "?": 0.25, "!": 0.25}
_MARKUP = re.compile(r"<[^<>]*>")
_VOWELS = re.compile(r"[aeiouy]+", re.IGNORECASE)


@dataclass(frozen=True)
class Sound:
    """Mono 16-bit samples with their words."""

    pcm: Pcm
    rate_hz: int
    words: tuple[Word, ...]

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / self.rate_hz


AgentSentence = Callable[[str], AgentClip | None]


@lru_cache(maxsize=1)
def _corpus() -> SpeechCorpus:
    return SpeechCorpus.load()


def corpus_sentence(text: str) -> AgentClip | None:
    """The speech corpus' recording of what an agent says, if it has all of it."""
    return _corpus().agent_speech(text)


class Voice:
    """Speaks sentences, remembering those it has spoken."""

    def __init__(self, agent_sentence: AgentSentence = corpus_sentence) -> None:
        """Makes a voice.

        Args:
            agent_sentence: Looks sentences up (24 kHz); what it does not know is hummed.
        """
        self._agent_sentence = agent_sentence
        # an agent repeats itself: greetings, questions, answers of paired arms
        self._said: Recent[tuple[str, int], Sound] = Recent(
            _REMEMBERED_BYTES, lambda sound: sound.pcm.nbytes
        )

    def say(self, text: str, rate_hz: int) -> Sound:
        """The sound of a sentence; its words are written as given, without markup."""
        plain = " ".join(_MARKUP.sub(" ", text).split())
        return self._said.made((plain, rate_hz), lambda: self._make(plain, rate_hz))

    def _make(self, text: str, rate_hz: int) -> Sound:
        clip = self._agent_sentence(text)
        if clip is None:
            return hum(text, rate_hz)
        tokens, end_s = text.split(), len(clip.pcm) / AGENT_RATE_HZ
        if len(tokens) == len(clip.words):
            spans = [(w.start_s, w.end_s) for w in clip.words]
        else:  # the recording counts its words differently, as with "24" or "don't"
            each_s = end_s / len(tokens)
            spans = [(i * each_s, (i + 1) * each_s) for i in range(len(tokens))]
        words = tuple(Word(t, a, b) for t, (a, b) in zip(tokens, spans, strict=True))
        return Sound(resample(np.asarray(clip.pcm), AGENT_RATE_HZ, rate_hz), rate_hz, words)


def resample(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """Changes the rate by linear interpolation, which is enough for what is only measured."""
    if from_hz == to_hz:
        return pcm
    count = round(len(pcm) * to_hz / from_hz)
    places = np.arange(count) * (from_hz / to_hz)
    return np.asarray(np.interp(places, np.arange(len(pcm)), pcm), np.int16)


def hum(text: str, rate_hz: int) -> Sound:
    """A sound with the rhythm of ``text``."""
    words: list[Word] = []
    swells: list[tuple[float, float]] = []  # start and length of every syllable, seconds
    at_s = 0.0
    for text_word in text.split():
        length_s = (len(text_word) + 1) / _CHARACTERS_PER_S
        syllables = max(len(_VOWELS.findall(text_word)), 1)
        spoken_s = length_s * 0.92
        swells += [
            (at_s + i * spoken_s / syllables, spoken_s / syllables) for i in range(syllables)
        ]
        words.append(Word(text_word, round(at_s, 3), round(at_s + spoken_s, 3)))
        at_s += length_s + _PAUSES_S.get(text_word[-1], 0.0)
    end_s = words[-1].end_s if words else 0.0
    count = math.ceil(end_s * rate_hz)
    level = np.zeros(count, np.float32)
    for start_s, length_s in swells:
        a, b = int(start_s * rate_hz), min(int((start_s + length_s) * rate_hz), count)
        level[a:b] = 0.25 + 0.75 * np.sin(np.linspace(0, np.pi, b - a, dtype=np.float32))
    pitch_hz = 110 + 60 * hashlib.sha256(text.encode()).digest()[0] / 255
    pcm = np.empty(count, np.int16)
    for a in range(0, count, _BLOCK):
        b = min(a + _BLOCK, count)
        t = np.arange(a, b, dtype=np.float32) / rate_hz
        phase = 2 * np.pi * pitch_hz * t + 2 * np.sin(2 * np.pi * 3 * t)
        buzz = sum(np.sin(k * phase) / k for k in range(1, 9))
        block = np.asarray(level[a:b] * buzz * (_PEAK / 1.9), np.float32)
        pcm[a:b] = np.clip(block, -32768, 32767).astype(np.int16)
    return Sound(pcm, rate_hz, tuple(words))
