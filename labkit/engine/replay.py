"""The command that runs one call of a table again."""

from __future__ import annotations

import shlex

from labkit.tunnel.worker import CallSpec


def replay_command(spec: CallSpec) -> str:
    """What to type to run a call again, alone."""
    words = ["labkit", "run", spec.agent]
    for name, value in spec.settings.items():
        words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    words += ["--turns", str(spec.n_turns), "--seed", str(spec.seed)]
    words += ["--first", str(spec.call), "--calls", "1"]
    if not spec.virtual:
        words += ["--clock", "wall"]
    return shlex.join(words)
