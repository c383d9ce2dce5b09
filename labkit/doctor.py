"""What is installed, what is missing, and which keys are set."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

from labkit.engine.provenance import code_version, packages
from labkit.paths import agents_dir, cache_dir, data_dir
from labkit.tunnel.spec import KEYS

_TESTED = "1.8."
"""How the versions of livekit-agents begin that the project is tested with."""


def examine() -> dict[str, Any]:
    """A report by group; ``problems`` lists what would keep a study from running."""
    problems: list[str] = []
    versions = dict.fromkeys((*packages(), "jupyterlab", "papermill", "loky"), "missing")
    for name in versions:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{name} is not installed: run `make install`")
    sdk = versions["livekit-agents"]
    if not sdk.startswith((_TESTED, "missing")):
        problems.append(f"livekit-agents {sdk} is untested here; install {_TESTED}*")
    if importlib.util.find_spec("aiodns") is not None:
        problems.append("aiodns is installed: it looks names up outside the tunnel; remove it")
    data = data_dir()
    speech = data / "speech" / "clips.csv"
    if not speech.is_file():
        problems.append(f"no speech corpus: {speech} is missing")
    return {
        "labkit": code_version(),
        "python": {"version": platform.python_version(), "cores": os.cpu_count()},
        "packages": versions,
        "folders": {"data": str(data), "agents": str(agents_dir()), "cache": str(cache_dir())},
        "keys (only for live runs)": {k: "set" if os.environ.get(k) else "not set" for k in KEYS},
        "problems": problems,
    }
