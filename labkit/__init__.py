"""labkit: a wind tunnel for LiveKit voice agents.

Real agents, emulated providers, simulated callers, virtual time. The names below are loaded on
first use, so that importing the package is fast and pulls in neither livekit nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.config import SETTINGS, Settings
    from labkit.report import anchors, figures, reading, verdicts
    from labkit.report.source import source
    from labkit.study import claims
    from labkit.study.checks import check
    from labkit.study.compare import compare
    from labkit.study.experiment import Arm, Experiment
    from labkit.study.run import run
    from labkit.study.sweep import sweep
    from labkit.study.tables import Results, provenance

__all__ = [
    "Arm",
    "Experiment",
    "Results",
    "SETTINGS",
    "Settings",
    "anchors",
    "check",
    "claims",
    "compare",
    "figures",
    "provenance",
    "reading",
    "run",
    "source",
    "sweep",
    "verdicts",
]

_HOMES = {
    "Arm": "labkit.study.experiment",
    "Experiment": "labkit.study.experiment",
    "Results": "labkit.study.tables",
    "SETTINGS": "labkit.config",
    "Settings": "labkit.config",
    "anchors": "labkit.report.anchors",
    "check": "labkit.study.checks",
    "claims": "labkit.study.claims",
    "compare": "labkit.study.compare",
    "figures": "labkit.report.figures",
    "provenance": "labkit.study.tables",
    "reading": "labkit.report.reading",
    "run": "labkit.study.run",
    "source": "labkit.report.source",
    "sweep": "labkit.study.sweep",
    "verdicts": "labkit.report.verdicts",
}
"""Where each public name lives; a name that ends its home's path is that module itself."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    module = importlib.import_module(home)
    found = module if home.endswith(f".{name}") and not hasattr(module, name) else None
    found = found if found is not None else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
