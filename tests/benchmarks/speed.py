"""How fast the tunnel runs: ``make bench``. Prints one table and writes nothing.

Speed is simulated conversation per second, everything on: TLS, links, VAD, real plugins. It is
given twice: by the wall's clock, which other programs on the machine slow down, and by the
processor time used, which they hardly do. Start-up (imports, first call) is a row of its own.
Exit code 1 if a floor is missed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from labkit.engine.workers import pool
from labkit.tunnel.worker import CallSpec, run_call

VAD_FLOOR, DETECTOR_FLOOR, PAIR_FLOOR, TURNS_FLOOR_S = 60.0, 45.0, 1.8, 180.0
TURNS = 5
VAD = {"turn_detection": "vad"}


@dataclass
class Cost:
    """What some calls took in one worker process; seconds."""

    simulated_s: float = 0.0
    wall_s: float = 0.0
    processor_s: float = 0.0


def several(settings: dict[str, object], calls: range) -> Cost:
    """Runs calls one after another in this worker process."""
    began_s, used_s, cost = time.perf_counter(), processor_s(), Cost()
    for call in calls:
        record = run_call(CallSpec("vanilla", settings, call=call, n_turns=TURNS))  # type: ignore[arg-type]
        if record.status != "ok":
            raise RuntimeError(f"call {call} failed: {record.error}")
        cost.simulated_s += record.simulated_s
    cost.wall_s, cost.processor_s = time.perf_counter() - began_s, processor_s() - used_s
    return cost


def processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def on_workers(workers: int, settings: dict[str, object], calls: int) -> Cost:
    """The same calls dealt out to some warm workers; wall time of the slowest."""
    executor = pool(workers)
    chunk = 5
    parts = [range(i, min(i + chunk, calls)) for i in range(0, calls, chunk)]
    began_s = time.perf_counter()
    costs = [
        job.result()
        for job in concurrent.futures.as_completed(
            executor.submit(several, settings, part) for part in parts
        )
    ]
    return Cost(
        sum(c.simulated_s for c in costs),
        time.perf_counter() - began_s,
        sum(c.processor_s for c in costs),
    )


def machine() -> str:
    """The processor's name and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=30, help="calls per row, of five turns")
    parser.add_argument("--quick", action="store_true", help="without the 1,000 turns")
    wanted = parser.parse_args()

    table = Table(title=f"labkit on {machine()}", title_justify="left")
    for name in ("what", "simulated s", "wall s", "processor s", "× wall", "× processor", "floor"):
        table.add_column(name, justify="left" if name == "what" else "right")
    missed: list[str] = []

    def row(what: str, cost: Cost, floor: str = "", good: bool = True) -> None:
        table.add_row(
            what, f"{cost.simulated_s:,.0f}", f"{cost.wall_s:.1f}", f"{cost.processor_s:.1f}",
            f"{cost.simulated_s / cost.wall_s:.0f}", f"{cost.simulated_s / cost.processor_s:.0f}",
            floor if good else f"{floor}: missed",
        )  # fmt: skip
        if not good:
            missed.append(what)

    def speed(what: str, cost: Cost, floor: float) -> None:
        row(what, cost, f"{floor:.0f}", cost.simulated_s / cost.wall_s >= floor)

    calls = wanted.calls
    began_s = time.perf_counter()
    first = pool(1).submit(several, {}, range(1)).result()
    first.wall_s = time.perf_counter() - began_s
    row("start-up and first call", first)
    on_workers(1, {}, calls)  # reads the recordings, fills the memo of the end-of-turn model
    speed("VAD ends turns", on_workers(1, VAD, calls), VAD_FLOOR)
    one = on_workers(1, {}, calls)
    speed("turn detector, warm memo", one, DETECTOR_FLOOR)
    on_workers(2, {}, 10)
    if (os.cpu_count() or 1) > 1:
        two = on_workers(2, {}, calls)
        row(
            "the same on two workers",
            two,
            f"{PAIR_FLOOR} × one",
            two.wall_s * PAIR_FLOOR <= one.wall_s,
        )
        if not wanted.quick:
            many = on_workers(2, {}, 1000 // TURNS)
            row(
                "1,000 turns on two workers",
                many,
                f"{TURNS_FLOOR_S:.0f} s",
                many.wall_s <= TURNS_FLOOR_S,
            )
    Console(width=120).print(table)
    for what in missed:
        print(f"floor missed: {what}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
