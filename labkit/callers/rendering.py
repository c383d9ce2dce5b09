"""How a caller sounds in one call: pauses, pace, level and microphone of a recorded clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import python_stretch

from labkit.callers.field import distributions, pause_s
from labkit.callers.noise import speech_power
from labkit.randomness import stream, uniform
from labkit.settings import Settings
from labkit.world.clips import CALLER_RATE_HZ, Clip, Pcm, Word
from labkit.world.sound import FRAME, VOICED_DB, frame_power, to_pcm

MICROPHONES = {"flat": None, "small": (150.0, 7_500.0), "telephone": (300.0, 3_400.0)}
"""Pass band of each microphone, Hz."""

_FADES = CALLER_RATE_HZ // 4  # longer than a filter rings
_BREATH_DB = -38.0
_BREATH_S, _BREATH_HZ = (0.25, 0.4), (500.0, 4_000.0)


def spoken(clip: Clip, settings: Settings, occasion: tuple[int, int, int]) -> Clip:
    """A clip with this call's pauses and pace, through the caller's microphone.

    It still begins and ends with voiced sound, and so does each stretch between two pauses.

    Args:
        clip: As recorded.
        settings: The caller's settings.
        occasion: Seed, call and turn, which name the draws.
    """
    pace = settings.number("caller.pace")
    band = MICROPHONES[settings.text("caller.microphone")]
    drawn = settings["caller.pauses"] == "drawn" and bool(clip.pauses)
    if pace == 1.0 and band is None and not drawn:
        return clip
    seed, call, turn = occasion
    edges_s = [0.0, *(t for pause in clip.pauses for t in pause), clip.duration_s]
    said = list(zip(edges_s[::2], edges_s[1::2], strict=True))
    sounds = [_banded(paced(clip.pcm[_samples(a) : _samples(b)], pace), band) for a, b in said]
    loudest = max(float(np.max(frame_power(sound))) for sound in sounds)

    pieces: list[Pcm] = []
    moved_s: list[float] = []  # where the edges are now
    pauses: list[tuple[float, float]] = []
    at = 0
    for index, sound in enumerate(sounds):
        first, last = _voiced(sound, loudest)
        moved_s += [_seconds(at - first), _seconds(at - first + len(sound))]
        pieces.append(sound[first:last])
        at += last - first
        if index < len(clip.pauses):
            start_s, end_s = clip.pauses[index]
            n = _samples(pause_s(seed, call, turn, index) if drawn else end_s - start_s)
            gap = _silence(n, loudest, seed, (call, turn, index), drawn)
            pieces.append(gap)
            pauses.append((_seconds(at), _seconds(at + n)))
            at += n

    def moved(t_s: float) -> float:
        return min(max(float(np.interp(t_s, edges_s, moved_s)), 0.0), _seconds(at))

    return replace(
        clip,
        words=tuple(Word(w.text, moved(w.start_s), moved(w.end_s)) for w in clip.words),
        speech_end_s=moved(clip.speech_end_s),
        pauses=tuple(pauses),
        pcm=_pcm(np.concatenate(pieces)),
    )


def at_level(clips: Sequence[Clip], level_dbfs: float) -> list[Clip]:
    """Clips whose words have that level together; they keep their differences."""
    gain = 32768 * 10 ** (level_dbfs / 20) / np.sqrt(speech_power(clips))
    return [replace(clip, pcm=_pcm(clip.pcm * gain)) for clip in clips]


def paced(pcm: Pcm, pace: float) -> Pcm:
    """Speech at another pace and the same pitch; its length is divided by ``pace``."""
    if pace == 1.0:
        return pcm
    stretch = python_stretch.Signalsmith.Stretch()
    stretch.preset(1, CALLER_RATE_HZ)
    stretch.timeFactor = pace
    return _pcm(np.asarray(stretch.process(pcm.astype(np.float32)[None]))[0])


def _banded(pcm: Pcm, band: tuple[float, float] | None) -> Pcm:
    """What a microphone takes up; its filter shifts nothing in time."""
    return pcm if band is None else _pcm(_passed(pcm, band, 2))


def _passed(samples: np.ndarray, band: tuple[float, float], times: int) -> np.ndarray:
    """Samples through a second-order Butterworth band pass, so many times, with no phase.

    SciPy's would do, and takes each worker a second and 126 MB to import.
    """
    n = 1 << (len(samples) + _FADES - 1).bit_length()
    w = np.tan(np.pi * np.fft.rfftfreq(n)[1:-1])  # as the bilinear transform bends frequencies
    low, high = (np.tan(np.pi * f / CALLER_RATE_HZ) for f in band)
    gain = np.zeros(n // 2 + 1)  # neither direct current nor half the rate passes
    gain[1:-1] = (1 + ((w**2 - low * high) / (w * (high - low))) ** 4) ** (-times / 2)
    return np.fft.irfft(np.fft.rfft(samples, n) * gain, n)[: len(samples)]


def _voiced(pcm: Pcm, loudest: float) -> tuple[int, int]:
    """First and last sample that are voiced, in whole frames."""
    frames = np.flatnonzero(frame_power(pcm) > loudest * 10 ** (VOICED_DB / 10))
    if not len(frames):
        return 0, len(pcm)
    return int(frames[0]) * FRAME, (int(frames[-1]) + 1) * FRAME


def _silence(
    n: int, loudest: float, seed: int, occasion: tuple[int, int, int], may_breathe: bool
) -> Pcm:
    """A pause, perhaps with a breath at its end that is heard and not voiced."""
    gap = np.zeros(n, np.int16)
    table = distributions()["pauses"]
    enough = n >= table["breath_from_s"] * CALLER_RATE_HZ
    if not (may_breathe and enough and uniform(seed, "caller.breath", *occasion) < table["breath"]):
        return gap
    draws = stream(seed, "caller.breath.sound", *occasion)
    length = _samples(draws.uniform(*_BREATH_S))
    noise = _passed(draws.standard_normal(length), _BREATH_HZ, 1)
    breath = noise * np.hanning(length)
    breath *= np.sqrt(loudest * 10 ** (_BREATH_DB / 10) / np.max(frame_power(breath)))
    rest = _samples(0.05)  # between drawing breath and speaking
    gap[n - rest - length : n - rest] = _pcm(breath)
    return gap


def _pcm(samples: np.ndarray) -> Pcm:
    pcm = to_pcm(samples)
    pcm.setflags(write=False)
    return pcm


def _samples(t_s: float) -> int:
    return round(t_s * CALLER_RATE_HZ)


def _seconds(n: int) -> float:
    return n / CALLER_RATE_HZ
