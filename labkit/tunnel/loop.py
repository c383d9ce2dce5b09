"""An event loop that owns the clock.

In virtual time nothing sleeps. The loop lets everything that can happen *now* happen; when nothing
can, it moves its clock to the next timer. Three things can still happen now without a callback
being ready, and each is known exactly rather than guessed:

* bytes on their way between two ends in this process are timers of :mod:`labkit.tunnel.link`;
* a connection being set up through the kernel *holds* the clock until it is done
  (:meth:`TunnelLoop.hold`);
* a short executor job runs inline and takes the virtual time that its rule gives; one that waits
  for the loop takes turns with it (:mod:`labkit.tunnel.turns`).

The kernel is polled only while one of these holds the clock, or while a socket is open that the
tunnel does not know: otherwise it has nothing to report.

If the clock cannot move and nothing is under way, nothing will ever happen again: that is reported
as :class:`TunnelHang` with the tasks that wait, never as a frozen process.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from labkit.tunnel import clock, instant
from labkit.tunnel.executor import JobRule, plain_call, remembered
from labkit.tunnel.handles import Handle, Selector, Timer
from labkit.tunnel.turns import Turns

_T = TypeVar("_T")

_STUCK_AFTER_S = 60.0
"""Wall seconds that something may hold the virtual clock before that counts as an error."""

_SPINS = 1_000_000
"""Iterations at one instant before that counts as an error; a busy instant takes hundreds."""

_TICK_S = 1e-9
"""The clock's resolution."""


class TunnelHang(RuntimeError):
    """Virtual time cannot advance and nothing will ever happen."""


class TunnelLoop(asyncio.SelectorEventLoop):
    """The tunnel's event loop, with a virtual clock.

    Args:
        rule_for: How an executor job is treated, given the plain function it calls.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _closed: bool

    def __init__(self, rule_for: Callable[[Callable[..., Any]], JobRule] = lambda _: JobRule()):
        self.clock = clock.Clock()
        self.rule_for = rule_for
        self._holds: dict[object, str] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = itertools.count()
        self._spins = 0
        self._kernel = Selector()
        super().__init__(self._kernel)
        # the loop's pipe to itself: whatever a thread sends through it is in ``_ready`` already
        self._kernel.quiet.update(key.fd for key in self._kernel.get_map().values())
        self._kernel.strangers = 0

    # the clock

    def time(self) -> float:
        return self.clock.now_s

    def run_forever(self) -> None:
        with clock.in_charge(self.clock):
            super().run_forever()

    def hold(self, name: str) -> Callable[[], None]:
        """Stops virtual time until the returned function is called (safe to call twice)."""
        key = object()
        self._holds[key] = name

        def release() -> None:
            self._holds.pop(key, None)

        return release

    def expects_holders(self, sock: socket.socket) -> None:
        """Marks a listening socket whose clients hold the clock while they connect."""
        self._kernel.quiet.add(sock.fileno())

    # one turn

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        timer = Timer(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        delay = instant.shortened(delay, callback)
        return self.call_at(self.clock.now_s + delay, callback, *args, context=context)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        context, span = instant.task_context(coro)
        if context is None:
            return super().create_task(coro, **more)
        task = super().create_task(coro, **{**more, "context": context})
        if span is not None:
            task.add_done_callback(lambda _: span.end())
        return task

    def _run_once(self) -> None:
        """What asyncio's does, with a clock that jumps: news, due timers, then what is ready."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        self._spins += 1
        if self._spins > _SPINS:
            raise TunnelHang(
                f"the loop ran {_SPINS:,} times at the same instant; waiting:\n" + waiting(self)
            )
        news = self._kernel.select(0) if self._holds or self._kernel.strangers else ()
        if not news and not ready and not self._stopping:
            if not timers or timers[0][0] > self.clock.now_s:
                news = self._let_time_pass()
        if news:
            self._process_events(news)  # type: ignore[attr-defined]
        due_s = self.clock.now_s + _TICK_S
        while timers and timers[0][0] < due_s:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):  # what these make ready has its turn after the next news
            handle = ready.popleft()
            if not handle._cancelled:
                try:
                    handle._context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as e:
                    self.call_exception_handler(
                        {"message": f"Exception in callback {handle}", "exception": e,
                         "handle": handle}
                    )  # fmt: skip

    def _let_time_pass(self) -> Any:
        """Moves the clock to the next timer, or waits for what holds it."""
        if self._holds:
            news = self._kernel.select(_STUCK_AFTER_S)
            if not news:
                held = ", ".join(sorted(set(self._holds.values())))
                raise TunnelHang(f"for {_STUCK_AFTER_S:.0f} s the clock has been held by: {held}")
            return news
        if not self._timers:
            raise TunnelHang(
                "nothing is scheduled and nothing is under way; waiting:\n" + waiting(self)
            )
        # by a nanosecond at least: a deadline may lie between two ticks, and a task woken at the
        # first that finds it not past yet must not be woken there for ever
        self._spins = 0
        self.clock.move_to(max(self.clock.now_ns + 1, round(self._timers[0][0] * 1e9)))
        return ()

    def close(self) -> None:
        super().close()
        self._timers.clear()

    # jobs

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Runs a job inline; it takes the virtual time that its rule gives."""
        inner, inner_args = plain_call(func, args)
        rule = self.rule_for(inner)
        if rule.thread:
            turns = Turns()
            if rule.shares is not None:
                rule.shares(inner, turns.condition)
            job: asyncio.Future[_T] = turns.run(self, func, args)
            return job
        future: asyncio.Future[_T] = self.create_future()
        slept_ns = 0
        try:
            if rule.memo is None:
                result, slept_ns = self.clock.run_job(func, args)
            else:
                result = remembered(rule.memo, inner, inner_args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as e:
            future.set_exception(e)
            return future
        delay_s = 0.0 if instant.current() else rule.cost_s + slept_ns / 1e9
        if delay_s > 0:
            self.call_later(delay_s, _set_result, future, result)
        else:
            future.set_result(result)
        return future


def _set_result(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def waiting(loop: asyncio.AbstractEventLoop) -> str:
    """The unfinished tasks of a loop, one a line, with where each stands."""
    lines = []
    for task in asyncio.all_tasks(loop):
        frames = task.get_stack(limit=1)
        where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
        lines.append(
            f"  {task.get_name()}: {getattr(task.get_coro(), '__qualname__', '?')} at {where}"
        )
    return "\n".join(sorted(lines)) or "  (no task)"
