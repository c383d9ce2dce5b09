"""What the caller hears, and when, to the sample: every latency is measured here.

A sample counts as *voiced* when it is louder than :data:`VOICED_LEVEL`; silence inside synthesized
audio is silence here too. Times are seconds on the call's clock, at the ear.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import numpy as np

VOICED_LEVEL = 184
"""-45 dBFS in 16-bit samples: below any speech, above coding noise and background noise."""

GAP_S = 0.15
"""Silence that separates two stretches of sound; shorter ones are stops inside words."""


@dataclass
class Heard:
    """A stretch of audio at the ear."""

    start_s: float
    pcm: np.ndarray
    rate_hz: int
    first_voiced_s: float = float("nan")
    last_voiced_s: float = float("nan")

    def __post_init__(self) -> None:
        self._find_voice()

    def _find_voice(self) -> None:
        loud = np.flatnonzero(np.abs(self.pcm.astype(np.int32)) > VOICED_LEVEL)
        if len(loud):
            self.first_voiced_s = self.start_s + float(loud[0]) / self.rate_hz
            self.last_voiced_s = self.start_s + float(loud[-1] + 1) / self.rate_hz
        else:
            self.first_voiced_s = self.last_voiced_s = float("nan")

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.pcm) / self.rate_hz

    def cut(self, t_s: float) -> None:
        """Drops what would be heard from ``t_s`` on."""
        keep = max(0, round((t_s - self.start_s) * self.rate_hz))
        self.pcm = self.pcm[:keep]
        self._find_voice()


@dataclass
class Break:
    """Where the agent fell silent in the middle of its speech, and where it went on (or NaN)."""

    at_s: float
    resumed_s: float = float("nan")


@dataclass
class Segment:
    """One reply (or part of one) as the agent played it.

    Attributes:
        left_s: When its first sample left the agent, on the agent's side of the line.
        interrupted: Whether it was cut off before its end.
        breaks: Where it fell silent with something left to say.
    """

    left_s: float
    heard: list[Heard] = field(default_factory=list)
    interrupted: bool = False
    finished_s: float = float("nan")
    breaks: list[Break] = field(default_factory=list)

    @property
    def broken_off(self) -> bool:
        """Whether it fell silent with something left to say, and did not go on."""
        return bool(self.breaks) and self.breaks[-1].resumed_s != self.breaks[-1].resumed_s

    @property
    def first_voiced_s(self) -> float:
        return next(
            (h.first_voiced_s for h in self.heard if h.first_voiced_s == h.first_voiced_s),
            float("nan"),
        )

    @property
    def last_voiced_s(self) -> float:
        return next(
            (h.last_voiced_s for h in reversed(self.heard) if h.last_voiced_s == h.last_voiced_s),
            float("nan"),
        )

    @property
    def starved_s(self) -> float:
        """How long it waited, before its first sound, for audio that had not arrived."""
        pairs = itertools.pairwise(h for h in self.heard if h.start_s <= self.first_voiced_s)
        return sum(max(b.start_s - a.end_s, 0.0) for a, b in pairs)

    def runs(self) -> tuple[tuple[float, float], ...]:
        """Where its sound goes on without a break: from which second of the sound, and when that
        is heard; last, how long all of it is, and when it ends."""
        found: list[tuple[float, float]] = []
        done_s, end_s = 0.0, float("nan")
        for heard in self.heard:
            if not abs(heard.start_s - end_s) < 1e-6:
                found.append((done_s, heard.start_s))
            done_s += len(heard.pcm) / heard.rate_hz
            end_s = heard.end_s
        return (*found, (done_s, end_s)) if found else ()

    def voiced(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each stretch of sound; gaps shorter than ``GAP_S`` do not count."""
        spans: list[list[float]] = []
        for heard in self.heard:
            loud = np.flatnonzero(np.abs(heard.pcm.astype(np.int32)) > VOICED_LEVEL)
            if not len(loud):
                continue
            parts = np.split(loud, np.flatnonzero(np.diff(loud) > GAP_S * heard.rate_hz) + 1)
            for part in parts:
                start_s = heard.start_s + float(part[0]) / heard.rate_hz
                end_s = heard.start_s + float(part[-1] + 1) / heard.rate_hz
                if spans and start_s - spans[-1][1] < GAP_S:
                    spans[-1][1] = end_s
                else:
                    spans.append([start_s, end_s])
        return tuple((a, b) for a, b in spans)


class Ear:
    """Everything the caller hears in one call.

    The agent pushes audio ahead of time, so entries may lie in the future until they are cut off.
    ``changed`` is set whenever speech is added or cut. People tell speech from what is played
    behind it, so whatever is asked here is asked of speech alone; only :meth:`track` has both.

    Attributes:
        segments: The agent's speech.
        behind: What it plays on tracks of their own, such as ambience, by the track's name.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.behind: dict[str, list[Heard]] = {}
        self.changed = asyncio.Event()

    def begin(self, left_s: float) -> Segment:
        segment = Segment(left_s)
        self.segments.append(segment)
        return segment

    def add(self, segment: Segment, heard: Heard) -> None:
        segment.heard.append(heard)
        if segment.broken_off:
            segment.breaks[-1].resumed_s = heard.start_s
        self.changed.set()

    def cut(self, segment: Segment, t_s: float) -> None:
        """The rest of a segment will not be heard."""
        before_s = segment.last_voiced_s
        while segment.heard and segment.heard[-1].start_s >= t_s:
            segment.heard.pop()
        if segment.heard and segment.heard[-1].end_s > t_s:
            segment.heard[-1].cut(t_s)
        if before_s > t_s and not segment.broken_off:
            segment.breaks.append(Break(t_s))
        self.changed.set()

    def add_behind(self, track: str, heard: Heard) -> None:
        """Adds sound of a track that is not the agent's speech."""
        self.behind.setdefault(track, []).append(heard)

    def cut_behind(self, track: str, t_s: float) -> None:
        """The rest of such a track, as far as it is known, will not be heard."""
        pieces = self.behind.get(track, [])
        while pieces and pieces[-1].start_s >= t_s:
            pieces.pop()
        if pieces and pieces[-1].end_s > t_s:
            pieces[-1].cut(t_s)

    def reply_to(self, started_s: float, stopped_s: float) -> Segment | None:
        """The first segment begun after a turn's start that sounds, or will, after its end."""
        for segment in self.segments:
            if segment.first_voiced_s > started_s and segment.last_voiced_s > stopped_s:
                return segment
        return None

    @property
    def broken_off(self) -> bool:
        """Whether the latest speech that was heard fell silent with something left to say."""
        sounded = (s for s in reversed(self.segments) if s.last_voiced_s == s.last_voiced_s)
        latest = next(sounded, None)
        return latest is not None and latest.broken_off

    @property
    def last_voiced_s(self) -> float:
        """The last voiced moment scheduled so far, which may lie in the future; NaN before any."""
        ends = (s.last_voiced_s for s in self.segments[-3:])
        return max((e for e in ends if e == e), default=float("nan"))

    def track(self, rate_hz: int, duration_s: float) -> np.ndarray:
        """The whole call as one int16 track, for listening: speech, and what is behind it."""
        out = np.zeros(round(duration_s * rate_hz), dtype=np.int16)
        for heard in (h for segment in self.segments for h in segment.heard):
            first, pcm = _at_rate(heard, rate_hz, len(out))
            out[first : first + len(pcm)] = pcm
        for heard in (h for pieces in self.behind.values() for h in pieces):
            first, pcm = _at_rate(heard, rate_hz, len(out))
            there = out[first : first + len(pcm)]
            there[:] = np.clip(there.astype(np.int32) + pcm, -32768, 32767)
        return out


def _at_rate(heard: Heard, rate_hz: int, length: int) -> tuple[int, np.ndarray]:
    """Where a stretch begins in a track of ``length`` samples, and its samples at that rate."""
    pcm = heard.pcm
    if heard.rate_hz != rate_hz:
        n = round(len(pcm) * rate_hz / heard.rate_hz)
        at = np.linspace(0, len(pcm) - 1, n)
        pcm = np.interp(at, np.arange(len(pcm)), pcm).astype(np.int16)
    first = round(heard.start_s * rate_hz)
    return first, pcm[: max(0, length - first)]
