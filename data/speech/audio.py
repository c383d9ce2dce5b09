"""From synthesised sentences to one levelled clip with exact pauses and word times.

Build-time only. "Voiced" means the same everywhere: a 10 ms frame whose energy is within 35 dB of
the loudest frame of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from timing import Span
from voices import Take, Voice

from labkit.world.dialogue import sentences, split_pauses
from labkit.world.turn import DRAWN_MARK, plain

FRAME_S = 0.010
FLOOR_DB = 35.0
LEVEL_DBFS = -23.0
SENTENCE_GAP_S = 0.15
LONGEST_GAP_S = 0.15
"""Unmarked silence is kept this short, so that a fluent clip holds no hidden pause for a VAD."""
EDGE_DB = 3.0
"""Ends are trimmed this much above the floor, so that they still count as voiced after fading."""
BREATH_S = 0.08
"""Unvoiced stretches of this length next to a word boundary are between the words, not in one."""
CUT_SEARCH_S = 0.06
FADE_S = 0.002


@dataclass
class Piece:
    """Speech without a marked pause inside, the span of each word, and the silence after it."""

    samples: np.ndarray
    spans: list[Span]
    gap_s: float = SENTENCE_GAP_S
    marked: bool = False
    """Whether the gap is a pause the text asks for."""


@dataclass(frozen=True)
class Spoken:
    """A finished clip: int16 samples, words with their spans in seconds from its start."""

    pcm: np.ndarray
    words: list[str]
    spans: list[Span]
    pauses: list[Span]
    """The marked pauses, start and end in seconds."""
    longest_gap_s: float
    """Longest unvoiced stretch outside the marked pauses."""


def speak(voice: Voice, marked: str, rate: int, step: int) -> Spoken:
    """Renders a text with ``[seconds]`` pause marks.

    Args:
        voice: who speaks.
        marked: the text, e.g. ``"It's order, um, [0.9] four."``; ``the~`` is drawn out.
        rate: samples per second of the clip.
        step: samples are rounded to multiples of this (FLAC stores fewer bits).
    """
    pieces: list[Piece] = []
    parts, pauses = split_pauses(marked)
    begin = 0
    for index, part in enumerate(parts):
        # A part that ends in punctuation ends a breath, so the next is spoken anew. Otherwise the
        # caller broke off inside a phrase: speak it in one pass and cut it at the word.
        if index < len(pauses) and plain(part)[-1] not in ",.?!":
            continue
        pieces += _phrase(voice, parts[begin : index + 1], pauses[begin:index], rate)
        pieces[-1].gap_s, pieces[-1].marked = (*pauses, 0.0)[index], True
        begin = index + 1
    floor = max(frame_db(p.samples, rate).max() for p in pieces) - FLOOR_DB
    return _join([_tightened(p, floor, rate) for p in pieces], marked, rate, step)


def _phrase(voice: Voice, parts: list[str], pauses: list[float], rate: int) -> list[Piece]:
    """Speaks parts in one pass, sentence by sentence, and cuts them where the pauses are."""
    ends = np.cumsum([len(p.split()) for p in parts]).tolist()
    cuts = dict(zip(ends, pauses, strict=False))
    pieces: list[Piece] = []
    said = 0
    for sentence in sentences(" ".join(parts)):
        tokens = sentence.split()
        n = len(tokens)
        drawn = frozenset(i for i, token in enumerate(tokens) if DRAWN_MARK in token)
        take = voice.render(plain(sentence), rate, drawn)
        if len(take.spans) != n:
            raise ValueError(f"{len(take.spans)} spans for {n} words: {sentence!r}")
        start = first = 0
        for word in range(1, n + 1):
            pause = cuts.get(said + word)
            if pause is None and word < n:
                continue
            end = len(take.samples) if word == n else _quietest(take, word, rate)
            spans = [(a - start / rate, b - start / rate) for a, b in take.spans[first:word]]
            piece = Piece(take.samples[start:end], spans)
            if pause is not None:
                piece.gap_s, piece.marked = pause, True
            pieces.append(piece)
            start, first = end, word
        said += n
    return pieces


def _quietest(take: Take, word: int, rate: int) -> int:
    """The sample with the least energy around it near the boundary before ``word``."""
    middle = (take.spans[word - 1][1] + take.spans[word][0]) / 2
    lo = max(0, round((middle - CUT_SEARCH_S) * rate))
    window = round(0.005 * rate)
    power = np.convolve(take.samples.astype(np.float64) ** 2, np.ones(window), "same")
    return lo + int(np.argmin(power[lo : lo + round(2 * CUT_SEARCH_S * rate)]))


def frame_db(samples: np.ndarray, rate: int) -> np.ndarray:
    """Energy of each 10 ms frame in dB, the last one padded with zeros."""
    n = round(FRAME_S * rate)
    frames = np.pad(samples.astype(np.float64), (0, -len(samples) % n)).reshape(-1, n)
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1) + 1e-12))


def _tightened(piece: Piece, floor: float, rate: int) -> Piece:
    """Cuts silence off both ends and shortens unmarked silence inside; words follow."""
    n = round(FRAME_S * rate)
    voiced = frame_db(piece.samples, rate) >= floor + EDGE_DB
    keep = np.ones(len(voiced), bool)
    on = np.flatnonzero(voiced)
    keep[: on[0]] = keep[on[-1] + 1 :] = False
    longest = round(LONGEST_GAP_S / FRAME_S)
    for a, b in pairwise(on):
        extra = (b - a - 1) - longest
        if extra > 0:
            middle = (a + 1 + b) // 2
            keep[middle - extra // 2 : middle - extra // 2 + extra] = False
    samples = np.pad(piece.samples, (0, len(voiced) * n - len(piece.samples)))
    new_index = np.concatenate([[0], np.cumsum(keep)])  # frames kept before each frame
    voiced_kept = voiced[keep]
    edges = [
        [int(new_index[min(max(round(t / FRAME_S), 0), len(keep))]) for t in span]
        for span in piece.spans
    ]
    edges[0][0], edges[-1][1] = 0, len(voiced_kept)
    # The synthesiser marks the last word to beyond the sound; only frames that sound count.
    words = _touching(_apart(edges, len(voiced_kept)), voiced_kept)
    words = _breathing(words, voiced_kept)
    spans = [_sounding(e, voiced_kept) for e in words]
    kept = samples.reshape(-1, n)[keep].reshape(-1).copy()
    ramp = np.linspace(0.0, 1.0, round(FADE_S * rate), dtype=np.float32)
    kept[: len(ramp)] *= ramp
    kept[-len(ramp) :] *= ramp[::-1]
    in_s = [(a * FRAME_S, b * FRAME_S) for a, b in spans]
    return replace(piece, samples=kept, spans=in_s)


def _apart(edges: list[list[int]], n_frames: int) -> list[tuple[int, int]]:
    """Word edges in frames, in order, none empty."""
    out: list[tuple[int, int]] = []
    for i, (a, b) in enumerate(edges):
        left = len(edges) - 1 - i
        a = min(max(a, out[-1][1] if out else 0), n_frames - left - 1)
        out.append((a, min(max(b, a + 1), n_frames - left)))
    return out


def _touching(words: list[tuple[int, int]], voiced: np.ndarray) -> list[tuple[int, int]]:
    """Shares out the sound between two words, which the synthesiser gives to the comma."""
    out = list(words)
    for i in range(len(out) - 1):
        (first, end), (start, last) = out[i], out[i + 1]
        silent = np.flatnonzero(~voiced[end:start])
        # Without a silence the word before the comma is still being drawn out.
        middle = end + int(silent[len(silent) // 2]) if len(silent) else start
        out[i], out[i + 1] = (first, middle), (middle, last)
    return out


def _breathing(words: list[tuple[int, int]], voiced: np.ndarray) -> list[tuple[int, int]]:
    """Moves a boundary beside a breath onto it: the synthesiser is a frame or two off."""
    reach = round(BREATH_S / FRAME_S)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], voiced, [True]]).astype(int)))
    breaths = [(a, b) for a, b in edges.reshape(-1, 2).tolist() if b - a >= reach]
    out = list(words)
    for i in range(len(out) - 1):
        (first, end), (start, last) = out[i], out[i + 1]
        near = [
            (a, b)
            for a, b in breaths
            if a - reach <= end and start <= b + reach and first < a and b < last
        ]
        if near:
            a, b = max(near, key=lambda breath: breath[1] - breath[0])
            out[i], out[i + 1] = (first, a), (b, last)
    return out


def _sounding(edge: tuple[int, int], voiced: np.ndarray) -> tuple[int, int]:
    on = np.flatnonzero(voiced[edge[0] : edge[1]])
    return (edge[0] + int(on[0]), edge[0] + int(on[-1]) + 1) if len(on) else edge


def _join(pieces: list[Piece], marked: str, rate: int, step: int) -> Spoken:
    """One clip of all pieces at the corpus level, with digital silence between them."""
    speech = np.concatenate([p.samples for p in pieces])
    energy = frame_db(speech, rate)
    loud = energy[energy >= energy.max() - FLOOR_DB]
    gain = 10 ** ((LEVEL_DBFS - 10 * np.log10(np.mean(10 ** (loud / 10)))) / 20)
    out: list[np.ndarray] = []
    spans: list[Span] = []
    pauses: list[Span] = []
    now = 0.0
    longest = 0.0
    for i, piece in enumerate(pieces):
        scaled = np.clip(piece.samples * gain * 32768 / step, -32768 // step, 32767 // step)
        out.append((np.rint(scaled) * step).astype(np.int16))
        spans += [(now + a, now + b) for a, b in piece.spans]
        on = np.flatnonzero(frame_db(piece.samples, rate) >= energy.max() - FLOOR_DB)
        longest = max(longest, float((np.diff(on) - 1).max(initial=0)) * FRAME_S)
        now += len(piece.samples) / rate
        if i < len(pieces) - 1:
            gap = round(piece.gap_s * rate)
            out.append(np.zeros(gap, np.int16))
            if piece.marked:
                pauses.append((now, now + gap / rate))
            else:
                longest = max(longest, SENTENCE_GAP_S)
            now += gap / rate
    words = plain(" ".join(split_pauses(marked)[0])).split()
    return Spoken(np.concatenate(out), words, spans, pauses, longest)
