"""What runs in the processes of a fork server: the server, an agent's host, and a call's own.

All three are single-threaded when they fork, or they do not fork: threads do not survive it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import sys
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from labkit.tunnel import worker
from labkit.tunnel.spec import ENVIRONMENT, HOSTED

if TYPE_CHECKING:
    from labkit.engine.child import Order

_HOSTS = 24
"""Hosts that are kept, each with what its agent imported."""
_IMPORT_S = 60
_PR_SET_PDEATHSIG = 1
_START_THREADS = ("onnxruntime", "torch", "grpc")
"""Packages that start threads as they are imported, so that each call has to do it."""

_born = ""
_own: dict[str, str] = {}
"""Variables that are a worker's own."""


def born() -> str:
    """What :func:`labkit.engine.store.installed` said when this fork server began."""
    return _born


def main() -> NoReturn:
    """The fork server: ``python -c MAIN CONTROL_FD ISOLATED``."""
    from labkit.tunnel import isolation

    global _born
    if sys.argv[2] == "1":
        isolation.leave_network()  # before anything starts a thread
    gc.disable()  # nothing that is imported is garbage
    from labkit.engine import store
    from labkit.tunnel.spec import CallSpec

    _born, before = store.installed(), dict(os.environ)
    importlib.import_module("labkit.engine.calls")
    worker.run_call(CallSpec("vanilla", n_turns=1))
    store.key(CallSpec("vanilla"), _born)  # reads the list of distributions, which calls need too
    _own.update(ENVIRONMENT, **dict(os.environ.items() - before.items()))
    worker.guard().closed = True  # between calls, too
    gc.freeze()  # what it would take to look for garbage here is more than there is to gain
    _Server(socket.socket(fileno=int(sys.argv[1]))).run()


class _Parent:
    """Forks when asked over its control socket, and sees to it that no child is left behind."""

    ends_children_by = signal.SIGKILL

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, int | None] = {}  # and where its end is to be written
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        self._pipe = (self._woken, wake)

    def run(self) -> NoReturn:
        """Goes on until nobody asks any more; what is to be done at exit is the server's alone."""
        try:
            self._loop()
        finally:
            traceback.print_exc()
            os._exit(1)

    def _loop(self) -> NoReturn:
        sources: list[Any] = [self.control, self._woken]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            if self.control in ready:
                data, fds, _, _ = socket.recv_fds(self.control, 1, 4)
                if not data:
                    self.asker_has_gone()
                    sources.remove(self.control)
                else:
                    self.take(fds)
                    for fd in fds:
                        os.close(fd)
            if self.control not in sources and not self.children:
                os._exit(0)

    def take(self, fds: list[int]) -> None:
        raise NotImplementedError

    def asker_has_gone(self) -> None:
        raise NotImplementedError

    def fork(self, end_fd: int | None = None) -> bool:
        """Forks; True in the child, which has nothing of this object's open."""
        with worker.guard().let():
            pid = os.fork()
        if pid:
            self.children[pid] = end_fd
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.control.close()
        for fd in (*self._pipe, *(fd for fd in self.children.values() if fd is not None)):
            os.close(fd)
        return True

    def end(self) -> NoReturn:
        """Ends every child and this process."""
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.kill(pid, self.ends_children_by)
        os._exit(0)

    def _reap(self) -> None:
        while self.children:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            end_fd = self.children.pop(pid)
            if end_fd is not None:  # a call's own
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)  # what it started ends with it
                with suppress(BrokenPipeError):  # nobody waits for it any more
                    os.write(end_fd, b"%d %d" % (status, used.ru_maxrss))
                os.close(end_fd)


class _Server(_Parent):
    """Passes requests on to the host of their agent."""

    ends_children_by = signal.SIGTERM  # a host ends its calls then

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control)
        self._hosts: OrderedDict[tuple[str, bool, bool], socket.socket] = OrderedDict()
        self._held: list[int] = []  # of the request that is being passed on

    def take(self, fds: list[int]) -> None:
        try:
            with Connection(os.dup(fds[0])) as reply:
                order: Order = pickle.loads(reply.recv_bytes())
        except (EOFError, OSError):  # whoever asked has thought better of it
            return
        hosted = any(name in order.environment for name in HOSTED)  # packages may ask as they load
        key, self._held = (order.agent, order.bare, hosted), fds
        for _ in range(2):
            if key not in self._hosts:
                self._hosts[key] = self._new_host(order)
            self._hosts.move_to_end(key)
            try:
                socket.send_fds(self._hosts[key], [b"c"], fds)
                break
            except OSError:  # it has ended
                self._hosts.pop(key).close()
        while len(self._hosts) > _HOSTS:
            self._hosts.popitem(last=False)[1].close()  # ends when its calls have

    def asker_has_gone(self) -> None:
        self.end()

    def _new_host(self, order: Order) -> socket.socket:
        mine, theirs = socket.socketpair()
        if self.fork():
            for other in (mine, *self._hosts.values()):
                other.close()
            for fd in self._held:
                os.close(fd)
            _end_with_parent(signal.SIGTERM)
            if not order.bare:
                _import_for(order)
            _Host(theirs).run()
        theirs.close()
        return mine


class _Host(_Parent):
    """Forks a process for each call of one agent."""

    def take(self, fds: list[int]) -> None:
        reply, output, ended, trace = fds
        own = os.dup(ended)
        if self.fork(own):
            os.close(own)
            os.close(ended)
            _end_with_parent(signal.SIGKILL)
            _run_call(reply, output, trace)

    def asker_has_gone(self) -> None:
        """Takes no more; ends with the last call."""


def _import_for(order: Order) -> None:
    """Imports the installed packages that an agent's files name, once for all of its calls."""
    from labkit.tunnel.sources import installed_imports

    _take_environment(order.environment)
    if not Path("/proc/self/task").is_dir():
        return
    signal.alarm(_IMPORT_S)  # ends this process; each call imports for itself then, and is seen
    for name in installed_imports(Path(order.agent)):
        if name.partition(".")[0] in _START_THREADS:
            continue
        # whatever is wrong with it, the agent's own import says so where it is seen
        with suppress(BaseException):
            importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        os._exit(1)  # threads would be missing in a call: each imports for itself
    signal.alarm(0)
    gc.freeze()


def _take_environment(environment: Mapping[str, str]) -> None:
    """Takes over the variables of whoever asks, but for those that make a worker what it is."""
    os.environ.clear()
    os.environ.update({**environment, **_own})


def _run_call(reply_fd: int, output: int, trace: int) -> NoReturn:
    """The process of a call, from its first step to its last."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what interrupts from now on is the agent's
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, to in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(fd, to)
        for fd in (nothing, output):
            os.close(fd)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        gc.set_threshold(50_000, 20, 100)  # the process is short-lived: little to find
        gc.enable()
        faulthandler.enable(trace)
        faulthandler.register(signal.SIGUSR1, trace, all_threads=True)
        reply = Connection(reply_fd)
        job = reply.recv_bytes()
        reply.send_bytes(b"%d" % os.getpid())
        try:
            folder, environment, func, args = pickle.loads(job)
            os.chdir(folder)
            _take_environment(environment)
            answer = pickle.dumps((True, func(*args)))
        except BaseException as e:
            answer = _raised(e)
        reply.send_bytes(answer)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        code = 0
    finally:
        os._exit(code)


def _raised(e: BaseException) -> bytes:
    error: BaseException = (
        e if isinstance(e, Exception) else RuntimeError(f"{type(e).__name__}: {e}")
    )
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)
    except Exception:  # some cannot be made again from their arguments
        answer = pickle.dumps((False, RuntimeError(f"{type(e).__name__}: {e}")))
    return answer


def _end_with_parent(how: int) -> None:
    """Has the kernel end this process when its parent ends, where the kernel can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)
