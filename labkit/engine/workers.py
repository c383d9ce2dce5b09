"""Where calls are run: processes of this machine, or of the machines of a Dask cluster.

The tunnel replaces the clock of its whole process, so a call never runs in the process that asks
for it, nor in a Dask worker's own.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from labkit.cachefile import tell
from labkit.engine import forkserver, store
from labkit.engine.child import Died
from labkit.errors import UsageError
from labkit.settings import Settings
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.declaration import deployment
from labkit.tunnel.spec import CallSpec, deployed, longest_s

_T = TypeVar("_T")
_CONNECT_S = 10
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^/\s]+:\d+")


def n_workers(asked: int) -> int:
    """How many worker processes are meant: 0 is one for each core that this process may use.

    Raises:
        UsageError: a negative number.
    """
    if asked < 0:
        raise UsageError(f"workers={asked}: must be at least 1, or 0 for one per core")
    return asked or len(os.sched_getaffinity(0))


class Local:
    """Processes of this machine, one for each call.

    Attributes:
        crowd: How many calls to hand over at a time.
        lost: What a future raises whose process died.
    """

    lost: tuple[type[BaseException], ...] = (Died,)

    def __init__(self, workers: int) -> None:
        self.crowd = workers
        self._threads = ThreadPoolExecutor(workers, "labkit call")
        self._stamp = store.installed()
        self._show = _Output()

    def submit(self, func: Callable[..., _T], spec: CallSpec, *args: Any) -> Future[_T]:
        return self._threads.submit(
            in_process, func, spec, *args, stamp=self._stamp, show=self._show
        )

    def close(self, at_once: bool = False) -> None:
        """Waits for the calls under way; ``at_once`` ends them."""
        if at_once:
            self._threads.shutdown(wait=False, cancel_futures=True)
            forkserver.stop_calls()
        self._threads.shutdown()


def in_process(
    func: Callable[..., _T],
    spec: CallSpec,
    *args: Any,
    stamp: str = "",
    show: Callable[[str], object] = tell,
) -> _T:
    """Runs ``func(spec, *args)`` in a process of its own.

    Raises:
        Died, Overtime: as of :meth:`labkit.engine.forkserver.ForkServer.call`.
        Exception: what the function raised.
    """
    settings = Settings(spec.settings)
    limit_s = settings.number("limit.real_s")
    if not spec.virtual:
        limit_s += longest_s(spec, settings)
    isolated = not re.search(r":\d", settings.text("allow"))
    server = forkserver.server(stamp or store.installed(), isolated)
    agent = find_agent(spec.agent)[0]
    environment = deployed(os.environ, deployment(agent, settings))
    result: _T = server.call(
        str(agent), func, spec, *args, limit_s=limit_s, show=show, environment=environment
    )
    return result


class _Output:
    """Passes on what calls print, apart from what a command prints; labkit's own lines once."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, line: str) -> None:
        from tqdm import tqdm

        if line not in self._known:
            tqdm.write(line, file=sys.stderr)
        if line.startswith("labkit: "):
            self._known.add(line)


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
        self.lost: tuple[type[BaseException], ...] = (Died, distributed.KilledWorker)
        self._executor = self._client.get_executor(pure=False)

    def submit(self, func: Callable[..., _T], spec: CallSpec, *args: Any) -> Future[_T]:
        future: Future[_T] = self._executor.submit(in_process, func, spec, *args)
        return future

    def close(self, at_once: bool = False) -> None:
        self._executor.shutdown(wait=not at_once)
        self._client.close()
