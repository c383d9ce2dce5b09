"""Turns of recorded people, made from packages that carry recordings: a class of their own.

    apt-get install asterisk-core-sounds-en-wav
    pip download --no-deps --no-binary :all: pocketsphinx==5.1.1
    python data/speech/recorded.py OUT --sdist pocketsphinx-5.1.1.tar.gz --report

Writes 16 kHz WAVs and ``turns.csv`` (``file``, ``end_s``, ``pauses_s`` as ``start-end``) into OUT.
Ends and pauses are read from the energy: a pause is a silence of 0.1 s or more inside a turn. The
prompts are CC-BY-SA-3.0, (c) Allison Smith; neither they nor OUT belong into this repository.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tarfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile as sf

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from audio import FLOOR_DB, FRAME_S, frame_db  # noqa: E402
from detector import RATE, Heard, probability, report  # noqa: E402
from verify import transcribe  # noqa: E402
from voices import resampled  # noqa: E402

PROMPTS = Path("/usr/share/asterisk/sounds")
SHORTEST_TURN_S = 1.5
"""Shorter prompts are parts of sentences, such as "you have"."""
SHORTEST_PAUSE_S = 0.1

Recording = tuple[str, np.ndarray, str]
"""Name, int16 samples at 16 kHz, text or nothing."""


def prompts(folder: Path) -> Iterator[Recording]:
    """Asterisk's spoken prompts, without single digits, letters and fragments."""
    seen: set[str] = set()
    for file in sorted(folder.rglob("*.wav")):
        samples, rate = sf.read(file, dtype="float32")
        if file.stem not in seen and len(samples) >= SHORTEST_TURN_S * rate:
            seen.add(file.stem)
            yield f"allison-{file.stem}", _int16(samples, rate), ""


def sentences(sdist: Path) -> Iterator[Recording]:
    """The five LibriVox sentences among pocketsphinx's test data, with their texts."""
    with tarfile.open(sdist) as archive:
        files = {Path(m.name).name: m for m in archive if "/librivox/" in m.name}
        listing = archive.extractfile(files["transcription"])
        assert listing is not None
        for line in listing.read().decode().splitlines():
            text, name = line.rsplit("(", 1)
            sound = archive.extractfile(files[f"{name.strip(') ')}.wav"])
            assert sound is not None
            samples, rate = sf.read(sound, dtype="float32")
            words = text.replace("<s>", "").replace("</s>", "").strip()
            yield f"librivox-{name.strip(') ')}", _int16(samples, rate), words


def _int16(samples: np.ndarray, rate: int) -> np.ndarray:
    moved = resampled(samples, Fraction(RATE, rate))
    return np.rint(np.clip(moved, -1, 1) * 32767).astype(np.int16)


def turn(pcm: np.ndarray) -> tuple[float, list[tuple[float, float]]]:
    """The end of the last sound and the pauses before it, in seconds."""
    energy = frame_db(pcm, RATE)
    on = np.flatnonzero(energy >= energy.max() - FLOOR_DB)
    gaps = [((a + 1) * FRAME_S, b * FRAME_S) for a, b in pairwise(on.tolist())]
    return (int(on[-1]) + 1) * FRAME_S, [g for g in gaps if g[1] - g[0] >= SHORTEST_PAUSE_S - 1e-9]


def main() -> None:
    """Writes the folder; with ``--report`` says how well it is understood and detected."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompts", type=Path, default=PROMPTS, help="folder of asterisk's sounds")
    parser.add_argument("--sdist", type=Path, help="pocketsphinx's source archive")
    parser.add_argument("--report", action="store_true", help="word error rate and detector")
    options = parser.parse_args()
    found = [*prompts(options.prompts), *(sentences(options.sdist) if options.sdist else ())]
    if not found:
        parser.error(f"no recordings in {options.prompts}; is asterisk-core-sounds-en-wav there?")
    options.out.mkdir(parents=True, exist_ok=True)
    heard: list[Heard] = []
    with (options.out / "turns.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "end_s", "pauses_s"])
        for name, pcm, _ in found:
            end_s, pauses = turn(pcm)
            sf.write(options.out / f"{name}.wav", pcm, RATE, "PCM_16")
            spans = " ".join(f"{a:.2f}-{b:.2f}" for a, b in pauses)
            writer.writerow([f"{name}.wav", f"{end_s:.2f}", spans])
            if options.report:
                whose = name.split("-")[0]
                heard.append((whose, "end", probability(pcm, end_s)))
                long = [a for a, b in pauses if b - a >= 0.2]
                heard += [(whose, "pause", probability(pcm, a)) for a in long]
    print(f"{len(found)} turns in {options.out}")
    if options.report:
        print("\n".join(report(heard)))
        transcribe([("recorded", n.split("-")[0], t, p, RATE) for n, p, t in found if t])


if __name__ == "__main__":
    main()
