"""A job in a thread of its own that takes turns with the loop, as a coroutine would.

A decoder of compressed sound waits for bytes in a way that the loop cannot see, and the clock must
neither run on while it works nor stand still while it waits. So whoever brings it bytes waits until
it has used them up: what it makes of them is there at the same instant, in the same order, always.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

_STUCK_AFTER_S = 60.0
"""Wall seconds that a job may keep the loop waiting."""


class Turns:
    """A job and the loop, of which one works while the other waits."""

    def __init__(self) -> None:
        self._still = threading.Event()
        self._job: threading.Thread | None = None
        self._over = False

    def condition(self, lock: Any) -> threading.Condition:
        """A condition on which the job waits, and of which the loop's side notifies it."""
        return _Shared(lock, self)

    def run(self, loop: asyncio.AbstractEventLoop, func: Callable[..., Any], args: Any) -> Any:
        """Starts the job; returns its future when it waits for the first time, or is over."""
        future = loop.create_future()

        def job() -> None:
            try:
                result = func(*args)
            except BaseException as e:
                self._tell(loop, future, future.set_exception, e)
            else:
                self._tell(loop, future, future.set_result, result)
            finally:
                self._over = True
                self._still.set()

        self._job = threading.Thread(target=job, name="labkit-job", daemon=True)
        self._job.start()
        self.wait()
        return future

    def works(self) -> bool:
        """Whether the present thread is the job's."""
        return threading.current_thread() is self._job

    def pause(self) -> None:
        """The job has nothing to do."""
        self._still.set()

    def resume(self) -> None:
        """There is something for the job to do, if it is not over."""
        if not self._over:
            self._still.clear()

    def wait(self) -> None:
        """Waits for the job.

        Raises:
            RuntimeError: it works for longer than anything should.
        """
        if not self._still.wait(_STUCK_AFTER_S):
            raise RuntimeError(f"an executor job has kept the loop waiting {_STUCK_AFTER_S:.0f} s")

    @staticmethod
    def _tell(
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
        tell: Callable[[Any], None],
        what: Any,
    ) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if future.done() else tell(what))


class _Shared(threading.Condition):
    """A condition by which the loop hands the job its turn and gets it back."""

    def __init__(self, lock: Any, turns: Turns) -> None:
        super().__init__(lock)
        self._turns = turns

    def wait(self, timeout: float | None = None) -> bool:
        self._turns.pause()
        return super().wait(timeout)

    def notify_all(self) -> None:
        self._turns.resume()
        super().notify_all()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if not self._turns.works():
            self._turns.wait()
