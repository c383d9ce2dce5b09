"""Registers the further TTS, runs one call with it and prints the turns as JSON.

Run as a script, because a call takes over its process. Arguments: settings as ``name=value``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from service import FurtherEmulator

from labkit.providers import profile, registry

HERE = Path(__file__).parent
packaged = profile._files
profile._files = lambda: [*packaged(), HERE / "further.toml"]
registry.PROVIDERS["further"] = registry.Entry(
    "service:FurtherEmulator", (), host=FurtherEmulator.host
)  # registration

from labkit.measure.timeline import turn_rows  # noqa: E402
from labkit.settings import Settings, parse_assignments  # noqa: E402
from labkit.tunnel.worker import CallSpec, run_call  # noqa: E402

LINK = {"rtt_s": 0.04, "jitter_s": 0.0, "loss": 0.0, "dns_s": 0.0}
OWN = {f"hosts.{FurtherEmulator.host}": "further"} | {
    f"links.{FurtherEmulator.host}.{part}": value for part, value in LINK.items()
}

if __name__ == "__main__":
    settings = Settings(OWN | parse_assignments(sys.argv[1:])).as_dict()
    record = run_call(CallSpec(str(HERE / "agent.py"), settings, n_turns=3))
    assert record.status == "ok", record.error
    print(json.dumps(turn_rows(record), default=float))
