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
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from labkit.engine.child import Child, Died, HostLost, Order, kill, written
from labkit.tunnel.spec import ENVIRONMENT

MAIN = """
import sys
if sys.argv[3] not in sys.path:  # a checkout that is not installed
    sys.path.insert(0, sys.argv[3])
from labkit.engine.forks import main
main()
"""


class ForkServer:
    """A fork server of this process. It ends when this process does, even by SIGKILL.

    Args:
        isolated: Whether calls have a network of their own where the kernel grants one, from which
            nothing reaches the machine's.

    Attributes:
        pids: The calls under way.
    """

    def __init__(self, isolated: bool = True) -> None:
        self._control, theirs = socket.socketpair()
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-")  # of all that it starts
        self._log: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        self._read = 0
        self._send = threading.Lock()
        self.pids: set[int] = set()
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
        show: Callable[[str], object] = lambda line: None,
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        """Runs a function in a new process.

        Args:
            agent: The agent file that it is about; its process descends from no other's host.
            func: A function that can be pickled, and ``args`` as well.
            limit_s: Real time it may take.
            show: Given each line that is printed there, as it comes.
            environment: Its variables, with which the agent's packages are imported; those of this
                process unless given.

        Raises:
            Died: the process ended before it answered.
            Overtime: it took longer than the limit, and was ended.
            Exception: what the function raised.
        """
        variables = dict(os.environ if environment is None else environment)
        job = pickle.dumps((os.getcwd(), variables, func, args))
        child = Child(self, job, limit_s, show)
        try:
            return child.run(Order(agent, False, variables))
        except HostLost:  # such as by a package that ends the process that imports it
            return child.run(Order(agent, True, variables))

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
            text = written(self._log)[self._read :]
            *lines, rest = text.split(b"\n")
            self._read += len(text) - len(rest)
        return [t.decode(errors="replace") for t in lines if t.startswith(b"labkit: ")]

    def last_words(self) -> str:
        """The end of what the server itself wrote."""
        lines = written(self._log).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it left no message"

    def stop(self) -> None:
        """Ends the calls under way; the server stays warm."""
        for pid in tuple(self.pids):
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
