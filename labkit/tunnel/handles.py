"""What a loop keeps for each callback and each socket, as asyncio's own but with fewer steps.

A call makes twenty thousand callbacks, so what each costs counts.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from typing import Any


class Handle(asyncio.Handle):
    """A callback that is ready, and can be cancelled."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class Timer(asyncio.TimerHandle):
    """A callback for a moment, loop seconds."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self._when = when
        self._scheduled = False  # so that its loop keeps no count of cancelled ones


class Selector(selectors.DefaultSelector):
    """Counts the sockets from which bytes can come although nothing holds the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet: set[int] = set()
        self.strangers = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self.strangers += key.fd not in self.quiet
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self.strangers -= key.fd not in self.quiet
        self.quiet.discard(key.fd)
        return key
