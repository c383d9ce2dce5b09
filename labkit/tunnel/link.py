"""The network path between two ends: round trips, jitter, loss and TCP's slow start.

A connection inside the tunnel is opened over real loopback sockets and carries real TLS, but its
bytes travel through a :class:`Pipe` per direction instead of the kernel: each write arrives one
way later, in order. Handshakes, requests and cancelled streams then cost exactly the round trips
they make, and every byte in flight is a timer of the loop, so virtual time cannot overtake it.

Modelled: propagation delay, jitter (in order, so a late segment holds up those behind it), loss as
the delay of its retransmission, the initial congestion window of ten segments (RFC 6928), its
growth by acknowledgements, and its decay after idling (RFC 2861). Not modelled: bandwidth and
queues, which voice traffic does not fill.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from labkit.randomness import Delay, uniform
from labkit.tunnel import instant

SEGMENT_BYTES = 1448
INITIAL_WINDOW_BYTES = 10 * SEGMENT_BYTES
MIN_RETRANSMIT_S = 0.2
"""Linux's shortest retransmission time-out; a lost segment waits at least this much longer."""
CONDITIONS_S = 0.02
"""Jitter and loss are drawn once per this interval, so that they depend on the time in the call and
not on who happens to send."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """The path to one host.

    Attributes:
        rtt_s: Round-trip time, half of it each way.
        jitter_s: Median of the extra one-way delay (its 95th percentile is three times that).
        loss: Proportion of segments lost, 0 to 1.
        dns_s: Time of a name look-up that the resolver has not cached.
    """

    rtt_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    dns_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rtt_s", "jitter_s", "dns_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0 seconds")
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss={self.loss} must be at least 0 and below 1")

    def extra_s(self, t_s: float, seed: int, *key: int | str) -> float:
        """Delay of a segment sent at ``t_s`` beyond propagation, seconds."""
        if not self.jitter_s and not self.loss:
            return 0.0
        slot = int(t_s / CONDITIONS_S)
        extra = 0.0
        if self.jitter_s:
            spread = Delay(median_s=self.jitter_s, p95_s=3 * self.jitter_s)
            extra = spread.draw(seed, "jitter", *key, slot)
        if self.loss and uniform(seed, "loss", *key, slot) < self.loss:
            extra += MIN_RETRANSMIT_S + self.rtt_s
        return extra


class Pipe:
    """One direction of a connection."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, link: Link, extra_s: Callable[[float], float]
    ) -> None:
        self._loop = loop
        self._one_way_s = link.rtt_s / 2
        self._rtt_s = link.rtt_s
        self._extra = extra_s
        self._quiet = not link.jitter_s and not link.loss
        self._last_arrival_s = 0.0
        self._last_send_s = 0.0
        self._window = INITIAL_WINDOW_BYTES
        self._unacked = 0
        self._acks: deque[tuple[float, int]] = deque()
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._waiting: asyncio.TimerHandle | None = None
        self.receive: Callable[[bytes | None], None] | None = None
        """Takes what arrives at the far end; None marks the end. Set by the transport."""
        self.flow: Callable[[int], None] = lambda queued: None
        """Called with the number of bytes waiting, whenever it may have changed."""
        self._end = self._ended = False
        self._flying: deque[bytes | None] = deque()

    @property
    def queued_bytes(self) -> int:
        return self._backlog_bytes

    def send(self, data: bytes) -> None:
        self._backlog.append(data)
        self._backlog_bytes += len(data)
        self._pump()

    def finish(self) -> None:
        """Says that nothing more will be sent: the receiver sees the end after the last byte."""
        self._end = True
        self._pump()

    def reset(self) -> None:
        """Drops what is queued and tells the receiver as soon as a reset segment can."""
        self._backlog.clear()
        self._backlog_bytes = 0
        self.finish()

    def _pump(self) -> None:
        now = self._loop.time()
        # the clock ticks in nanoseconds, so a due time may lie a fraction of one ahead
        while self._acks and self._acks[0][0] <= now + 1e-9:
            acked = self._acks.popleft()[1]
            self._unacked -= acked
            self._window += acked
        idle_periods = int((now - self._last_send_s) / (MIN_RETRANSMIT_S + self._rtt_s))
        if idle_periods:
            self._window = max(INITIAL_WINDOW_BYTES, self._window >> min(idle_periods, 30))
        at_once = instant.remote() is not None
        while self._backlog and (at_once or self._unacked < self._window):
            data = self._backlog.popleft()
            room = self._window - self._unacked
            if self._rtt_s and len(data) > room and not at_once:
                self._backlog.appendleft(data[room:])
                data = data[:room]
            self._backlog_bytes -= len(data)
            self._launch(now, data, at_once)
        if self._backlog:
            if self._waiting is None:
                self._waiting = self._loop.call_at(self._acks[0][0], self._resume)
        elif self._end and not self._ended:
            self._ended = True
            way_s = 0.0 if at_once else self._one_way_s
            self._fly(max(now + way_s, self._last_arrival_s), None)
        self.flow(self._backlog_bytes)

    def _resume(self) -> None:
        self._waiting = None
        self._pump()

    def _launch(self, now: float, data: bytes, at_once: bool) -> None:
        way_s = 0.0 if at_once else self._one_way_s
        if not (at_once or self._quiet):
            way_s += self._extra(now)
        arrival = max(now + way_s, self._last_arrival_s)
        self._last_arrival_s = arrival
        self._last_send_s = now
        if self._rtt_s and not at_once:
            self._unacked += len(data)
            self._acks.append((arrival + self._one_way_s, len(data)))
        self._fly(arrival, data)

    def _fly(self, arrival: float, data: bytes | None) -> None:
        # timers of the same instant fire in no set order, so each takes whatever is next in line
        self._flying.append(data)
        self._loop.call_at(arrival, self._arrive)

    def _arrive(self) -> None:
        data = self._flying.popleft()
        if self.receive is not None:
            self.receive(data)


class Connection:
    """A connection between two ends in this process; ends attach as their transports are made.

    ``accepted`` is called when the server's end has attached.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        link: Link,
        extra_s: Callable[[float], float],
        accepted: Callable[[], None],
    ) -> None:
        self.accepted = accepted
        self.up = Pipe(loop, link, extra_s)
        self.down = Pipe(loop, link, extra_s)
