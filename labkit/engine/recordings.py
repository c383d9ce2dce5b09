"""A user's own recordings of caller turns, as marked turns.

A folder holds WAV files and one CSV with a row per turn::

    file,end_s,pauses_s,speaker
    one.wav,4.31,1.20-1.95 2.80-3.05,anna
    two.wav,2.70,,

``end_s`` is where the caller's last sound ends. ``pauses_s`` are the silences before it; where it
is empty, silences of 0.1 s or more are found from the energy, 35 dB below the loudest frame, which
needs a quiet room. ``speaker`` may be left out; then each file counts as a speaker.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from labkit.cachefile import tell
from labkit.engine.marked import TAIL_S, MarkedTurn, Span, silent_spans
from labkit.errors import UsageError, hint
from labkit.world.clips import Pcm
from labkit.world.scene import SAMPLE_RATE_HZ
from labkit.world.sound import to_pcm

_COLUMNS = ("file", "end_s", "pauses_s")


class RecordingError(UsageError):
    """A recording or its row cannot be used; the message names the file and says why."""


def recorded(folder: str | Path) -> list[MarkedTurn]:
    """The turns of a folder of recordings.

    Audio of another rate is resampled to 16 kHz, and several channels are mixed into one, with a
    line that says so. Where a recording ends with the last sound, digital silence is added, which
    the detector takes for more of a doubt than a quiet room; a line says so too.

    Raises:
        RecordingError: there is no such folder, CSV, row or file, or one is not usable.
    """
    folder = Path(folder)
    found = [_turn(i, folder, row) for i, row in enumerate(_rows(folder))]
    if not found:
        raise RecordingError(f"{folder}: the CSV lists no turn")
    return found


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder")
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        names = ", ".join(t.name for t in tables) or "none"
        raise RecordingError(f"{folder}: needs one CSV with {', '.join(_COLUMNS)}; found {names}")
    with tables[0].open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        lacking = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
        if lacking:
            raise RecordingError(f"{tables[0]}: column {lacking[0]} is missing")
        yield from reader


def _turn(index: int, folder: Path, row: Mapping[str, str | None]) -> MarkedTurn:
    name = (row["file"] or "").strip()
    pcm = _audio(folder, name)
    length_s = len(pcm) / SAMPLE_RATE_HZ
    end_s = _second(name, "end_s", row["end_s"] or "")
    if not 0 < end_s <= length_s:
        raise RecordingError(f"{name}: end_s={end_s:g} is not within the audio, {length_s:.2f} s")
    lacking = round((end_s + TAIL_S - length_s) * SAMPLE_RATE_HZ)
    if lacking > 0:
        tell(f"{name}: {lacking / SAMPLE_RATE_HZ:.2f} s of digital silence added after the end")
        pcm = np.concatenate([pcm, np.zeros(lacking, np.int16)])
    text = (row["pauses_s"] or "").strip()
    pauses = _spans(name, text, end_s) if text else silent_spans(pcm, (), end_s)
    speaker = (row.get("speaker") or "").strip() or Path(name).stem
    return MarkedTurn(index, 0, speaker, name, pcm, pauses, end_s)


def _audio(folder: Path, name: str) -> Pcm:
    """A file as int16, mono, 16 kHz."""
    path = folder / name
    if not name or not path.is_file():
        there = [p.name for p in folder.iterdir() if p.suffix.lower() == ".wav"]
        raise RecordingError(f"{path}: no such file{hint(name, there)}")
    try:
        pcm, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as e:
        raise RecordingError(f"{name}: not readable as audio: {e}") from None
    if not np.isfinite(pcm).all():
        raise RecordingError(f"{name}: holds samples that are not numbers")
    if not np.any(pcm):
        raise RecordingError(f"{name}: holds nothing but silence")
    if pcm.shape[1] > 1:
        tell(f"{name}: {pcm.shape[1]} channels are mixed into one")
    mono = pcm.mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        factor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
        mono = resample_poly(mono, SAMPLE_RATE_HZ // factor, rate_hz // factor)
    return to_pcm(mono * 32768)


def _spans(name: str, text: str, end_s: float) -> tuple[Span, ...]:
    """Reads ``"1.20-1.95 2.80-3.05"``."""
    found: list[Span] = []
    for span in text.split():
        start, dash, end = span.partition("-")
        a, b = _second(name, "pauses_s", start), _second(name, "pauses_s", end if dash else "")
        if not (found[-1][1] if found else 0) <= a < b < end_s:
            raise RecordingError(
                f"{name}: pause {span} is not after the one before it and before the end, {end_s:g}"
            )
        found.append((a, b))
    return tuple(found)


def _second(name: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise RecordingError(f"{name}: {column} holds {text.strip()!r}, not a number of seconds")
    return value
