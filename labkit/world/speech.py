"""The recorded speech: clips of callers, sentences of the agent, and the time of each word.

Synthesised once by ``data/speech/build.py``; nothing is synthesised here. Audio is decoded when
first asked for, one pack at a time, and kept. Columns and units: ``data/speech/README.md``.
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from labkit.errors import UsageError, unknown
from labkit.paths import data_dir
from labkit.world.clips import AGENT_RATE_HZ, AgentClip, Clip, Pcm, Word
from labkit.world.turn import normalise, sentences

SENTENCE_GAP_S = 0.18
"""Silence between two sentences of the agent."""


class SpeechError(UsageError):
    """No such clip in the corpus; the message lists what there is."""


@dataclass(frozen=True)
class _Row:
    """Where a clip's samples are; they are decoded on first use."""

    clip_id: str
    voice: str
    dialogue: str
    turn: str
    variant: str
    file: str
    offset: int
    n_samples: int
    text: str
    speech_end_s: float
    pauses_s: str
    pause_kinds: str


class SpeechCorpus:
    """Looks clips up by dialogue, turn, variant and voice."""

    def __init__(self, folder: Path) -> None:
        """Reads the indexes of a corpus folder; use ``load`` for the packaged corpus."""
        self._folder = folder
        self._rows: dict[tuple[str, str, str, str], _Row] = {}
        self._variants: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._dialogue_voices: dict[str, list[str]] = defaultdict(list)
        for r in _read_csv(folder / "clips.csv"):
            row = _Row(
                **{k: r[k] for k in ("clip_id", "voice", "dialogue", "turn", "variant", "file")},
                offset=int(r["offset_samples"]),
                n_samples=int(r["n_samples"]),
                text=r["text"],
                speech_end_s=float(r["speech_end_s"]),
                pauses_s=r["pauses_s"],
                pause_kinds=r["pause_kinds"],
            )
            self._rows[row.dialogue, row.turn, row.variant, row.voice] = row
            _append_new(self._variants[row.dialogue, row.turn], row.variant)
            _append_new(self._dialogue_voices[row.dialogue], row.voice)
        self.voices: tuple[str, ...] = tuple(self._dialogue_voices[""])
        """Every caller's voice."""
        self._cuts: dict[tuple[str, int], Pcm] = {}
        self._clips: dict[str, Clip] = {}

    @staticmethod
    @functools.cache
    def load() -> SpeechCorpus:
        """The packaged corpus, read once per process."""
        return SpeechCorpus(data_dir() / "speech")

    def check(self) -> None:
        """Checks that every file exists.

        Raises:
            SpeechError: names the first missing one.
        """
        packs = {row.file for row in self._rows.values()}
        packs |= {file for _, file, *_ in self._agent_rows.values()}
        for name in ("words.csv", "SHA256SUMS", *sorted(packs)):
            _there(self._folder / name)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the list of file hashes: one value for all audio and all indexes."""
        return hashlib.sha256((self._folder / "SHA256SUMS").read_bytes()).hexdigest()

    def dialogue_voices(self, dialogue: str) -> tuple[str, ...]:
        """The voices that speak the whole of a dialogue.

        Raises:
            SpeechError: the dialogue was never recorded.
        """
        if dialogue not in self._dialogue_voices:
            known = [d for d in self._dialogue_voices if d]
            raise SpeechError(f"speech corpus: {unknown('dialogue', dialogue, known)}")
        return tuple(self._dialogue_voices[dialogue])

    def variants(self, dialogue: str, turn: str) -> tuple[str, ...]:
        """The recorded ways of saying a turn, e.g. ``("fluent", "hesitant")``.

        Raises:
            SpeechError: the dialogue or the turn was never recorded.
        """
        self.dialogue_voices(dialogue)
        if (dialogue, turn) not in self._variants:
            turns = [t for d, t in self._variants if d == dialogue]
            raise SpeechError(f"speech corpus: {unknown(f'turn of {dialogue}', turn, turns)}")
        return tuple(self._variants[dialogue, turn])

    def clip(self, *, dialogue: str, turn: str, variant: str = "fluent", voice: str) -> Clip:
        """One recorded utterance.

        Raises:
            SpeechError: there is no such recording. Nothing else is played in its place: ask
                ``variants`` and ``dialogue_voices`` first.
        """
        row = self._rows.get((dialogue, turn, variant, voice))
        if row is None:
            what = (f"voice of {dialogue}", voice, self.dialogue_voices(dialogue))
            if variant not in (variants := self.variants(dialogue, turn)):
                what = (f"variant of {dialogue}/{turn}", variant, variants)
            raise SpeechError(f"speech corpus: {unknown(*what)}")
        return self._clip(row)

    def backchannels(self, voice: str) -> tuple[Clip, ...]:
        """Backchannels ("Mhm.") in a voice.

        Raises:
            SpeechError: there is no such voice.
        """
        return self._extras(voice, "backchannel")

    def barge_ins(self, voice: str) -> tuple[Clip, ...]:
        """Barge-ins ("Hold on.") in a voice.

        Raises:
            SpeechError: there is no such voice.
        """
        return self._extras(voice, "barge_in")

    def said(self) -> Iterable[tuple[str, dict[str, str]]]:
        """The words of every recorded turn said without a pause, and how to ask for its clip."""
        for row in self._rows.values():
            if row.dialogue and not row.pauses_s:
                at = {k: getattr(row, k) for k in ("dialogue", "turn", "variant", "voice")}
                yield row.text, at

    def clips(self) -> Iterable[Clip]:
        """Every clip of every caller, in the order of the index."""
        return (self._clip(row) for row in self._rows.values())

    def agent_sentence(self, text: str) -> AgentClip | None:
        """The agent's audio for a sentence, whatever its case and punctuation; None if unknown."""
        found = self._agent_rows.get(normalise(text))
        if found is None:
            return None
        stored, file, offset, n_samples, words = found
        return AgentClip(text=stored, words=words, pcm=self._cut(file, offset, n_samples))

    def agent_speech(self, text: str) -> AgentClip | None:
        """The agent's audio for a reply of several sentences; None unless all are known."""
        clips = [self.agent_sentence(s) for s in sentences(text)]
        if not clips or None in clips:
            return None
        gap = np.zeros(round(SENTENCE_GAP_S * AGENT_RATE_HZ), np.int16)
        parts: list[Pcm] = []
        words: list[Word] = []
        for clip in clips:
            assert clip is not None
            parts += [gap, clip.pcm] if parts else [clip.pcm]
            shift = (sum(map(len, parts)) - len(clip.pcm)) / AGENT_RATE_HZ
            words += [Word(w.text, w.start_s + shift, w.end_s + shift) for w in clip.words]
        pcm = np.concatenate(parts)
        pcm.setflags(write=False)
        return AgentClip(text=text, words=tuple(words), pcm=pcm)

    def _extras(self, voice: str, variant: str) -> tuple[Clip, ...]:
        if voice not in self.voices:
            raise SpeechError(f"speech corpus: {unknown('voice', voice, self.voices)}")
        rows = [r for r in self._rows.values() if r.variant == variant and r.voice == voice]
        return tuple(self._clip(r) for r in rows)

    def _clip(self, row: _Row) -> Clip:
        if row.clip_id not in self._clips:
            self._clips[row.clip_id] = Clip(
                clip_id=row.clip_id,
                voice=row.voice,
                dialogue=row.dialogue,
                turn=row.turn,
                variant=row.variant,
                text=row.text,
                words=self._words[row.clip_id],
                speech_end_s=row.speech_end_s,
                pauses=_spans(row.pauses_s, 1.0),
                pause_kinds=tuple(row.pause_kinds.split()),
                pcm=self._cut(row.file, row.offset, row.n_samples),
            )
        return self._clips[row.clip_id]

    def _cut(self, file: str, offset: int, n_samples: int) -> Pcm:
        """A piece of a recording; decoding all of it would take as long as a short call."""
        if (file, offset) not in self._cuts:
            pcm, _ = sf.read(self._folder / file, n_samples, offset, dtype="int16")
            pcm.setflags(write=False)
            self._cuts[file, offset] = pcm
        return self._cuts[file, offset]

    @functools.cached_property
    def _words(self) -> Mapping[str, tuple[Word, ...]]:
        words: dict[str, list[Word]] = defaultdict(list)
        for r in _read_csv(self._folder / "words.csv"):
            words[r["clip_id"]].append(Word(r["word"], float(r["start_s"]), float(r["end_s"])))
        return {clip_id: tuple(own) for clip_id, own in words.items()}

    @functools.cached_property
    def _agent_rows(self) -> Mapping[str, tuple[str, str, int, int, tuple[Word, ...]]]:
        rows = {}
        for r in _read_csv(self._folder / "agent.csv"):
            spans = _spans(r["words_ms"], 1e3)
            words = tuple(Word(t, *s) for t, s in zip(r["text"].split(), spans, strict=True))
            where = (r["file"], int(r["offset_samples"]), int(r["n_samples"]))
            rows[normalise(r["text"])] = (r["text"], *where, words)
        return rows


def _read_csv(file: Path) -> Iterable[dict[str, str]]:
    _there(file)
    with file.open(newline="", encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def _there(file: Path) -> None:
    if not file.is_file():
        raise SpeechError(f"the speech corpus is incomplete: {file} is missing")


def _spans(text: str, per_second: float) -> tuple[tuple[float, float], ...]:
    """Reads ``"0.31-0.90 1.20-1.75"`` as pairs of seconds."""
    pairs = (span.split("-") for span in text.split())
    return tuple((float(a) / per_second, float(b) / per_second) for a, b in pairs)


def _append_new(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
