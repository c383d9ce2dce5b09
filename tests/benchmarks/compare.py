"""Which of two checkouts runs calls faster: ``python tests/benchmarks/compare.py TREE_A TREE_B``.

Each checkout gets a process of its own that runs one call after another with ``labkit.run`` on one
worker, both pinned to the same core. The calls are run in turn, the same call by the one and the
other, so that whatever else the machine does meets both alike. What is compared is processor time,
all child processes included: the ratio of each pair of calls, their median, and the quartiles. A
ratio above 1 says that B is faster. Prints and writes nothing else; exit code 1 if the median is
below ``--floor``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from processor import tree_s

CHILD = """
import inspect, json, sys
import labkit as lab
known = {"fresh": True} if "fresh" in inspect.signature(lab.run).parameters else {}
print(json.dumps({"ready": lab.__file__}), flush=True)
for line in sys.stdin:
    results = lab.run(workers=1, **known, **json.loads(line))
    if set(results.calls["status"]) != {"ok"}:
        raise SystemExit(results.calls["error"].iloc[0])
    print(json.dumps({"simulated_s": results.simulated_s}), flush=True)
"""

STEP = 5
"""Calls that are run at a time."""


class Checkout:
    """A checkout of labkit with a process of its own that runs its calls."""

    def __init__(self, tree: Path, python: str, core: int) -> None:
        if not (tree / "labkit" / "__init__.py").is_file():
            raise SystemExit(f"{tree}: no checkout of labkit; give the folder that holds labkit/")
        self.used_s = self.simulated_s = 0.0
        self._process = subprocess.Popen(
            [python, "-c", CHILD],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, {core})
        where = Path(self._answer()["ready"])
        if not where.is_relative_to(tree):
            raise SystemExit(f"{tree}: python imports {where} there; set no PYTHONPATH of your own")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with {self._process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, **spec: Any) -> dict[str, float]:
        """Runs one call; gives ``used_s`` (processor time) and ``simulated_s``."""
        assert self._process.stdin is not None
        before_s = tree_s(self._process.pid)
        self._process.stdin.write(json.dumps(spec) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer | {"used_s": tree_s(self._process.pid) - before_s}

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)


def compare(a: Checkout, b: Checkout, calls: int, **spec: Any) -> list[float]:
    """Runs the same calls in both, in turn.

    Returns:
        Processor time of A over that of B, for each few calls.
    """
    ratios = []
    for i in range(calls // STEP):
        used = {}
        for checkout in (a, b) if i % 2 else (b, a):
            cost = checkout.run(calls=STEP, first=i * STEP, **spec)
            checkout.used_s += cost["used_s"]
            checkout.simulated_s += cost["simulated_s"]
            used[checkout] = cost["used_s"]
        ratios.append(used[a] / used[b])
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trees", nargs=2, type=Path, metavar="TREE", help="folders with labkit/")
    parser.add_argument("--calls", type=int, default=40, help="calls by each, five turns long")
    parser.add_argument("--agent", default="vanilla")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="default: VAD alone")
    parser.add_argument("--python", nargs=2, default=[sys.executable] * 2, help="one for each")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--floor", type=float, default=0.0, help="smallest median that is good")
    given = parser.parse_args()
    settings = dict(s.split("=", 1) for s in given.set or ["turn_detection=vad"])
    spec = {"agent": given.agent, "turns": 5, "settings": settings}

    a, b = (
        Checkout(tree.resolve(), python, given.core)
        for tree, python in zip(given.trees, given.python, strict=True)
    )
    compare(a, b, STEP, **spec)  # both are warm then
    for checkout in (a, b):
        checkout.used_s = checkout.simulated_s = 0.0
    ratios = compare(a, b, given.calls, **spec)
    for checkout in (a, b):
        checkout.close()
    print(f"A/B of {STEP} calls each:", " ".join(f"{r:.3f}" for r in ratios))
    for name, checkout in zip("AB", (a, b), strict=True):
        speed = checkout.simulated_s / checkout.used_s
        print(f"{name}: {speed:.1f} simulated s per processor s, {checkout.used_s:.1f} s used")
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"B does {median:.3f} times the work of A (quartiles {low:.3f} to {high:.3f})")
    return 0 if median >= given.floor else 1


if __name__ == "__main__":
    sys.exit(main())
