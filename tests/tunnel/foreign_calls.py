"""Runs agent files, one call of each, in one process, and prints what became of them as JSON.

A process of its own: the tunnel takes over the clock and the environment of the one that it is in.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from labkit.measure.timeline import call_row, turn_rows
from labkit.tunnel import worker
from labkit.tunnel.spec import CallSpec

FOREIGN = Path(__file__).parents[1] / "agents" / "foreign"
FLUENT = {"caller.persona": "fluent", "caller.dialogue": "dental_appointment"}


def call(agent: str, settings: dict[str, Any], n_turns: int) -> dict[str, Any]:
    """What became of one call."""
    spec = CallSpec(str(FOREIGN / agent), {**FLUENT, **settings}, n_turns=n_turns)
    record = worker.run_call(spec)
    row, turns = call_row(record), turn_rows(record)
    return {
        "status": row["status"],
        "error": row["error"],
        "agent_errors": row["agent_errors"],
        "outcomes": [t["outcome"] for t in turns],
        "detector_s": [t["turn_detector_s"] for t in turns],
        "room": json.loads(row["room"] or "[]"),
        "notes": json.loads(row["notes"] or "[]"),
    }


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    with contextlib.redirect_stdout(sys.stderr):
        worker.start()
        found = {name: call(*terms) for name, terms in asked.items()}
    print(json.dumps(found))
