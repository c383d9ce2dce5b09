"""How a caller sounds in one call: pauses, pace, level and microphone of a recorded clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import python_stretch
from scipy import signal

from labkit.callers.field import distributions, pause_s
from labkit.callers.noise import speech_power
from labkit.randomness import stream, uniform
from labkit.settings import Settings
from labkit.world.clips import CALLER_RATE_HZ, Clip, Pcm, Word

MICROPHONES = {"flat": None, "small": (150.0, 7_500.0), "telephone": (300.0, 3_400.0)}
"""Pass band of each microphone, Hz; a small one hears no low notes."""

_BREATH_DB = -38.0
"""A breath beside the loudest 10 ms of the speech: heard, and not voiced (within 35 dB)."""
_BREATH_S = (0.25, 0.4)


def spoken(clip: Clip, settings: Settings, occasion: tuple[int, int, int]) -> Clip:
    """A clip with this call's pauses and pace.

    Args:
        clip: As recorded.
        settings: The caller's settings.
        occasion: Seed, call and turn, which name the draws.
    """
    pace = settings.number("caller.pace")
    drawn = settings["caller.pauses"] == "drawn" and clip.pauses
    if pace == 1.0 and not drawn:
        return clip
    seed, call, turn = occasion
    pieces: list[Pcm] = []
    old_s: list[float] = []  # edges of the pieces in the recording …
    new_s: list[float] = []  # … and where they are now
    pauses: list[tuple[float, float]] = []
    begin_s, at = 0.0, 0
    for index, (start_s, end_s) in enumerate([*clip.pauses, (clip.duration_s, np.inf)]):
        piece = paced(clip.pcm[_samples(begin_s) : _samples(start_s)], pace)
        old_s += [begin_s, start_s]
        new_s += [_seconds(at), _seconds(at + len(piece))]
        pieces.append(piece)
        at += len(piece)
        if index < len(clip.pauses):
            long_s = pause_s(seed, call, turn, index) if drawn else end_s - start_s
            gap = _silence(clip.pcm, _samples(long_s), seed, (call, turn, index), bool(drawn))
            pieces.append(gap)
            pauses.append((_seconds(at), _seconds(at + len(gap))))
            at += len(gap)
            begin_s = end_s

    def moved(t_s: float) -> float:
        return float(np.interp(t_s, old_s, new_s))

    return replace(
        clip,
        words=tuple(Word(w.text, moved(w.start_s), moved(w.end_s)) for w in clip.words),
        speech_end_s=moved(clip.speech_end_s),
        pauses=tuple(pauses),
        pcm=_frozen(np.concatenate(pieces)),
    )


def through_microphone(clips: Sequence[Clip], settings: Settings) -> list[Clip]:
    """The clips of one call at the caller's level, through the caller's microphone."""
    level = settings["caller.level_dbfs"]
    band = MICROPHONES[settings.text("caller.microphone")]
    if level is None and band is None:
        return list(clips)
    heard = [_banded(clip, band) for clip in clips] if band else list(clips)
    if level is not None:
        gain = 32768 * 10 ** (float(level) / 20) / np.sqrt(speech_power(heard))
        heard = [replace(c, pcm=_pcm(c.pcm * gain)) for c in heard]
    return heard


def paced(pcm: Pcm, pace: float) -> Pcm:
    """Speech at another pace and the same pitch; its length is divided by ``pace``."""
    if pace == 1.0 or not len(pcm):
        return pcm
    stretch = python_stretch.Signalsmith.Stretch()
    stretch.preset(1, CALLER_RATE_HZ)
    stretch.timeFactor = pace
    return _pcm(stretch.process(pcm.astype(np.float32)[None])[0])


def _banded(clip: Clip, band: tuple[float, float]) -> Clip:
    """Filtered forwards and backwards, so nothing moves in time; pauses stay as they are."""
    sos = signal.butter(2, band, "bandpass", fs=CALLER_RATE_HZ, output="sos")
    out = np.zeros(len(clip.pcm))
    edges = [0.0, *(t for pause in clip.pauses for t in pause), clip.duration_s]
    for start_s, end_s in zip(edges[::2], edges[1::2], strict=True):
        piece = slice(_samples(start_s), _samples(end_s))
        out[piece] = signal.sosfiltfilt(sos, clip.pcm[piece].astype(float))
    for start_s, end_s in clip.pauses:
        gap = slice(_samples(start_s), _samples(end_s))
        out[gap] = clip.pcm[gap]
    return replace(clip, pcm=_pcm(out))


def _silence(
    speech: Pcm, n: int, seed: int, occasion: tuple[int, int, int], may_breathe: bool
) -> Pcm:
    """A pause, perhaps with a breath at its end."""
    gap = np.zeros(n, np.int16)
    table = distributions()["pauses"]
    enough = n >= table["breath_from_s"] * CALLER_RATE_HZ
    if not (may_breathe and enough and uniform(seed, "caller.breath", *occasion) < table["breath"]):
        return gap
    draws = stream(seed, "caller.breath.sound", *occasion)
    length = _samples(draws.uniform(*_BREATH_S))
    sos = signal.butter(2, (500.0, 4_000.0), "bandpass", fs=CALLER_RATE_HZ, output="sos")
    breath = signal.sosfilt(sos, draws.standard_normal(length)) * np.hanning(length)
    loudest = np.sqrt(np.max(_power(speech)))
    breath *= loudest * 10 ** (_BREATH_DB / 20) / np.sqrt(np.max(_power(breath)))
    rest = _samples(0.05)  # between drawing breath and speaking
    gap[n - rest - length : n - rest] = _pcm(breath)
    return gap


def _power(samples: np.ndarray) -> np.ndarray:
    """Mean square of each 10 ms."""
    size = CALLER_RATE_HZ // 100
    whole = len(samples) // size * size
    return np.mean(samples[:whole].astype(float).reshape(-1, size) ** 2, axis=1)


def _pcm(samples: np.ndarray) -> Pcm:
    return _frozen(np.clip(np.round(samples), -32768, 32767).astype(np.int16))


def _frozen(pcm: Pcm) -> Pcm:
    pcm.setflags(write=False)
    return pcm


def _samples(t_s: float) -> int:
    return round(t_s * CALLER_RATE_HZ)


def _seconds(n: int) -> float:
    return n / CALLER_RATE_HZ
