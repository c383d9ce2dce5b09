"""Background noise behind a caller, as endless loops of 16 kHz samples.

The recordings are the ambiences that livekit-agents ships for agents' background audio; they are
read from the installed package and never copied.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from labkit.randomness import stream, uniform
from labkit.settings import Settings
from labkit.world.clips import Clip
from labkit.world.scene import SAMPLE_RATE_HZ
from labkit.world.sound import to_pcm

SILENT_DBFS = -96.0
_TONE_S = 10

RECORDINGS = {
    "office": "office-ambience.ogg",
    "city": "city-ambience.ogg",
    "crowd": "crowded-room.ogg",
    "forest": "forest-ambience.ogg",
    "keyboard": "keyboard-typing.ogg",
}
"""Recordings, 10 to 30 s each; ``caller.noise`` may also be ``pink`` or ``none``."""


def background(settings: Settings, clips: Iterable[Clip], seed: int, call: int) -> np.ndarray:
    """All background of the caller's speech as one loop, int16; empty for digital silence.

    Args:
        settings: Level of the background noise, and the noise with its signal-to-noise ratio.
        clips: What the caller will say; the ratio refers to its mean power without pauses.
        seed: The study's base seed.
        call: Index of the call.
    """
    tone = pink_background(settings.number("caller.noise_floor_dbfs"), seed, call)
    snr_db = settings["caller.noise_snr_db"]
    if snr_db is None or settings.text("caller.noise") == "none":
        return tone
    noise = _noise(settings.text("caller.noise"), seed, call)
    wanted = speech_power(clips) / 10 ** (float(snr_db) / 10)
    noise = noise * np.sqrt(wanted / np.mean(noise**2))
    if len(tone):
        noise = noise + np.resize(tone, len(noise))
    return to_pcm(noise)


def pink_background(level_dbfs: float, seed: int, call: int) -> np.ndarray:
    """Ten seconds of pink noise at a level, int16; empty for digital silence."""
    if level_dbfs <= SILENT_DBFS:
        return np.zeros(0, dtype=np.int16)
    pink = _pink(seed, "caller.tone", call)
    pink *= 32768 * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(pink**2))
    return to_pcm(pink)


def speech_power(clips: Iterable[Clip]) -> float:
    """Mean power of the words of some clips, in squared 16-bit units."""
    total, n = 0.0, 0
    for clip in clips:
        for word in clip.words:
            span = slice(round(word.start_s * SAMPLE_RATE_HZ), round(word.end_s * SAMPLE_RATE_HZ))
            pcm = clip.pcm[span].astype(np.float64)
            total += float(pcm @ pcm)
            n += len(pcm)
    return total / n


def _noise(name: str, seed: int, call: int) -> np.ndarray:
    if name == "pink":
        return _pink(seed, "caller.noise", call)
    loop = _recording(name)
    return np.roll(loop, -round(uniform(seed, "caller.noise", call) * len(loop)))


def _pink(seed: int, purpose: str, call: int) -> np.ndarray:
    n = _TONE_S * SAMPLE_RATE_HZ
    white = np.fft.rfft(stream(seed, purpose, call).standard_normal(n))
    white[1:] /= np.sqrt(np.arange(1, len(white)))
    white[0] = 0
    return np.fft.irfft(white, n)


@functools.cache
def _recording(name: str) -> np.ndarray:
    """A recording at 16 kHz, float."""
    spec = importlib.util.find_spec("livekit.agents")
    assert spec is not None and spec.origin is not None
    pcm, rate_hz = soundfile.read(Path(spec.origin).parent / "resources" / RECORDINGS[name])
    mono = pcm if pcm.ndim == 1 else pcm.mean(axis=1)
    n = round(len(mono) * SAMPLE_RATE_HZ / rate_hz)
    # a loop has no ends, so cutting its spectrum resamples it exactly
    return np.asarray(np.fft.irfft(np.fft.rfft(mono)[: n // 2 + 1], n))
