"""A worker process lives long: it must not grow, nor remember."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from labkit.study.workers import pool
from labkit.tunnel.worker import CallSpec, run_call


def resident_mb_after(calls: list[int]) -> float:
    """Runs short calls in this process and gives the memory it then holds, megabytes."""
    for call in calls:
        assert run_call(CallSpec("vanilla", call=call, n_turns=2)).status == "ok"
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_the_memory_of_a_worker_stays_flat() -> None:
    """The same twenty callers again and again: whatever they need has been loaded by then."""
    twenty = list(range(20))
    sizes = [pool(1).submit(resident_mb_after, twenty).result() for _ in range(3)]
    # keeping the audio of the 80 turns after the first round would take 40 MB
    assert sizes[-1] - sizes[0] < 10, sizes
