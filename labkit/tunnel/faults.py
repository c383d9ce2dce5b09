"""What goes wrong inside the agent, wherever it is raised: in hooks, nodes, tools, tasks, threads.

The SDK catches most of it and writes it to its log, asyncio to another; nobody reads them in a
tunnel, and what is left to see is a turn without a reply. Here each becomes a row of the call.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from livekit.agents import APIError, ToolError

_LOGGERS = ("livekit", "asyncio")
_ENDED_TASK = re.compile(r"AgentTask \S+ is cancelled")
_MOST = 200
"""Rows kept of one call; a loop that fails for ever says nothing new."""


def where(tb: TracebackType | None, folder: Path) -> str:
    """The last place of a traceback in the agent's own files, else the last at all."""
    frames = traceback.extract_tb(tb)
    own = [f for f in frames if _is_own(f.filename, folder)]
    if not frames:
        return ""
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"


def _is_own(file: str, folder: Path) -> bool:
    inside = file.startswith(f"{folder}/") and "site-packages" not in file[len(str(folder)) :]
    return inside and Path(file).suffix == ".py"


class Faults(logging.Handler):
    """Takes down what the agent of one call does wrong.

    Exceptions of a provider's API are left out: they are events of the session already.

    Args:
        folder: Where the agent's files are.
        add: Called with ``where`` and ``error`` of each fault.
    """

    def __init__(self, folder: Path, add: Callable[[str, str], object]) -> None:
        super().__init__(logging.WARNING)
        self._folder, self._add = folder, add
        self._seen: list[BaseException] = []

    def note(self, error: BaseException, at: str = "") -> None:
        """Takes down an exception, once."""
        if isinstance(error, (APIError, asyncio.CancelledError)) or _is_end_of_task(error):
            return
        if len(self._seen) >= _MOST or any(error is e for e in self._seen):
            return
        self._seen.append(error)
        self._add(at or where(error.__traceback__, self._folder), self._text(error))

    def note_refusal(self, refusal: BaseException) -> None:
        """Takes down what the tunnel refused the agent's code; libraries try much as they load."""
        stack = traceback.extract_stack(sys._getframe(1))
        own = [f for f in stack if _is_own(f.filename, self._folder)]
        if own and not any(f.filename.startswith("<frozen importlib") for f in stack):
            self.note(refusal, f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}")

    def own_line(self, stack: traceback.StackSummary) -> str:
        """The last place of a stack in the agent's own files, else the last at all."""
        own = [f for f in stack if _is_own(f.filename, self._folder)]
        frame = (own or list(stack))[-1]
        return f"{frame.filename}:{frame.lineno}"

    def sentence(self, error: BaseException) -> str:
        """An exception that ended the call, in a line; it is taken down as well."""
        self.note(error)
        at = where(error.__traceback__, self._folder)
        return self._text(error) + (f" ({at})" if at else "")

    def note_unawaited(self) -> None:
        """Takes down what was raised in tasks that nobody awaited and that are still referenced."""
        for thing in gc.get_objects():
            # of its type, not its __class__: asking a lazy proxy for that would load what it hides
            if issubclass(type(thing), asyncio.Task) and thing.done() and not thing.cancelled():
                if thing._log_traceback and (error := thing.exception()) is not None:
                    self.note(error)

    @staticmethod
    def _text(error: BaseException) -> str:
        text = str(error).partition("\n")[0][:300]
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else _among(record)
        if error is not None and (record.levelno >= logging.ERROR or self._is_agents(error)):
            self.note(error)

    def listen(self) -> None:
        """Begins to listen: to logs, threads, and what is raised where nobody can catch it."""
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(self)
        self._hooks = threading.excepthook, sys.unraisablehook
        threading.excepthook = self._in_thread
        sys.unraisablehook = self._unraisable

    def stop(self) -> None:
        """Listens no more."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self)
        threading.excepthook, sys.unraisablehook = self._hooks

    def _in_thread(self, args: Any) -> None:
        if args.exc_value is not None:
            self.note(args.exc_value)

    def _unraisable(self, args: Any) -> None:
        if args.exc_value is not None and self._is_agents(args.exc_value):
            self.note(args.exc_value)

    def _is_agents(self, error: BaseException) -> bool:
        """Whether it came through the agent's own code; libraries warn of much that they mend."""
        frames = traceback.extract_tb(error.__traceback__)
        return any(_is_own(f.filename, self._folder) for f in frames)


def _is_end_of_task(error: BaseException) -> bool:
    """Whether it is what an AgentTask that is under way gives when the session ends."""
    return isinstance(error, ToolError) and bool(_ENDED_TASK.fullmatch(str(error)))


def _among(record: logging.LogRecord) -> BaseException | None:
    """An exception that was logged as an argument or an extra field."""
    given = record.args if isinstance(record.args, tuple) else ()
    own = (v for k, v in vars(record).items() if k in ("error", "exception", "exc"))
    return next((v for v in (*given, *own) if isinstance(v, BaseException)), None)
