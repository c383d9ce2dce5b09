"""The path between the caller and the agent, as either side's receiver hears it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np

from labkit.callers.g711 import G711
from labkit.randomness import Delay, uniform
from labkit.settings import Settings
from labkit.settings.lines import line_value

PACKET_S = 0.02


@dataclass(frozen=True)
class Way:
    """One direction of a line.

    Attributes:
        loss: Proportion of packets lost (0 to 1).
        burst_ratio: How many times longer runs of lost packets are than if each were lost by
            itself; 1 or more.
        jitter_s: Median extra delay of a packet, seconds; its 95th percentile is three times that.
        jitter_buffer_s: Play-out delay of the receiver, seconds; it hides that much jitter.
    """

    loss: float = 0.0
    burst_ratio: float = 1.0
    jitter_s: float = 0.0
    jitter_buffer_s: float = 0.0

    @classmethod
    def of(cls, settings: Settings, way: str) -> Way:
        """The direction ``up`` or ``down`` of the line."""
        return cls(**{f.name: _number(settings, f.name, way) for f in fields(cls)})

    @property
    def clean(self) -> bool:
        """Whether every packet is heard."""
        return not self.loss and not self.jitter_s


def _number(settings: Settings, part: str, way: str = "") -> float:
    return float(str(line_value(settings, part, way)))


@dataclass(frozen=True)
class Line:
    """One call's audio path.

    Each receiver plays audio out a fixed time after it was captured, :attr:`up_s` at the agent and
    :attr:`down_s` at the caller: the codec's delay, half the round trip and the jitter buffer. A
    packet that is lost, or later than the buffer can hide, is heard as silence; it never shifts
    what follows.
    """

    seed: int
    call: int
    rtt_s: float
    codec: str
    codec_s: float
    up: Way
    down: Way

    @classmethod
    def of(cls, settings: Settings, seed: int, call: int) -> Line:
        """The line of one call: what was chosen of ``links.caller.*``, else ``caller.line``'s."""
        return cls(
            seed,
            call,
            _number(settings, "rtt_s"),
            str(line_value(settings, "codec")),
            _number(settings, "codec_s"),
            Way.of(settings, "up"),
            Way.of(settings, "down"),
        )

    @property
    def up_s(self) -> float:
        """From a sample's capture at the caller to its play-out at the agent, seconds."""
        return self.rtt_s / 2 + self.codec_s + self.up.jitter_buffer_s

    @property
    def down_s(self) -> float:
        """From a sample's capture at the agent to its play-out at the caller, seconds."""
        return self.rtt_s / 2 + self.codec_s + self.down.jitter_buffer_s

    def coder(self, rate_hz: int) -> G711 | None:
        """What the codec does to sound sent without a break; None if it leaves it as it is."""
        return G711(rate_hz) if self.codec == "g711" else None

    def arrives(self, direction: str, turn: int, packet: int) -> bool:
        """Whether the packet with that number (20 ms each), counted in its turn, is heard."""
        way = self.up if direction == "up" else self.down
        if way.loss and self._lost(way, direction, turn, packet):
            return False
        if way.jitter_s:
            name = (f"line.{direction}.jitter", self.call, turn, packet)
            return _spread(way.jitter_s).draw(self.seed, *name) <= way.jitter_buffer_s
        return True

    def _lost(self, way: Way, direction: str, turn: int, packet: int) -> bool:
        """Gilbert's two states, without memory: each packet has one draw.

        A low draw is lost whatever came before, a high one arrives, and one between shares the
        fate of the packet before it. So a line with less loss loses none that this one keeps.
        """
        begins = way.loss / way.burst_ratio
        goes_on = 1 - (1 - way.loss) / way.burst_ratio
        while True:
            draw = uniform(self.seed, f"line.{direction}.loss", self.call, turn, packet)
            if draw < begins or draw >= goes_on:
                return draw < begins
            packet -= 1

    def carry(
        self,
        direction: str,
        first_sample: int,
        pcm: np.ndarray,
        rate_hz: int,
        turn: tuple[int, int] = (-1, 0),
    ) -> np.ndarray:
        """What the far end hears of what was sent.

        Args:
            direction: ``up`` to the agent or ``down`` to the caller.
            first_sample: Position of the first sample of ``pcm``, from the start of the call.
            pcm: int16 samples, as the codec left them.
            rate_hz: Their rate.
            turn: Number and first sample of the turn in which packets are counted.
        """
        if (self.up if direction == "up" else self.down).clean:
            return pcm
        size = round(PACKET_S * rate_hz)
        heard = pcm.copy()
        last = (first_sample + len(pcm) - 1) // size
        for packet in range(first_sample // size, last + 1):
            if not self.arrives(direction, turn[0], packet - turn[1] // size):
                start = max(packet * size - first_sample, 0)
                heard[start : (packet + 1) * size - first_sample] = 0
        return heard


@functools.lru_cache
def _spread(jitter_s: float) -> Delay:
    return Delay(median_s=jitter_s, p95_s=3 * jitter_s)
