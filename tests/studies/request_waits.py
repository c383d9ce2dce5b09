"""Runs one call of an agent and prints what its LLM requests were for, and how long they waited.

Run as a script, because a call takes over its process. Arguments: the agent's name, then settings
as ``name=value``. Prints one JSON list of ``[role, caller turn, wait for the first token in s]``.
"""

from __future__ import annotations

import json
import sys

from labkit.measure.turn_logs import TurnLogs
from labkit.paths import agents_dir
from labkit.settings import Settings, parse_assignments
from labkit.tunnel.worker import CallSpec, run_call
from labkit.world.events import FirstToken, Request

if __name__ == "__main__":
    agent, *changes = sys.argv[1:]
    fluent = {"caller.persona": "fluent"}
    settings = Settings(fluent | parse_assignments(changes)).as_dict()
    record = run_call(CallSpec(str(agents_dir() / f"{agent}.py"), settings, n_turns=4, seed=3))
    assert record.status == "ok", record.error
    first = {e.id: e.t_s for e in record.providers if isinstance(e, FirstToken)}
    waits = [
        [r.request_role, turn.index, first[r.id] - r.t_s]
        for turn in record.turns
        for r in TurnLogs(record, turn.index).of(Request)
        if r.id in first
    ]
    print(json.dumps(waits))
