"""The critical path method: what was waited for, and how much longer the rest could have taken.

A reply is a network of spans of time. A moment is reached when all spans that end in it are over,
so the last moment waits for the longest way through the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

_SAME_S = 1e-9


class Span(NamedTuple):
    """A stretch of time between two moments; ``stage`` is '' for a mere dependence.

    A negative length says that its end may come that much before its beginning.
    """

    begins: str
    ends: str
    stage: str
    length_s: float


class Network:
    """Spans between named moments, from ``first`` to the end of the span that was added last.

    All spans that end in a moment must be added before those that begin there.

    Attributes:
        reached: When each moment is reached, seconds after the first.
    """

    def __init__(self, first: str) -> None:
        self.last = first
        self.spans: list[Span] = []
        self.reached = {first: 0.0}

    def add(self, begins: str, ends: str, stage: str = "", length_s: float = 0.0) -> None:
        over_s = self.reached[begins] + length_s
        self.spans.append(Span(begins, ends, stage, length_s))
        self.reached[ends] = max(self.reached.get(ends, -math.inf), over_s)
        self.last = ends

    def path(self) -> list[Span]:
        """The spans that were waited for, in order."""
        found: list[Span] = []
        moment = self.last
        while ending := [s for s in self.spans if s.ends == moment]:
            span = max(ending, key=lambda s: self.reached[s.begins] + s.length_s)
            found.append(span)
            moment = span.begins
        return found[::-1]

    def slacks(self) -> list[float]:
        """How much longer each span could have taken without moving the last moment, seconds."""
        latest = {self.last: self.reached[self.last]}
        for span in reversed(self.spans):
            by_s = latest.get(span.ends, math.inf) - span.length_s
            latest[span.begins] = min(latest.get(span.begins, math.inf), by_s)
        found = (latest[s.ends] - self.reached[s.begins] - s.length_s for s in self.spans)
        return [0.0 if slack_s < _SAME_S else slack_s for slack_s in found]

    def slack_s(self, stage: str) -> float:
        """The smallest slack of a stage's spans; NaN if it has none."""
        pairs = zip(self.spans, self.slacks(), strict=True)
        return min((slack_s for span, slack_s in pairs if span.stage == stage), default=math.nan)

    def length_s(self, stage: str) -> float:
        """How long a stage took: of spans side by side the longer counts."""
        return max(self._again(lambda s: s.length_s if s.stage == stage else 0.0).values())

    def drag_s(self, stage: str) -> float:
        """How much sooner the last moment would have come, had a stage taken no time."""
        without = self._again(lambda s: min(s.length_s, 0.0) if s.stage == stage else s.length_s)
        return self.reached[self.last] - without[self.last]

    def _again(self, length_of: Callable[[Span], float]) -> dict[str, float]:
        """When each moment would be reached with other lengths."""
        other = Network(next(iter(self.reached)))
        for span in self.spans:
            other.add(span.begins, span.ends, span.stage, length_of(span))
        return other.reached
