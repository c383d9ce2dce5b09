"""Agent code that takes no time: what a call would be without the agent's own hooks or tools.

With ``instant.hook``, ``instant.nodes`` or ``instant.tools`` the same code runs with the same
results, and the clock stands still meanwhile. Where such code runs it is in a :class:`Span`, which
a context variable carries into what it awaits and the tasks it starts:

* ``time.sleep``, ``asyncio.sleep`` and executor jobs take no time;
* in a hook or a tool, bytes on a connection arrive at once, handshakes included, and a provider
  answers at once what is asked there: the span travels with the bytes.

Not instant: a wait for something else to happen (the end of a playout, an event, a time-out that
nothing ends), what the session does in tasks of its own, what the code leaves running when it
returns, and what a node asks of a provider, since the reply itself is asked for there. Code that
polls is let off :data:`MOST_SLEEPS` times; then its sleeps take their time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

KINDS = ("hook", "nodes", "tools")
"""Settings under ``instant``, each a flag."""
MOST_SLEEPS = 1000
"""Sleeps of one span that take no time."""
_BLINK_S = 1e-6
"""What such a sleep takes after all: the SDK divides by how long an answer took."""

SENDER = "labkit.instant"
"""Extra information of a transport: the span in which what arrived last was sent."""

# what every asyncio.sleep asks the loop to call; a time-out asks for something else
_WAKE = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]


class Span:
    """One run of instant code.

    Attributes:
        remote: Whether connections and providers take no time either.
        running: Whether it has not returned yet.
    """

    __slots__ = ("_slept", "remote", "running")

    def __init__(self, remote: bool) -> None:
        self.remote, self.running = remote, True
        self._slept = 0

    def sleeps(self) -> bool:
        """Counts a sleep; whether it takes no time."""
        self._slept += 1
        return self._slept <= MOST_SLEEPS

    def end(self) -> None:
        """The code has returned."""
        self.running = False


_Coroutine = Coroutine[Any, Any, Any]
_kinds: frozenset[str] = frozenset()
_is_tool: Callable[[_Coroutine], bool]
_is_sessions: Callable[[_Coroutine], bool]
_span: contextvars.ContextVar[Span | None] = contextvars.ContextVar("labkit instant", default=None)


def begin(
    kinds: frozenset[str],
    is_tool: Callable[[_Coroutine], bool],
    is_sessions: Callable[[_Coroutine], bool],
) -> None:
    """Says what is instant in the call that begins.

    Args:
        kinds: Of :data:`KINDS`.
        is_tool: Whether a coroutine runs one of the agent's tools.
        is_sessions: Whether it is the session's own work, such as saying something.
    """
    global _kinds, _is_tool, _is_sessions
    _kinds, _is_tool, _is_sessions = kinds, is_tool, is_sessions


def current() -> Span | None:
    """The span that is running here."""
    span = _span.get() if _kinds else None
    return span if span is not None and span.running else None


def remote() -> Span | None:
    """The same, if bytes that are sent here take no time."""
    span = current()
    return span if span is not None and span.remote else None


def shortened(delay_s: float, callback: Callable[..., Any]) -> float:
    """How long a timer made here takes, seconds: next to nothing if it ends a sleep."""
    if _kinds and callback is _WAKE and (span := current()) is not None and span.sleeps():
        return min(_BLINK_S, delay_s)
    return delay_s


@contextlib.contextmanager
def inside(span: Span | None) -> Iterator[None]:
    """Runs in a span, or as before if there is none."""
    token = _span.set(span) if span is not None else None
    try:
        yield
    finally:
        if token is not None:
            _span.reset(token)


def of_client(request: web.Request) -> contextlib.AbstractContextManager[None]:
    """Answers a request in the span in which it was sent."""
    return inside(request.get_extra_info(SENDER))


def task_context(coro: _Coroutine) -> tuple[contextvars.Context | None, Span | None]:
    """The context of a new task, None for a copy of this one, and the span that ends with it."""
    span = Span(remote=True) if "tools" in _kinds and _is_tool(coro) else None
    if span is None and (current() is None or not _is_sessions(coro)):
        return None, None
    context = contextvars.copy_context()
    context.run(_span.set, span)
    return context, span


def wrapped(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A hook or a node of an agent that takes no time in calls that want it so."""

    @functools.wraps(method)
    async def hook(*args: Any, **kwargs: Any) -> Any:
        span = Span(remote=True) if kind in _kinds else None
        with inside(span):
            try:
                result = method(*args, **kwargs)
                return await result if inspect.isawaitable(result) else result
            finally:
                if span is not None:
                    span.end()

    @functools.wraps(method)
    def node(*args: Any, **kwargs: Any) -> Any:
        span = Span(remote=False) if kind in _kinds else None
        with inside(span):
            result = method(*args, **kwargs)
        return result if span is None else _node(result, span)

    return hook if kind == "hook" else node


def _node(result: Any, span: Span) -> Any:
    """What a node gives, whichever of its forms it has."""
    if inspect.isawaitable(result):
        return _awaited(result, span)
    return _steps(result, span) if hasattr(result, "__aiter__") else result


async def _awaited(result: Any, span: Span) -> Any:
    with inside(span):
        found = await result
    return _node(found, span)


async def _steps(stream: Any, span: Span) -> AsyncIterator[Any]:
    steps = aiter(stream)
    try:
        while True:
            try:
                with inside(span):
                    step = await anext(steps)
            except StopAsyncIteration:
                return
            yield step
    finally:
        span.end()
        if hasattr(steps, "aclose"):
            await steps.aclose()
