"""What is installed, what is missing, and which keys are set."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.engine.provenance import code_version, packages
from labkit.engine.store import CallStore
from labkit.engine.tables import Results
from labkit.paths import agents_dir, data_dir
from labkit.tunnel.isolation import in_child, leave_network
from labkit.tunnel.spec import KEYS

if TYPE_CHECKING:
    import pandas as pd

_TESTED = "1.8."
"""How the versions of livekit-agents begin that the project is tested with."""


def examine() -> dict[str, Any]:
    """A report by group; ``problems`` lists what would keep a study from running."""
    problems: list[str] = []
    versions = dict.fromkeys((*packages(), "jupyterlab", "papermill"), "missing")
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
    kept = CallStore()
    cache = kept.info()["path"] or "cannot be used: results are not kept"
    kept.close()
    return {
        "labkit": code_version(),
        "python": {"version": platform.python_version(), "cores": os.cpu_count()},
        "packages": versions,
        "folders": {"data": str(data), "agents": str(agents_dir()), "cache": cache},
        "protections": _protections(),
        "keys (only for live runs)": {k: "set" if os.environ.get(k) else "not set" for k in KEYS},
        "problems": problems,
    }


def _protections() -> dict[str, str]:
    """What keeps an agent inside the tunnel on this machine."""
    own = in_child(leave_network)
    return {
        "network": "calls have a network namespace of their own: nothing gets out" if own
        else "the kernel grants no network namespace: Python's look-ups and connections are "
        "refused, but code that calls the kernel by itself can get out",
        "programs": "refused from Python; --set allow=subprocess lets them start",
        "environment": "variables that look like secrets are hidden from agents",
        "processes": "one for each call, ended with it",
    }  # fmt: skip


def hermetic(agents: Sequence[str], calls: int = 2, turns: int = 2) -> pd.DataFrame:
    """Whether arms can touch each other: each alone, then all in turn, forwards and backwards.

    Args:
        agents: Built-in agents or files.
        calls, turns: How much of each is run.

    Returns:
        One row per agent: ``agent``, ``alone`` (digest), ``hermetic`` (whether the others were
        equal), and ``differs`` (the ways of running that gave other rows).
    """
    import pandas as pd

    from labkit.engine.experiment import Experiment
    from labkit.engine.run import run
    from labkit.engine.sweep import sweep

    how: dict[str, Any] = {"turns": turns, "seed": 7}
    alone = {a: run(a, calls=calls, fresh=True, workers=1, **how).turns for a in agents}
    ways = {
        "in turn": sweep(Experiment({a: a for a in agents}, calls=calls, **how), fresh=True),
        "backwards": sweep(
            Experiment({a: a for a in reversed(agents)}, calls=calls, **how), fresh=True, workers=1
        ),
    }
    last = {a: run(a, calls=1, first=calls - 1, fresh=True, **how).turns for a in agents}
    rows = []
    for agent, table in alone.items():
        own = _comparable(table)
        differs = [
            way for way, results in ways.items()
            if not own.equals(_comparable(results.turns[results.turns["arm"] == agent]))
        ]  # fmt: skip
        if (
            not own[own["call"] == calls - 1]
            .reset_index(drop=True)
            .equals(_comparable(last[agent]))
        ):
            differs.append("without the calls before")
        digest = Results(own, pd.DataFrame()).digest
        rows.append({"agent": agent, "alone": digest, "hermetic": not differs,
                     "differs": ", ".join(differs)})  # fmt: skip
    return pd.DataFrame(rows)


def _comparable(turns: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    columns = ["call", "turn"]
    own = turns.drop(columns="arm") if len(turns) else pd.DataFrame(columns=columns)
    return own.sort_values(columns, ignore_index=True)
