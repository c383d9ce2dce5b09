"""How the samples of speech go over the wire: plain, companded, or as MP3."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from labkit.world.clips import Pcm

COMPANDED = ("pcm_mulaw", "pcm_alaw")
_FRAME = {22_050: 576, 24_000: 576, 16_000: 576, 44_100: 1152, 48_000: 1152, 32_000: 1152}
"""Samples of an MP3 frame, by sample rate (ISO 11172-3, 13818-3)."""


class Coder:
    """Codes the samples of one stretch of speech, chunk by chunk."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def code(self, pcm: Pcm) -> bytes:
        """The next samples as they go over the wire; a coder that looks ahead is behind by some."""
        if self._encoding == "pcm_f32le":
            return (pcm.astype("<f4") / 32768).tobytes()
        if self._encoding in COMPANDED:
            return _companding(self._encoding)[pcm.view(np.uint16)].tobytes()
        return pcm.tobytes()

    def end(self) -> tuple[bytes, int]:
        """What is left, and how many samples longer than the speech all that was coded is."""
        return b"", 0


class Mp3Coder(Coder):
    """MP3, whose frames look ahead: the speech comes out some 50 ms later, and padded."""

    def __init__(self, rate_hz: int, bit_rate: int) -> None:
        """Makes a coder.

        Args:
            rate_hz: Sample rate, one of MPEG's.
            bit_rate: Bits per second.
        """
        import av  # only calls with MP3 need it

        codec = av.CodecContext.create("libmp3lame", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.sample_rate, codec.bit_rate = rate_hz, bit_rate
        codec.layout, codec.format = "mono", "s16p"
        codec.open()
        self._av, self._codec, self._rate_hz = av, codec, rate_hz
        self._given = self._frames = 0

    def code(self, pcm: Pcm) -> bytes:
        self._given += len(pcm)
        frame = self._av.AudioFrame.from_ndarray(pcm[None], format="s16p", layout="mono")
        frame.sample_rate = self._rate_hz
        return self._packed(frame)

    def end(self) -> tuple[bytes, int]:
        rest = self._packed(None)
        return rest, self._frames * _FRAME[self._rate_hz] - self._given

    def _packed(self, frame: Any) -> bytes:
        packets = [bytes(packet) for packet in self._codec.encode(frame)]
        self._frames += len(packets)
        return b"".join(packets)


def mp3_rates() -> tuple[int, ...]:
    """The sample rates that MP3 has here, Hz."""
    return tuple(_FRAME)


@lru_cache(maxsize=len(COMPANDED))
def _companding(encoding: str) -> npt.NDArray[np.uint8]:
    """The byte of every 16-bit sample, by its bits (ITU-T G.711)."""
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    negative = samples < 0
    if encoding == "pcm_mulaw":
        size = np.minimum(np.abs(samples >> 2), 8158) + 33
        segment = np.floor(np.log2(size)).astype(np.int32) - 5
        step = (size >> (segment + 1)) & 15
        code = ~(np.where(negative, 128, 0) | (segment << 4) | step)
    else:
        size = np.where(negative, -samples - 1, samples) >> 3
        segment = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int32) - 4, 0)
        step = np.where(segment == 0, size >> 1, size >> segment) & 15
        code = (np.where(negative, 0, 128) | (segment << 4) | step) ^ 0x55
    return np.asarray(code & 255, np.uint8)
