"""The process of one call, as whoever asked a fork server for it sees it."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO, Protocol

START_S = 300.0
"""Within this time the process of a call must have begun; imports are slow on a busy machine."""
_STACK_S = 2.0
_OUTPUT_BYTES = 1 << 16
"""What an agent prints in a call beyond this is dropped."""


class Died(RuntimeError):
    """The process of a call ended before it answered.

    Attributes:
        killed: Whether a signal ended it, so that it may go well when tried again.
    """

    def __init__(self, message: str, killed: bool) -> None:
        super().__init__(message)
        self.killed = killed


class Overtime(RuntimeError):
    """A call took more real time than it may, and was ended; the message holds its stack."""


@dataclass(frozen=True)
class Order:
    """What a process for one call is asked to be.

    Attributes:
        agent: The agent file whose host it is forked from.
        bare: Whether the host imports nothing beforehand.
        environment: The environment variables that it imports under.
    """

    agent: str
    bare: bool
    environment: dict[str, str]


class Server(Protocol):
    """Who forks: :class:`labkit.engine.forkserver.ForkServer`."""

    pids: set[int]

    @property
    def alive(self) -> bool: ...

    def hand_over(self, fds: list[int]) -> None: ...

    def notices(self) -> list[str]: ...

    def last_words(self) -> str: ...


class HostLost(Exception):
    """Nothing came back: the process to fork from is not there."""


class Child:
    """One call that a fork server is asked for.

    Args:
        server: Who is asked.
        job: What the process is to do, pickled.
        limit_s: Real time it may take.
        show: Given each line that it prints.
    """

    def __init__(
        self, server: Server, job: bytes, limit_s: float, show: Callable[[str], object]
    ) -> None:
        self._server, self._job, self._limit_s, self._show = server, job, limit_s, show

    def run(self, order: Order) -> Any:
        """What the process answered.

        Raises:
            HostLost: there was nothing to fork it from.
            Died, Overtime, Exception: as of :meth:`labkit.engine.forkserver.ForkServer.call`.
        """
        with ExitStack() as stack:
            mine, theirs = socket.socketpair()
            self._reply = stack.enter_context(Connection(mine.detach()))
            self._ended, ended = _pipe(stack)
            self._output, output = _pipe(stack)
            self._trace = stack.enter_context(tempfile.TemporaryFile())
            with theirs, ended, output:
                fds = [theirs.fileno(), output.fileno(), ended.fileno(), self._trace.fileno()]
                self._server.hand_over(fds)
            self._pid, self._printed, self._line = 0, 0, b""
            self._answer: bytes | None = None
            try:
                self._reply.send_bytes(pickle.dumps(order))
                self._reply.send_bytes(self._job)
                status = self._wait(order.agent)
            except BrokenPipeError:
                status = b""
            finally:
                self._server.pids.discard(self._pid)
            return self._outcome(order, status)

    def _wait(self, agent: str) -> bytes:
        """How the process ended, and the most memory it had, as its parent says.

        Nothing if that has gone as well.
        """
        sources: list[Any] = [self._reply, self._output, self._ended]
        deadline_s = time.monotonic() + START_S
        while True:
            ready: list[Any] = wait(sources, max(deadline_s - time.monotonic(), 0.0))
            if not ready:
                raise Overtime(self._end_it(agent))
            if self._output in ready and not self._pass_on():
                sources.remove(self._output)
            if self._reply in ready:
                try:
                    message = self._reply.recv_bytes()
                except (EOFError, OSError):
                    sources.remove(self._reply)
                    continue
                if self._pid:
                    self._answer = message
                else:
                    self._pid = int(message)
                    self._server.pids.add(self._pid)
                    deadline_s = time.monotonic() + self._limit_s
            elif self._ended in ready:
                os.set_blocking(self._output.fileno(), False)
                while self._pass_on():
                    pass
                return os.read(self._ended.fileno(), 64)

    def _pass_on(self) -> bool:
        """Passes on what was printed; False when no more is to come."""
        try:
            text = os.read(self._output.fileno(), 1 << 16)
        except BlockingIOError:
            return False
        if self._printed <= _OUTPUT_BYTES:
            self._printed += len(text)
            *lines, self._line = (self._line + text).split(b"\n")
            if not text:
                lines.append(self._line)
            if self._printed > _OUTPUT_BYTES:
                lines.append("… the rest of what this call prints is not shown".encode())
            for line in filter(None, lines):
                self._show(line.decode(errors="replace"))
        return bool(text)

    def _end_it(self, agent: str) -> str:
        """Ends the process; gives where it was, and its stack."""
        if not self._pid:
            return f"its process did not begin within {START_S:.0f} s"
        before = stack = self._stack()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGUSR1)  # faulthandler writes, whatever Python is doing
            until_s = time.monotonic() + _STACK_S
            while time.monotonic() < until_s and (stack == before or stack != self._stack()):
                stack = self._stack()
                time.sleep(0.05)
        kill(self._pid)
        ended = self._ended.fileno()
        status = os.read(ended, 64) if wait([ended], _STACK_S) else b""
        took = f"it took more than {self._limit_s:g} s of real time and was ended"
        return took + _at(stack, agent) + _had(status)

    def _stack(self) -> str:
        """What faulthandler wrote, without the addresses that differ from run to run."""
        text = written(self._trace).decode(errors="replace")
        return re.sub(r"thread 0x[0-9a-f]+", "thread", text)

    def _outcome(self, order: Order, status: bytes) -> Any:
        for line in self._server.notices():
            self._show(line)
        if self._answer is not None:
            good, value = pickle.loads(self._answer)
            if good:
                return value
            raise value
        if not self._pid and not order.bare and self._server.alive:
            raise HostLost
        if not self._server.alive:
            raise Died(f"the fork server has gone: {self._server.last_words()}", killed=True)
        code, had = -int(signal.SIGKILL), _had(status)
        if status:
            code = os.waitstatus_to_exitcode(int(status.split()[0]))
        if code < 0:
            name = signal.Signals(-code).name
            at = _at(self._stack(), order.agent)
            raise Died(f"its process was ended by {name}{at}{had}", True)
        raise Died(f"its process was ended with exit code {code} from inside{had}", False)


def written(file: BinaryIO) -> bytes:
    """What is in a file that another process writes at a position that is this one's as well."""
    return os.pread(file.fileno(), 1 << 20, 0)


def _at(stack: str, agent: str) -> str:
    """The innermost place in the agent's own files, if there is one, and below it the stack."""
    folder = re.escape(str(Path(agent).parent))
    own = re.search(rf'File "({folder}/[^"]*)", line (\d+) in (\S+)', stack)
    place = f", at {Path(own[1]).name}:{own[2]} in {own[3]}" if own else ""
    return f"{place}\n{stack.strip()}" if stack.strip() else place


def _had(status: bytes) -> str:
    """What a process had of memory: where that runs out, libraries end it, or wait, in silence."""
    if not status:
        return ""
    most_mb = int(status.split()[1]) / (1e6 if sys.platform == "darwin" else 1e3)  # else kilobytes
    return f"\nit had up to {most_mb:.0f} MB of memory"


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Both ends of a pipe, closed at the end of the stack at the latest."""
    read, write = os.pipe()
    return stack.enter_context(FileIO(read, "rb")), stack.enter_context(FileIO(write, "wb"))


def kill(pid: int) -> None:
    """Ends a process at once, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
