"""Voices of the Festvox project, run as programs: flite and festival (Debian packages).

Neither can be told how long a word lasts, so words are drawn out afterwards, in the sound.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile as sf
from timing import Span, aligned, spans_of
from voices import DRAWN, Take, resampled

SAY = {"Mhm.": "Um hum.", "Uh-huh.": "Uh huh."}
"""What their dictionaries read as the sound that is meant."""


def drawn_out(samples: np.ndarray, rate: int, spans: list[Span], drawn: frozenset[int]) -> Take:
    """Stretches words in the sound (Rubber Band, by way of pedalboard); the rest moves along."""
    from pedalboard import time_stretch

    out: list[np.ndarray] = []
    moved: list[Span] = []
    now_s, at = 0.0, 0
    for i, (start_s, end_s) in enumerate(spans):
        start = max(at, round(start_s * rate))
        end = max(start + 1, round(end_s * rate))
        out.append(samples[at:start])
        word = samples[start:end]
        if i in drawn:
            word = time_stretch(word.astype(np.float32), rate, stretch_factor=1 / DRAWN)[0]
        now_s += (start - at) / rate
        moved.append((now_s, now_s + len(word) / rate))
        now_s += len(word) / rate
        out.append(word)
        at = end
    return Take(np.concatenate([*out, samples[at:]]), rate, moved)


def _one_each(sentence: str, spans: list[Span]) -> list[Span]:
    """Spans of the words as written, where ``SAY`` spells one as two."""
    return [(spans[0][0], spans[-1][1])] if sentence in SAY else spans


@dataclass(frozen=True)
class FliteVoice:
    """flite with one of its built-in voices (``rms``, ``awb``)."""

    name: str
    pace: float = 1.0

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        said = SAY.get(sentence, sentence)
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            ends = self._phones(said, file.name)
            samples, own_rate = sf.read(file.name, dtype="float32")
        phones = [p for p, _ in ends]
        seconds = np.diff([0.0, *(end for _, end in ends)])
        sounding = [i for i, p in enumerate(phones) if p != "pau"]
        words = [self._alone(w) for w in said.split()]
        owner = [-1] * len(phones)
        for i, word in zip(sounding, aligned([phones[i] for i in sounding], words), strict=True):
            owner[i] = word
        spans = spans_of(owner, list(seconds), len(words))
        take = drawn_out(samples, own_rate, _one_each(sentence, spans), drawn)
        return Take(resampled(take.samples, Fraction(rate, own_rate)), rate, take.spans)

    def _phones(self, text: str, path: str) -> list[tuple[str, float]]:
        """The phones of a text and their ends in seconds; writes the sound."""
        pace = ["--setf", f"duration_stretch={1 / self.pace}"]
        command = ["flite", "-voice", self.name, *pace, "-psdur", "-t", text, "-o", path]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [(p, float(end)) for p, end in re.findall(r"(\S+):(\S+)", lines)]

    @functools.cache  # noqa: B019 - there are two such voices
    def _alone(self, word: str) -> tuple[str, ...]:
        return tuple(p for p, _ in self._phones(f"{word} ", "none") if p != "pau")


SCRIPT = """
(set! utt (eval (list 'Utterance 'Text "{text}")))
(utt.synth utt)
(utt.save.wave utt "{path}" 'riff)
(set! spoken (fopen "{path}.txt" "w"))
(mapcar (lambda (token)
  (mapcar (lambda (word)
    (format spoken "%f %f\\n"
      (item.feat word "R:SylStructure.daughter1.daughter1.R:Segment.segment_start")
      (item.feat word "R:SylStructure.daughtern.daughtern.R:Segment.segment_end")))
    (item.daughters token))
  (format spoken "end\\n"))
  (utt.relation.items utt 'Token))
(fclose spoken)
(fclose (fopen "{path}.done" "w"))
"""


@dataclass(frozen=True)
class FestivalVoice:
    """festival with a voice of Debian's, such as ``cmu_us_slt_arctic_hts``."""

    name: str
    pace: float = 1.0

    @functools.cache  # noqa: B019 - starting takes longer than speaking
    def _program(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        program = subprocess.Popen(["festival", "--pipe"], stdin=pipe, text=True)
        assert program.stdin is not None
        stretch = f"(Parameter.set 'Duration_Stretch {1 / self.pace})"
        program.stdin.write(f"(voice_{self.name})\n{stretch}\n")
        return program

    def render(self, sentence: str, rate: int, drawn: frozenset[int] = frozenset()) -> Take:
        said = SAY.get(sentence, sentence)
        program = self._program()
        assert program.stdin is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "said.wav"
            program.stdin.write(SCRIPT.format(text=said, path=path))
            program.stdin.flush()
            while not Path(f"{path}.done").exists():  # its output is held back in a pipe
                if program.poll() is not None:
                    raise RuntimeError(f"festival ended at {said!r}")
                time.sleep(0.005)
            lines = Path(f"{path}.txt").read_text(encoding="utf-8")
            samples, own_rate = sf.read(path, dtype="float32")
        tokens = [re.findall(r"(\S+) (\S+)\n", group) for group in lines.split("end\n")]
        spans = [(float(words[0][0]), max(float(b) for _, b in words)) for words in tokens if words]
        take = drawn_out(samples, own_rate, _one_each(sentence, spans), drawn)
        return Take(resampled(take.samples, Fraction(rate, own_rate)), rate, take.spans)
