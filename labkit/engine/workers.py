"""Where calls are run: warm processes of this machine, or of the machines of a Dask cluster.

The tunnel replaces the clock of its whole process, so a call never runs in the process that asks
for it, nor in a Dask worker's own: each thread of those keeps a warm process beside it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, TypeVar

from labkit.engine import store
from labkit.errors import UsageError
from labkit.tunnel.spec import ENVIRONMENT

_T = TypeVar("_T")
_IDLE_S = 900
_ALONE_S = 1.0
_CONNECT_S = 10
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^/\s]+:\d+")

_born = ""
_mine = threading.local()
"""``size``: how many worker processes this thread has."""


def n_workers(asked: int) -> int:
    """How many worker processes are meant: 0 is one for each core that this process may use.

    Raises:
        UsageError: a negative number.
    """
    if asked < 0:
        raise UsageError(f"workers={asked}: must be at least 1, or 0 for one per core")
    return asked or len(os.sched_getaffinity(0))


def pool(workers: int, stamp: str | None = None) -> Executor:
    """The warm worker processes of this thread; they end by themselves after a while unused.

    Those that were started from other code or other data than ``stamp`` says, which is what
    :func:`labkit.engine.store.installed` said lately, are replaced.
    """
    import loky

    executor: Executor = loky.get_reusable_executor(
        max_workers=workers,
        timeout=_IDLE_S,
        initializer=_begin,
        initargs=(os.getpid(), stamp or store.installed()),
        env=ENVIRONMENT,
        kill_workers=True,
    )
    _mine.size = workers
    return executor


def close_pool(executor: Any) -> None:
    """Stops a :func:`pool` at once, with what it is doing."""
    executor.shutdown(wait=False, kill_workers=True)
    _mine.size = 0


def _begin(parent: int, stamp: str) -> None:
    import loky.process_executor

    global _born
    _born = store.installed()
    # the turn detector's model, loaded when first asked, is no leak
    loky.process_executor._MAX_MEMORY_LEAK_SIZE = 10**10
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent's end").start()
    from labkit.tunnel.worker import start

    start()


def born() -> str:
    """What :func:`labkit.engine.store.installed` said when this process became a worker."""
    return _born


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone, even by SIGKILL: nobody would read its results."""
    pause = threading.Event()  # time.sleep belongs to the tunnel here
    while os.getppid() == parent:
        pause.wait(_ALONE_S)
    os._exit(1)


class Local:
    """Worker processes of this machine. They stay warm after :meth:`close`.

    No more are started than there are ``jobs``, if that is known, and none that are warm stopped.

    Attributes:
        crowd: How many calls to hand over at a time.
        lost: What a future raises whose worker died.
    """

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)

    def __init__(self, workers: int, jobs: int | None = None) -> None:
        self.crowd = workers if jobs is None else min(workers, max(jobs, 1))
        self._size = max(self.crowd, min(workers, getattr(_mine, "size", 0)))
        self._stamp = store.installed()

    def submit(self, func: Callable[..., _T], *args: Any) -> Future[_T]:
        try:
            return pool(self._size, self._stamp).submit(func, *args)
        except BrokenExecutor:  # since it was looked at
            return pool(self._size, self._stamp).submit(func, *args)

    def close(self, at_once: bool = False) -> None:
        """Lets go of the workers; ``at_once`` stops what they are doing."""
        if at_once:
            close_pool(pool(self._size, self._stamp))


class Cluster:
    """The same of a Dask cluster that is already running, by its scheduler's address.

    Raises:
        UsageError: Dask is not installed, or nothing answers there.
    """

    crowd = 1_000_000  # Dask keeps the queue, and takes back what a lost worker had

    def __init__(self, address: str) -> None:
        given, form = f"scheduler={address}:", "write it as tcp://HOST:PORT"
        if not _ADDRESS.fullmatch(address):
            raise UsageError(f"{given} {form}")
        try:
            distributed: Any = importlib.import_module("distributed")  # the optional extra
        except ImportError:
            raise UsageError(f"{given} Dask is not installed; pip install 'labkit[dask]'") from None
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as e:
            reason = f"{e}".partition("\n")[0] or type(e).__name__
            raise UsageError(f"{given} {reason}; {form}") from None
        self.lost: tuple[type[BaseException], ...] = (BrokenExecutor, distributed.KilledWorker)
        self._executor = self._client.get_executor(pure=False)

    def submit(self, func: Callable[..., _T], *args: Any) -> Future[_T]:
        future: Future[_T] = self._executor.submit(beside, func, *args)
        return future

    def close(self, at_once: bool = False) -> None:
        self._executor.shutdown(wait=not at_once)
        self._client.close()


def beside(func: Callable[..., _T], *args: Any) -> _T:
    """Runs a function in the warm process beside this thread of a Dask worker."""
    # Dask's workers are daemons, which may have no children; these end when their parent does
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return pool(1).submit(func, *args).result()
