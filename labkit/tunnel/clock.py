"""Virtual time: a clock that :mod:`labkit.tunnel.loop` moves and everything else reads.

The functions of :mod:`time` are replaced process-wide (:func:`install`), so this belongs in a
worker process, never in a notebook's kernel. Work done in Python itself takes no virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from labkit.tunnel import instant

_T = TypeVar("_T")

EPOCH_NS = 1_767_225_600_000_000_000
"""Where virtual ``time.time()`` starts: 2026-01-01T00:00:00Z, so that runs repeat to the bit."""

_CLOCKS = ("time", "monotonic", "perf_counter")

real: dict[str, Callable[..., Any]] = {
    name: getattr(time, name) for name in (*_CLOCKS, *(f"{n}_ns" for n in _CLOCKS), "sleep")
}
"""The functions of :mod:`time` as they were, by name."""


class Clock:
    """Virtual time since the loop was made.

    Attributes:
        now_ns: In nanoseconds; authoritative.
        now_s: The same in seconds.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.now_s = 0.0
        self._job_ns: int | None = None

    def move_to(self, ns: int) -> None:
        """Sets the time, nanoseconds."""
        self.now_ns = ns
        self.now_s = ns / 1e9

    def sleep(self, seconds: float) -> None:
        """What ``time.sleep`` does: blocks the loop, or lengthens the executor job it is in."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if instant.current() is not None:
            return
        if self._job_ns is None:
            self.move_to(self.now_ns + round(seconds * 1e9))
        else:
            self._job_ns += round(seconds * 1e9)

    def run_job(self, func: Callable[..., _T], args: tuple[Any, ...]) -> tuple[_T, int]:
        """Runs an executor job on the spot; its sleeps are added up instead of blocking the loop.

        Returns:
            The job's result and the nanoseconds it slept.
        """
        before, self._job_ns = self._job_ns, 0
        try:
            result = func(*args)
            return result, self._job_ns
        finally:
            self._job_ns = before


_clock: Clock | None = None


def is_virtual() -> bool:
    """Whether a loop with a virtual clock is running in this process."""
    return _clock is not None


@contextlib.contextmanager
def in_charge(clock: Clock) -> Iterator[None]:
    """Makes the functions of :mod:`time` read this clock."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before


def install() -> None:
    """Puts thin wrappers around the functions of :mod:`time`; they follow the clock in charge.

    Must run before anything captures those functions at import, livekit above all.

    Raises:
        RuntimeError: livekit has been imported already.
    """
    if hasattr(time.time, "_labkit"):
        return
    if "livekit.agents" in sys.modules:
        raise RuntimeError("the tunnel's clock must be installed before livekit is imported")

    def wrap(name: str, start_ns: int) -> None:
        real_s, real_ns = real[name], real[f"{name}_ns"]

        def seconds() -> Any:
            clock = _clock
            return real_s() if clock is None else (start_ns + clock.now_ns) / 1e9

        def nanoseconds() -> Any:
            clock = _clock
            return real_ns() if clock is None else start_ns + clock.now_ns

        for function, called in ((seconds, name), (nanoseconds, f"{name}_ns")):
            function.__name__ = called
            function._labkit = True  # type: ignore[attr-defined]
            setattr(time, called, function)

    for name in _CLOCKS:
        wrap(name, EPOCH_NS if name == "time" else 0)

    def sleep(seconds: float) -> None:
        clock = _clock
        # other threads (exporters, watchdogs) live in real time
        if clock is None or asyncio._get_running_loop() is None:
            real["sleep"](seconds)
        else:
            clock.sleep(seconds)

    time.sleep = sleep  # type: ignore[assignment]
