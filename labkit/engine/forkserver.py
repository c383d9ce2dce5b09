"""A process for each call, forked from one that has paid for every import.

The fork server imports labkit and the SDK once and runs a short call to warm up. From it a host is
forked for each agent file, which imports the installed packages that the file names, and from the
host one process for each call, which loads the agent's own code. A call so finds nothing that
another call or another agent left behind: a job of LiveKit's has a process of its own, too.

This module is the side of whoever asks; :mod:`labkit.engine.forks` is the other.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO

from labkit.tunnel.spec import ENVIRONMENT

START_S = 300.0
"""Within this time the process of a call must have begun; imports are slow on a busy machine."""
_STACK_S = 2.0
_OUTPUT_BYTES = 1 << 16
"""What an agent prints in a call beyond this is dropped."""
MAIN = """
import sys
if sys.argv[3] not in sys.path:  # a checkout that is not installed
    sys.path.insert(0, sys.argv[3])
from labkit.engine.forks import main
main()
"""


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


class ForkServer:
    """A fork server of this process. It ends when this process does, even by SIGKILL.

    Args:
        isolated: Whether calls have a network of their own where the kernel grants one, from which
            nothing reaches the machine's.
    """

    def __init__(self, isolated: bool = True) -> None:
        self._control, theirs = socket.socketpair()
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-")  # of all that it starts
        self._log: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        self._read = 0
        self._send = threading.Lock()
        self._pids: set[int] = set()
        root = str(Path(__file__).resolve().parents[2])
        with theirs:
            self._process = subprocess.Popen(
                # -P: nothing in the working directory stands in for a library
                [sys.executable, "-P", "-c", MAIN, str(theirs.fileno()), str(int(isolated)), root],
                env={**os.environ, **ENVIRONMENT, "TMPDIR": self._folder.name},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C is for whoever asks
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(
        self,
        agent: str,
        func: Callable[..., Any],
        *args: Any,
        limit_s: float,
        said: Callable[[str], object] = lambda line: None,
    ) -> Any:
        """Runs a function in a new process.

        Args:
            agent: The agent file that it is about; its process descends from no other's host.
            func: A function that can be pickled, and ``args`` as well.
            limit_s: Real time it may take.
            said: Told each line that is printed there, as it comes.

        Raises:
            Died: the process ended before it answered.
            Overtime: it took longer than the limit, and was ended.
            Exception: what the function raised.
        """
        environment = dict(os.environ)
        job = pickle.dumps((os.getcwd(), environment, func, args))
        asked = _Asked(self, job, limit_s, said)
        try:
            return asked.run(Order(agent, False, environment))
        except _HostLost:  # such as by a package that ends the process that imports it
            return asked.run(Order(agent, True, environment))

    def hand_over(self, fds: list[int]) -> None:
        """Gives the server what a new process needs.

        Raises:
            Died: the server has gone.
        """
        try:
            with self._send:
                socket.send_fds(self._control, [b"c"], fds)
        except OSError:
            raise Died(f"the fork server has gone: {self.last_words()}", killed=True) from None

    def notices(self) -> list[str]:
        """Lines for people that the server itself wrote since it was asked last."""
        with self._send:
            text = _written(self._log)[self._read :]
            *lines, rest = text.split(b"\n")
            self._read += len(text) - len(rest)
        return [t.decode(errors="replace") for t in lines if t.startswith(b"labkit: ")]

    def last_words(self) -> str:
        """The end of what the server itself wrote."""
        lines = _written(self._log).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it left no message"

    def stop(self) -> None:
        """Ends the calls under way; the server stays warm."""
        for pid in tuple(self._pids):
            kill(pid)

    def close(self) -> None:
        """Ends the server and everything it started."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._folder.cleanup()


class _HostLost(Exception):
    """Nothing came back: the process to fork from is not there."""


class _Asked:
    """One call that a fork server was asked for."""

    def __init__(
        self, server: ForkServer, job: bytes, limit_s: float, said: Callable[[str], object]
    ) -> None:
        self._server, self._job, self._limit_s, self._said = server, job, limit_s, said

    def run(self, order: Order) -> Any:
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
                self._server._pids.discard(self._pid)
            return self._outcome(order, status)

    def _wait(self, agent: str) -> bytes:
        """How the process ended, as its parent says; nothing if that has gone as well."""
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
                    self._server._pids.add(self._pid)
                    deadline_s = time.monotonic() + self._limit_s
            elif self._ended in ready:
                os.set_blocking(self._output.fileno(), False)
                while self._pass_on():
                    pass
                return os.read(self._ended.fileno(), 16)

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
                self._said(line.decode(errors="replace"))
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
        took = f"it took more than {self._limit_s:g} s of real time and was ended"
        return took + _at(stack, agent)

    def _stack(self) -> str:
        """What faulthandler wrote, without the addresses that differ from run to run."""
        text = _written(self._trace).decode(errors="replace")
        return re.sub(r"thread 0x[0-9a-f]+", "thread", text)

    def _outcome(self, order: Order, status: bytes) -> Any:
        for line in self._server.notices():
            self._said(line)
        if self._answer is not None:
            good, value = pickle.loads(self._answer)
            if good:
                return value
            raise value
        if not self._pid and not order.bare and self._server.alive:
            raise _HostLost
        if not self._server.alive:
            raise Died(f"the fork server has gone: {self._server.last_words()}", killed=True)
        code = os.waitstatus_to_exitcode(int(status)) if status else -signal.SIGKILL
        if code < 0:
            name = signal.Signals(-code).name
            raise Died(f"its process was ended by {name}{_at(self._stack(), order.agent)}", True)
        raise Died(f"its process was ended with exit code {code} from inside", False)


def _written(file: BinaryIO) -> bytes:
    """What is in a file that another process writes at a position that is this one's as well."""
    return os.pread(file.fileno(), 1 << 20, 0)


def _at(stack: str, agent: str) -> str:
    """The innermost place in the agent's own files, if there is one, and below it the stack."""
    folder = re.escape(str(Path(agent).parent))
    own = re.search(rf'File "({folder}/[^"]*)", line (\d+) in (\S+)', stack)
    place = f", at {Path(own[1]).name}:{own[2]} in {own[3]}" if own else ""
    return f"{place}\n{stack.strip()}" if stack.strip() else place


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Both ends of a pipe, closed at the end of the stack at the latest."""
    read, write = os.pipe()
    return stack.enter_context(FileIO(read, "rb")), stack.enter_context(FileIO(write, "wb"))


def kill(pid: int) -> None:
    """Ends a process at once, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


_servers: dict[tuple[int, str, bool], ForkServer] = {}
_lock = threading.Lock()


def server(stamp: str, isolated: bool = True) -> ForkServer:
    """This process's fork server, begun anew if it has gone, or if what it runs has changed.

    Args:
        stamp: What :func:`labkit.engine.store.installed` said lately.
        isolated: As of :class:`ForkServer`.
    """
    with _lock:
        pid = os.getpid()  # a fork of this process has no use for its server
        for (owner, other, kind), old in tuple(_servers.items()):
            if owner == pid and (other != stamp or not old.alive):
                del _servers[owner, other, kind]
                old.close()
        if (pid, stamp, isolated) not in _servers:
            _servers[pid, stamp, isolated] = ForkServer(isolated)
        return _servers[pid, stamp, isolated]


def stop_calls() -> None:
    """Ends all calls under way in this process's fork servers."""
    for each in tuple(_servers.values()):
        each.stop()
