"""An event loop that owns the clock: virtual, or the wall's.

In virtual time nothing sleeps. The loop lets everything that can happen *now* happen; when nothing
can, it moves its clock to the next timer. Three things can still happen now without a callback
being ready, and each is known exactly rather than guessed:

* bytes on their way between two ends in this process are timers of :mod:`labkit.tunnel.network`;
* a connection being set up through the kernel, and a job running in a real thread, *hold* the
  clock until they are done (:meth:`TunnelLoop.hold`);
* a short executor job runs inline, on the spot, and takes the time it is *charged*.

If the clock cannot move and nothing is under way, nothing will ever happen again: that is reported
as :class:`TunnelHang` with the tasks that wait, never as a frozen process.

Clock functions of :mod:`time` are replaced process-wide (:func:`install`), so this belongs in a
worker process, never in a notebook's kernel. Work done in Python itself takes no virtual time.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import selectors
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

_T = TypeVar("_T")

EPOCH_NS = 1_767_225_600_000_000_000
"""Where virtual ``time.time()`` starts: 2026-01-01T00:00:00Z, so that runs repeat to the bit."""

_STUCK_AFTER_S = 60.0
"""Wall seconds that something may hold the virtual clock before that counts as an error."""

_SPINS = 1_000_000
"""Turns of the loop at one instant before that counts as one; a busy instant takes hundreds."""

_real = {
    name: getattr(time, name)
    for name in (
        "time",
        "time_ns",
        "monotonic",
        "monotonic_ns",
        "perf_counter",
        "perf_counter_ns",
        "sleep",
    )
}


class TunnelHang(RuntimeError):
    """Virtual time cannot advance and nothing will ever happen."""


class Clock:
    """Virtual time since the start of the process, in integer nanoseconds."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._job_ns: int | None = None

    def sleep(self, seconds: float) -> None:
        """What ``time.sleep`` does: blocks the loop, or lengthens the executor job it is in."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if self._job_ns is None:
            self.now_ns += round(seconds * 1e9)
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


def install() -> None:
    """Puts thin wrappers around the functions of :mod:`time`; they follow the current clock.

    Must run before anything captures those functions at import, livekit above all.

    Raises:
        RuntimeError: livekit has been imported already.
    """
    if getattr(time.time, "_labkit", False):
        return
    if "livekit.agents" in sys.modules:
        raise RuntimeError("the tunnel's clock must be installed before livekit is imported")

    def wrap(name: str, virtual: Callable[[Clock], Any]) -> None:
        real = _real[name]

        def function() -> Any:
            clock = _clock
            return real() if clock is None else virtual(clock)

        function.__name__ = name
        function._labkit = True  # type: ignore[attr-defined]
        setattr(time, name, function)

    wrap("time", lambda c: (EPOCH_NS + c.now_ns) / 1e9)
    wrap("time_ns", lambda c: EPOCH_NS + c.now_ns)
    wrap("monotonic", lambda c: c.now_ns / 1e9)
    wrap("monotonic_ns", lambda c: c.now_ns)
    wrap("perf_counter", lambda c: c.now_ns / 1e9)
    wrap("perf_counter_ns", lambda c: c.now_ns)

    def sleep(seconds: float) -> None:
        clock = _clock
        # other threads (exporters, watchdogs) live in real time
        if clock is None or asyncio._get_running_loop() is None:
            _real["sleep"](seconds)
        else:
            clock.sleep(seconds)

    time.sleep = sleep  # type: ignore[assignment]


@dataclass(frozen=True)
class JobRule:
    """How an executor job of one kind is treated in virtual time.

    Attributes:
        cost_s: Seconds charged to the virtual clock for one job.
        memo: Where results are remembered by a hash of the arguments; None to compute every time.
            Only for pure functions.
        thread: Run in a real thread and hold the clock, for jobs that wait on the loop.
    """

    cost_s: float = 0.0
    memo: Any = None
    thread: bool = False


@dataclass
class _Holds:
    count: int = 0
    names: dict[int, str] = field(default_factory=dict)


class _Selector(selectors.DefaultSelector):
    """Polls the sockets; where a real loop would sleep, it moves the clock."""

    loop: TunnelLoop
    spins = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.spins += 1
        if self.spins > _SPINS:
            raise TunnelHang(
                f"the loop ran {_SPINS:,} times at the same instant; waiting:\n"
                + self.loop.waiting()
            )
        events: list[Any] = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.loop.holds.count:
            events = super().select(_STUCK_AFTER_S)
            if not events:
                held = ", ".join(sorted(set(self.loop.holds.names.values())))
                raise TunnelHang(f"for {_STUCK_AFTER_S:.0f} s the clock has been held by: {held}")
            return events
        scheduled = self.loop._scheduled
        if not scheduled:
            raise TunnelHang(
                "nothing is scheduled and nothing is under way; waiting:\n" + self.loop.waiting()
            )
        clock = self.loop.clock
        # by a nanosecond at least: a deadline may lie between two, and who is woken at the first
        # and asks whether it is past must not be woken there for ever
        self.spins = 0
        clock.now_ns = max(clock.now_ns + 1, round(scheduled[0].when() * 1e9))
        return events


class TunnelLoop(asyncio.SelectorEventLoop):
    """The tunnel's event loop.

    Args:
        virtual: Whether this loop owns a virtual clock; otherwise it runs on the wall's.
        rule_for: Tells how an executor job is treated, from the plain function it calls.
    """

    _scheduled: list[asyncio.TimerHandle]

    def __init__(
        self,
        *,
        virtual: bool = True,
        rule_for: Callable[[Callable[..., Any]], JobRule] = lambda _: JobRule(),
    ) -> None:
        self.virtual = virtual
        self.clock = Clock()
        self.holds = _Holds()
        self.rule_for = rule_for
        self._threads: ThreadPoolExecutor | None = None
        if virtual:
            selector = _Selector()
            selector.loop = self
            super().__init__(selector)
            self._clock_resolution = 1e-9
        else:
            super().__init__()

    def time(self) -> float:
        return self.clock.now_ns / 1e9 if self.virtual else super().time()

    def run_forever(self) -> None:
        global _clock
        before, _clock = _clock, self.clock if self.virtual else None
        try:
            super().run_forever()
        finally:
            _clock = before

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        super().close()

    def hold(self, name: str) -> Callable[[], None]:
        """Stops virtual time until the returned function is called (safe to call twice)."""
        key = object()
        self.holds.count += 1
        self.holds.names[id(key)] = name

        def release() -> None:
            if self.holds.names.pop(id(key), None) is not None:
                self.holds.count -= 1

        return release

    def waiting(self) -> str:
        """The unfinished tasks, one a line, with where each stands."""
        lines = []
        for task in asyncio.all_tasks(self):
            frames = task.get_stack(limit=1)
            where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
            lines.append(
                f"  {task.get_name()}: {getattr(task.get_coro(), '__qualname__', '?')} at {where}"
            )
        return "\n".join(sorted(lines)) or "  (no task)"

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Runs a job inline in virtual time, and charges what its rule says it takes."""
        if not self.virtual:
            return super().run_in_executor(executor, func, *args)
        inner, inner_args = _unwrap(func, args)
        rule = self.rule_for(inner)
        if rule.thread:
            return self._run_in_thread(func, args)
        future: asyncio.Future[_T] = self.create_future()
        slept_ns = 0
        try:
            if rule.memo is None:
                result, slept_ns = self.clock.run_job(func, args)
            else:
                result = _remembered(rule.memo, inner, inner_args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as e:
            future.set_exception(e)
            return future
        delay_s = rule.cost_s + slept_ns / 1e9
        if delay_s > 0:
            self.call_later(delay_s, _set_result, future, result)
        else:
            future.set_result(result)
        return future

    def _run_in_thread(self, func: Callable[..., _T], args: tuple[Any, ...]) -> asyncio.Future[_T]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(thread_name_prefix="labkit-job")
        release = self.hold(f"executor job {getattr(func, '__qualname__', func)!s}")
        future = asyncio.wrap_future(self._threads.submit(func, *args), loop=self)
        future.add_done_callback(lambda _: release())
        return future


def _unwrap(
    func: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The plain function behind ``asyncio.to_thread``, which wraps it in ``Context.run``."""
    if isinstance(func, functools.partial) and not args and func.args:
        if getattr(func.func, "__name__", "") == "run":
            return func.args[0], func.args[1:]
    return func, args


def _remembered(memo: Any, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    digest = hashlib.blake2b(digest_size=16)
    for arg in args:
        digest.update(memoryview(arg).cast("B"))
    key = digest.hexdigest()
    if key not in memo:
        memo[key] = func(*args)
    return memo[key]


def _set_result(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)
