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
from typing import Any, Protocol, TypeVar

from labkit.engine import store
from labkit.tunnel.worker import ENVIRONMENT, start

_T = TypeVar("_T")
_IDLE_S = 900
_ALONE_S = 1.0
_CONNECT_S = 10
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^/\s]+:\d+")

_born = ""


def pool(workers: int, stamp: str | None = None) -> Executor:
    """The warm worker processes of this thread; they end by themselves after a while unused.

    Args:
        workers: How many.
        stamp: What :func:`labkit.engine.store.installed` says now: workers that were started from
            other code or other data are replaced.
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
    return executor


def close_pool(executor: Executor) -> None:
    """Stops a pool at once, with what it is doing."""
    import loky

    if isinstance(executor, loky.ProcessPoolExecutor):
        executor.shutdown(wait=False, kill_workers=True)
    else:
        executor.shutdown(wait=False, cancel_futures=True)


def _begin(parent: int, stamp: str) -> None:
    import loky.process_executor

    global _born
    _born = store.installed()
    # the turn detector's model, loaded when first asked, is no leak
    loky.process_executor._MAX_MEMORY_LEAK_SIZE = 10**10
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent's end").start()
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


class Workers(Protocol):
    """Something that runs functions in worker processes."""

    crowd: int
    """How many calls to hand over at a time."""
    lost: tuple[type[BaseException], ...]
    """What a future raises whose worker died."""

    def submit(self, func: Callable[..., _T], *args: Any) -> Future[_T]: ...

    def close(self, at_once: bool = False) -> None:
        """Lets go of the workers; ``at_once`` stops what they are doing."""


class Local:
    """Worker processes of this machine. They stay warm after :meth:`close`.

    Args:
        workers: How many.
    """

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)

    def __init__(self, workers: int) -> None:
        self.crowd = workers
        self._stamp = store.installed()

    def submit(self, func: Callable[..., _T], *args: Any) -> Future[_T]:
        try:
            return pool(self.crowd, self._stamp).submit(func, *args)
        except BrokenExecutor:  # since it was looked at
            return pool(self.crowd, self._stamp).submit(func, *args)

    def close(self, at_once: bool = False) -> None:
        if at_once:
            close_pool(pool(self.crowd, self._stamp))


class Cluster:
    """The workers of a Dask cluster that is already running.

    Args:
        address: Of its scheduler, such as ``tcp://10.0.0.5:8786``.

    Raises:
        UsageError: Dask is not installed, or nothing answers there.
    """

    crowd = 1_000_000  # Dask keeps the queue, and takes back what a lost worker had

    def __init__(self, address: str) -> None:
        from labkit.errors import UsageError

        if not _ADDRESS.fullmatch(address):
            raise UsageError(f"scheduler={address}: write it as tcp://HOST:PORT")
        try:
            distributed: Any = importlib.import_module("distributed")  # the optional extra
        except ImportError:
            raise UsageError(
                f"scheduler={address}: Dask is not installed; pip install 'labkit[dask]'"
            ) from None
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as e:
            reason = f"{e}".partition("\n")[0] or type(e).__name__
            raise UsageError(
                f"scheduler={address}: {reason}; write it as tcp://HOST:PORT"
            ) from None
        self.lost: tuple[type[BaseException], ...] = (BrokenExecutor, distributed.KilledWorker)
        self._executor = self._client.get_executor(pure=False)

    def submit(self, func: Callable[..., _T], *args: Any) -> Future[_T]:
        return self.submit_within(beside, func, *args)

    def submit_within(self, func: Callable[..., _T], *args: Any) -> Future[_T]:
        """Runs a function in a Dask worker's own process, where no call may run."""
        future: Future[_T] = self._executor.submit(func, *args)
        return future

    def close(self, at_once: bool = False) -> None:
        self._executor.shutdown(wait=not at_once)
        self._client.close()


def connect(workers: int, scheduler: str | None) -> Workers:
    """The cluster of a scheduler if one is given, else processes of this machine."""
    return Cluster(scheduler) if scheduler else Local(workers)


def beside(func: Callable[..., _T], *args: Any) -> _T:
    """Runs a function in the warm process beside this thread of a Dask worker."""
    # Dask's workers are daemons, which may have no children; these end when their parent does
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return pool(1).submit(func, *args).result()
