"""What a telephone line does to sound: 300 to 3,400 Hz at 8 kHz, eight bits a sample (mu-law).

The band is that of ITU-T G.712, with filters of minimum phase, which ring after a sound and never
before it. Such filters delay by 0.3 to 1.5 ms, depending on the frequency. The middle of that,
:data:`LOOK_AHEAD_S`, is taken off, as a part of the codec's delay that the line counts already; so
a sound keeps its place to within a millisecond, as far as it lies in the band. A word that begins
with less than 300 Hz is heard as late as on a telephone.
"""

from __future__ import annotations

import functools
import io

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view

from labkit.world.sound import to_pcm

RATE_HZ = 8000
LOOK_AHEAD_S = 0.0005
_TAPS_S = 0.012
_LOW_HZ_DB = ((0, -40), (60, -30), (200, -6), (300, -1), (400, 0))
_HIGH_HZ_DB = ((3000, 0), (3400, -1), (4000, -20), (4600, -50), (48_000, -60))
"""Gain at some frequencies, dB; between them it follows straight lines."""


class G711:
    """One direction of a telephone line, for sound that comes piece by piece.

    Args:
        rate_hz: Rate of the sound before and after, a multiple of 8,000 Hz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._step = rate_hz // RATE_HZ
        # taps in the order of the samples, in memory that is multiplied fast
        self._before = _minimum_phase(rate_hz, _LOW_HZ_DB + _HIGH_HZ_DB)[::-1].copy()
        after = _minimum_phase(rate_hz, _HIGH_HZ_DB) * self._step
        # of every 8 kHz sample this many come out, each by a column of taps
        self._after = after.reshape(-1, self._step)[::-1].copy()
        self._raw = np.zeros(len(self._before) - 1, np.float32)
        self._coded = np.zeros(len(self._after) - 1, np.float32)
        self.look_ahead = round(LOOK_AHEAD_S * rate_hz)
        """How many samples its output is behind its input."""
        self._drop = self.look_ahead

    def carry(self, pcm: np.ndarray) -> np.ndarray:
        """The next samples that come out, int16: in all :attr:`look_ahead` fewer than went in.

        A piece that is not a whole number of 8 kHz samples leaves its rest to the next one.
        """
        raw = np.concatenate([self._raw, pcm.astype(np.float32)])
        n = (len(raw) - len(self._before) + 1) // self._step
        if not n:
            self._raw = raw
            return np.zeros(0, np.int16)
        windows = sliding_window_view(raw, len(self._before))[: n * self._step : self._step]
        sent = np.ascontiguousarray(windows) @ self._before
        coded = np.concatenate([self._coded, _through_mu_law(sent)])
        self._raw = raw[n * self._step :]
        self._coded = coded[n:]
        out = np.ascontiguousarray(sliding_window_view(coded, len(self._after))) @ self._after
        heard = to_pcm(out.reshape(-1))[self._drop :]
        self._drop -= min(self._drop, n * self._step)
        return heard


def _through_mu_law(samples: np.ndarray) -> np.ndarray:
    return _mu_law()[to_pcm(samples).astype(np.int32) + 32768]


@functools.cache
def _mu_law() -> np.ndarray:
    """What becomes of each 16-bit sample, from -32768 on, in eight bits and back."""
    every, coded = np.arange(-32768, 32768).astype(np.int16), io.BytesIO()
    form = {"samplerate": RATE_HZ, "format": "RAW", "subtype": "ULAW"}
    soundfile.write(coded, every, **form)
    coded.seek(0)
    heard, _ = soundfile.read(coded, dtype="int16", channels=1, **form)
    return np.asarray(heard, np.float32)


@functools.cache
def _minimum_phase(rate_hz: int, gain: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Taps of the filter with that gain whose energy comes as early as it can."""
    n = 1 << 14
    hz, db = zip(*gain, strict=True)
    level = np.interp(np.fft.rfftfreq(n, 1 / rate_hz), hz, db) * np.log(10) / 20
    cepstrum = np.fft.irfft(level, n)
    cepstrum[1 : n // 2] *= 2  # what lies before zero is folded behind it
    cepstrum[n // 2 + 1 :] = 0
    taps = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), n)[: round(_TAPS_S * rate_hz)]
    fade = np.minimum(np.linspace(4, 0, len(taps)), 1)
    return (taps * fade).astype(np.float32)
