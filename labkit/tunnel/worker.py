"""A warm worker process, as who starts it sees it: a call specification in, a record out.

Importing this module costs little and changes nothing: the clock is taken over, and the SDK
imported, when a process is made a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.tunnel.record import CallRecord
from labkit.tunnel.spec import ENVIRONMENT, KEYS, CallSpec

if TYPE_CHECKING:
    from labkit.tunnel.isolation import Guard
    from labkit.tunnel.process import Worker

__all__ = [
    "ENVIRONMENT",
    "KEYS",
    "CallRecord",
    "CallSpec",
    "guard",
    "run_call",
    "start",
]

_worker: Worker | None = None


def start() -> None:
    """Makes this process a worker."""
    global _worker
    if _worker is None:
        from labkit.tunnel.process import Worker

        _worker = Worker()


def run_call(spec: CallSpec) -> CallRecord:
    """Runs one call in this process, which becomes a worker if it is none yet."""
    start()
    assert _worker is not None
    return _worker.run(spec)


def guard() -> Guard:
    """What stands at the doors of this worker."""
    assert _worker is not None
    return _worker.guard
