"""The path between the caller and the agent, as either side's receiver hears it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.randomness import Delay, uniform
from labkit.settings import Settings

PACKET_S = 0.02


@dataclass(frozen=True)
class Line:
    """One call's audio path, the same in both directions.

    Each receiver plays audio out a fixed ``delay_s`` after it was captured: the codec's delay, half
    the round trip and the jitter buffer. A packet that is lost, or later than the buffer can hide,
    is heard as silence; it never shifts what follows.
    """

    seed: int
    call: int
    rtt_s: float
    jitter_s: float
    loss: float
    jitter_buffer_s: float
    codec_s: float

    @classmethod
    def of(cls, settings: Settings, seed: int, call: int) -> Line:
        """The line of one call."""
        names = ("rtt_s", "jitter_s", "loss", "jitter_buffer_s", "codec_s")
        return cls(seed, call, *(settings.number(f"links.caller.{n}") for n in names))

    @property
    def delay_s(self) -> float:
        """From a sample's capture to its play-out at the other end, seconds."""
        return self.rtt_s / 2 + self.codec_s + self.jitter_buffer_s

    def arrives(self, direction: str, turn: int, packet: int) -> bool:
        """Whether the packet with that number (20 ms each), counted in its turn, is heard."""
        name = (f"line.{direction}", self.call, turn, packet)
        if self.loss and uniform(self.seed, name[0] + ".loss", *name[1:]) < self.loss:
            return False
        if self.jitter_s:
            spread = Delay(median_s=self.jitter_s, p95_s=3 * self.jitter_s)
            return spread.draw(self.seed, name[0] + ".jitter", *name[1:]) <= self.jitter_buffer_s
        return True

    def carry(
        self,
        direction: str,
        first_sample: int,
        pcm: np.ndarray,
        rate_hz: int,
        turn: tuple[int, int] = (-1, 0),
    ) -> np.ndarray:
        """What the far end hears.

        Args:
            direction: ``up`` to the agent or ``down`` to the caller.
            first_sample: Position of the first sample of ``pcm``, from the start of the call.
            pcm: int16 samples.
            rate_hz: Their rate.
            turn: Number and first sample of the turn in which packets are counted.
        """
        if not self.loss and not self.jitter_s:
            return pcm
        size = round(PACKET_S * rate_hz)
        heard = pcm.copy()
        last = (first_sample + len(pcm) - 1) // size
        for packet in range(first_sample // size, last + 1):
            if not self.arrives(direction, turn[0], packet - turn[1] // size):
                start = max(packet * size - first_sample, 0)
                heard[start : (packet + 1) * size - first_sample] = 0
        return heard
