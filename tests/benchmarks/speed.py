"""How fast the tunnel runs: ``make bench``. Prints one table and writes nothing.

Speed is simulated conversation per second, everything on: TLS, links, VAD, real plugins. It is
given twice: by the wall's clock, which other programs on the machine slow down, and by the
processor time used, which they hardly do. Start-up (imports, first call) is a row of its own.
Exit code 1 if a floor is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from processor import tree_s
from rich.console import Console
from rich.table import Table

from labkit.engine.progress import quiet
from labkit.engine.run import run

VAD_FLOOR, DETECTOR_FLOOR, PAIR_FLOOR, TURNS_FLOOR_S = 60.0, 45.0, 1.8, 180.0
TURNS = 5
VAD = {"turn_detection": "vad"}


@dataclass
class Cost:
    """What some calls took; seconds."""

    simulated_s: float = 0.0
    wall_s: float = 0.0
    processor_s: float = 0.0


def cost(settings: dict[str, object], calls: int, workers: int) -> Cost:
    """What so many calls of five turns take, the processes that run them included."""
    began_s, used_s = time.perf_counter(), tree_s(os.getpid())
    results = run(
        settings=settings, calls=calls, turns=TURNS, workers=workers, fresh=True, progress=quiet
    )
    if len(results.failed):
        raise RuntimeError(f"a call failed: {results.failed['error'].iloc[0]}")
    return Cost(results.simulated_s, time.perf_counter() - began_s, tree_s(os.getpid()) - used_s)


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
    row("start-up and first call", cost({}, 1, 1))
    cost({}, calls, 1)  # fills the memo of the end-of-turn model
    speed("VAD ends turns", cost(VAD, calls, 1), VAD_FLOOR)
    one = cost({}, calls, 1)
    speed("turn detector, warm memo", one, DETECTOR_FLOOR)
    if (os.cpu_count() or 1) > 1:
        two = cost({}, calls, 2)
        good = two.wall_s * PAIR_FLOOR <= one.wall_s
        row("the same on two workers", two, f"{PAIR_FLOOR} × one", good)
        if not wanted.quick:
            many = cost({}, 1000 // TURNS, 2)
            good = many.wall_s <= TURNS_FLOOR_S
            row("1,000 turns on two workers", many, f"{TURNS_FLOOR_S:.0f} s", good)
    Console(width=120).print(table)
    for what in missed:
        print(f"floor missed: {what}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
