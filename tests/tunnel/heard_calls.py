"""Runs calls in one process; prints their rows beside what their recordings hold, as JSON.

The recordings are read here without the tunnel's own measurement: by the loudness of samples.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from labkit.measure.timeline import turn_rows
from labkit.tunnel import worker
from labkit.tunnel.spec import CallSpec

AGENT = Path(__file__).parents[1] / "agents" / "foreign" / "fillers.py"
RATE_HZ = 16_000
LOUD, GAP_S = 184, 0.1
COLUMNS = ("outcome", "response_latency_s", "answer_latency_s", "residual_s", "hook_s", "tools_s",
           "llm_ttft_s", "llm_network_s", "replied")  # fmt: skip


def sounds(pcm: np.ndarray) -> list[list[float]]:
    """First and last moment of each stretch of sound, seconds."""
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > LOUD)
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > GAP_S * RATE_HZ) + 1)
    return [[float(p[0]) / RATE_HZ, float(p[-1] + 1) / RATE_HZ] for p in parts if len(p)]


def call(kind: str, settings: dict[str, Any], n_turns: int) -> dict[str, Any]:
    """One call: its rows, and for each what was heard, seconds from the caller's last sound."""
    given = {"caller.persona": "fluent", "job.metadata": kind, **settings}
    record = worker.run_call(CallSpec(str(AGENT), given, n_turns=n_turns, seed=7, tracks=True))
    assert record.status == "ok", record.error
    ear, said = record.tracks.ear, sounds(record.tracks.speech)
    rows = []
    for turn, row in zip(record.turns, turn_rows(record), strict=True):
        stopped_s = next(b for _, b in reversed(said) if b < turn.stopped_s + 0.1)
        until_s = next((t.started_s for t in record.turns if t.index == turn.index + 1), 1e9)
        heard = [[a - stopped_s, b - stopped_s] for a, b in sounds(ear) if stopped_s < a < until_s]
        rows.append({name: row[name] for name in COLUMNS} | {"heard": heard})
    first = [float(np.abs(ear[round(a * RATE_HZ) : round(b * RATE_HZ)]).mean())
             for a, b in ((1.0, 2.0), (3.0, 3.5))]  # fmt: skip
    return {"rows": rows, "before": first}


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    with contextlib.redirect_stdout(sys.stderr):
        worker.start()
        found = {name: call(*terms) for name, terms in asked.items()}
    print(json.dumps(found))
