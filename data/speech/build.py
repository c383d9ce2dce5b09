"""Builds the speech corpus from the dialogues: ``python data/speech/build.py``.

Needs the pinned tools of ``requirements.txt`` and takes a few minutes on one core. The
same tools give the same audio: nothing is drawn from an unseeded generator.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile as sf

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from audio import Spoken, speak  # noqa: E402
from festvox import FestivalVoice, FliteVoice  # noqa: E402
from neural import HibariVoice, KokoroVoice, PiperVoice  # noqa: E402
from ogg import settle_serial  # noqa: E402
from voices import Kept, Voice  # noqa: E402

from labkit.world.dialogue import Dialogue, load_dialogues, normalise, sentences  # noqa: E402
from labkit.world.turn import pause_kinds  # noqa: E402

KOKORO: dict[str, Voice] = {
    "alpha": KokoroVoice("jf_alpha"),
    "gongitsune": KokoroVoice("jf_gongitsune"),
    "kumo": KokoroVoice("jm_kumo"),
    "nezumi": KokoroVoice("jf_nezumi"),
    "tebukuro": KokoroVoice("jf_tebukuro"),
}
"""Callers' voices that take as long to make as they last, or longer on a busy machine."""
VOICES_EACH = 3
"""How many voices speak a dialogue."""
QUICK: dict[str, Voice] = {
    "awb": FliteVoice("awb", pace=1.15),
    "heart": HibariVoice(),
    "joe": PiperVoice(pace=0.9),
    "rms": FliteVoice("rms", pace=1.15),
    "slt": FestivalVoice("cmu_us_slt_arctic_hts"),
}
"""Callers' voices of four other sources."""
CALLERS = {**KOKORO, **QUICK}
AGENT: Voice = HibariVoice(Fraction(21, 25), pace=1.04)
"""The agent's voice: deeper than any caller's."""

CALLER_RATE, CALLER_STEP = 16_000, 32
AGENT_RATE = 24_000
AGENT_SIZE = 0.95  # libsndfile's scale from 0 (best) to 1 (smallest)
ASKED_OFTEN = {
    "ask_hours",
    "ask_policy",
    "ask_price",
    "ask_location",
    "ask_availability",
    "ask_status",
}
"""Intents whose first paraphrase is spoken too: what many callers ask in different words."""
BACKCHANNELS = {"mhm": "Mhm.", "uh_huh": "Uh-huh.", "right": "Right.", "okay": "Okay."}
BARGE_INS = {
    "wait": "Wait.",
    "hold_on": "Hold on.",
    "stop": "Actually, stop.",
    "one_moment": "Sorry, one moment.",
}
CLIP_COLUMNS = [
    "clip_id",
    "voice",
    "dialogue",
    "turn",
    "variant",
    "file",
    "offset_samples",
    "n_samples",
    "text",
    "speech_end_s",
    "n_pauses",
    "pauses_s",
    "pause_kinds",
    "longest_gap_s",
]

Job = tuple[str, str, str, str]
"""Dialogue, turn, variant, text with pause marks."""


def cast(dialogues: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The voices that speak each dialogue: one of kokoro's and some of the others.

    Kokoro's come by turns; of the others those that have spoken least so far, and of these the
    ones that have met least.
    """
    spoken: Counter[str] = Counter()
    shared: Counter[frozenset[str]] = Counter()
    voices: dict[str, tuple[str, ...]] = {}
    for i, name in enumerate(dialogues):
        chosen = [list(KOKORO)[i % len(KOKORO)]]
        while len(chosen) < VOICES_EACH:
            met = {v: sum(shared[frozenset((v, c))] for c in chosen) for v in QUICK}
            rest = (v for v in QUICK if v not in chosen)
            chosen.append(min(rest, key=lambda v: (spoken[v], met[v])))
        spoken.update(chosen)
        shared.update(frozenset((a, b)) for a in chosen for b in chosen if a < b)
        voices[name] = tuple(sorted(chosen))
    return voices


def jobs_by_voice(dialogues: dict[str, Dialogue]) -> dict[str, list[Job]]:
    """What each voice says. A whole dialogue is spoken by the same voices."""
    jobs: dict[str, list[Job]] = {voice: [] for voice in CALLERS}
    voices = cast(dialogues)
    for dialogue in dialogues.values():
        for turn in dialogue.turns:
            for variant in turn.variants:
                if variant == "paraphrase" and turn.intent not in ASKED_OFTEN:
                    continue
                for voice in voices[dialogue.name]:
                    jobs[voice].append((dialogue.name, turn.id, variant, turn.marked(variant)))
    for own in jobs.values():
        own += [("", name, "backchannel", text) for name, text in BACKCHANNELS.items()]
        own += [("", name, "barge_in", text) for name, text in BARGE_INS.items()]
    return jobs


def build_callers(dialogues: dict[str, Dialogue], voices: Mapping[str, Voice]) -> None:
    """Writes one FLAC per voice, ``clips.csv`` and ``words.csv``; other voices stay as they are."""
    clips: list[list[object]] = []
    words: list[list[object]] = []
    for voice, jobs in jobs_by_voice(dialogues).items():
        if voice not in voices:
            clips += kept_rows("clips.csv", voice)
            words += kept_rows("words.csv", voice)
            continue
        pack: list[np.ndarray] = []
        done: dict[str, tuple[Spoken, int]] = {}
        size = 0
        for dialogue, turn, variant, marked in jobs:
            clip_id = "/".join(filter(None, (dialogue, turn, variant, voice)))
            if marked not in done:  # dialogues share questions: the same words are stored once
                done[marked] = speak(voices[voice], marked, CALLER_RATE, CALLER_STEP), size
                pack.append(done[marked][0].pcm)
                size += len(pack[-1])
            spoken, offset = done[marked]
            n = len(spoken.pcm)
            pauses = " ".join(f"{a:.2f}-{b:.2f}" for a, b in spoken.pauses)
            ends = [f"{spoken.spans[-1][1]:.2f}", len(spoken.pauses), pauses]
            ends += [" ".join(pause_kinds(marked)), f"{spoken.longest_gap_s:.2f}"]
            text = " ".join(spoken.words)
            where = [f"{voice}.flac", offset, n]
            clips.append([clip_id, voice, dialogue, turn, variant, *where, text, *ends])
            words += [[clip_id, *row] for row in word_rows(spoken)]
        path = HERE / f"{voice}.flac"
        sf.write(path, np.concatenate(pack), CALLER_RATE, "PCM_16", compression_level=1.0)
        print(f"{voice}: {len(jobs)} clips, {size / CALLER_RATE:.0f} s")
    write_csv(HERE / "clips.csv", CLIP_COLUMNS, clips)
    write_csv(HERE / "words.csv", ["clip_id", "index", "word", "start_s", "end_s"], words)


def kept_rows(name: str, voice: str) -> list[list[object]]:
    """The rows of a voice that stand in an index now."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return [list(row) for row in csv.reader(file) if row[0].rpartition("/")[2] == voice]


def word_rows(spoken: Spoken) -> Iterator[list[object]]:
    """Index, word, start and end in seconds."""
    for index, (word, (start, end)) in enumerate(zip(spoken.words, spoken.spans, strict=True)):
        yield [index, word, f"{start:.2f}", f"{end:.2f}"]


def replies(dialogue: Dialogue) -> Iterator[str]:
    """Everything the agent may say in a dialogue."""
    for turn in dialogue.turns:
        yield turn.reply
        if turn.reply_without is not None:
            yield turn.reply_without
        yield from (miss.reply for miss in turn.near_misses)


def build_agent(dialogues: dict[str, Dialogue]) -> None:
    """Writes one Ogg Vorbis pack per dialogue and ``agent.csv``; each sentence is stored once."""
    rows: list[list[object]] = []
    seen: set[str] = set()
    total = 0
    for dialogue in dialogues.values():
        pack: list[np.ndarray] = []
        offset = 0
        for sentence in (s for reply in replies(dialogue) for s in sentences(reply)):
            if normalise(sentence) in seen:
                continue
            seen.add(normalise(sentence))
            spoken = speak(AGENT, sentence, AGENT_RATE, 1)
            # Room for the codec's edges, so that no clip bleeds into its neighbour.
            guard = np.zeros(round(0.02 * AGENT_RATE), np.int16)
            pack += [guard, spoken.pcm, guard]
            times = " ".join(f"{round(a * 1e3)}-{round(b * 1e3)}" for a, b in spoken.spans)
            file = f"agent/{dialogue.name}.ogg"
            rows.append([sentence, file, offset + len(guard), len(spoken.pcm), times])
            offset += len(spoken.pcm) + 2 * len(guard)
        path = HERE / "agent" / f"{dialogue.name}.ogg"
        path.parent.mkdir(exist_ok=True)
        write_vorbis(path, np.concatenate(pack))
        settle_serial(path)
        total += offset
    write_csv(HERE / "agent.csv", ["text", "file", "offset_samples", "n_samples", "words_ms"], rows)
    print(f"agent: {len(rows)} sentences, {total / AGENT_RATE:.0f} s")


def write_vorbis(path: Path, pcm: np.ndarray) -> None:
    """Ogg Vorbis decodes ten times faster than Opus here, which a run's start would feel."""
    settings = {"samplerate": AGENT_RATE, "channels": 1, "format": "OGG", "subtype": "VORBIS"}
    with sf.SoundFile(path, "w", compression_level=AGENT_SIZE, **settings) as file:
        for start in range(0, len(pcm), AGENT_RATE):  # libsndfile overflows its stack on more
            file.write(pcm[start : start + AGENT_RATE])


def write_csv(path: Path, columns: list[str], rows: Iterable[list[object]]) -> None:
    """A CSV with line feeds on every platform."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_sums() -> None:
    """``SHA256SUMS`` of everything the run-time reads, in the format of ``sha256sum -c``."""
    files = sorted(
        f
        for f in HERE.rglob("*")
        if f.suffix in (".flac", ".ogg") or (f.parent == HERE and f.suffix == ".csv")
    )
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(HERE).as_posix()}\n"
        for f in files
    ]
    (HERE / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def main() -> None:
    """Rebuilds everything in place, or a part of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("callers", "agent", *CALLERS)
    parser.add_argument("--only", choices=parts, help="rebuild one half, or one caller's voice")
    parser.add_argument("--takes", type=Path, help="folder to keep what was synthesized in")
    options = parser.parse_args()
    only = options.only
    dialogues = load_dialogues()
    if only != "agent":
        voices = {n: v for n, v in CALLERS.items() if only in (None, "callers", n)}
        for stale in set(HERE.glob("*.flac")) - {HERE / f"{n}.flac" for n in CALLERS}:
            stale.unlink()
        if takes := options.takes:
            voices = {n: Kept(v, n, takes) for n, v in voices.items()}
        build_callers(dialogues, voices)
    if only in (None, "agent"):
        for stale in HERE.glob("agent/*.ogg"):
            stale.unlink()
        build_agent(dialogues)
    write_sums()


if __name__ == "__main__":
    main()
