"""labkit: a wind tunnel for LiveKit voice agents.

Real agents, emulated providers, simulated callers, virtual time. The names below are what a user of
any agent needs; what belongs to one study is in :mod:`labkit.studies`. They are loaded on first
use, so that importing the package is fast and pulls in neither livekit nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.engine.experiment import Arm, Experiment
    from labkit.engine.provenance import provenance
    from labkit.engine.run import run
    from labkit.engine.sweep import sweep
    from labkit.engine.tables import Results
    from labkit.evidence import claims
    from labkit.evidence.checks import check
    from labkit.evidence.compare import compare
    from labkit.evidence.paired import savings
    from labkit.evidence.verdict import Rules
    from labkit.explorer.explore import explore
    from labkit.report import figures, tables, verdicts
    from labkit.report.listen import listen
    from labkit.report.source import source
    from labkit.report.study import Study
    from labkit.settings import SETTINGS, Settings

__all__ = [
    "Arm",
    "Experiment",
    "Results",
    "Rules",
    "SETTINGS",
    "Settings",
    "Study",
    "check",
    "claims",
    "compare",
    "explore",
    "figures",
    "listen",
    "provenance",
    "run",
    "savings",
    "source",
    "sweep",
    "tables",
    "verdicts",
]

_HOMES = {
    "Arm": "labkit.engine.experiment",
    "Experiment": "labkit.engine.experiment",
    "Results": "labkit.engine.tables",
    "Rules": "labkit.evidence.verdict",
    "SETTINGS": "labkit.settings",
    "Settings": "labkit.settings",
    "Study": "labkit.report.study",
    "check": "labkit.evidence.checks",
    "claims": "labkit.evidence.claims",
    "compare": "labkit.evidence.compare",
    "explore": "labkit.explorer.explore",
    "figures": "labkit.report.figures",
    "listen": "labkit.report.listen",
    "provenance": "labkit.engine.provenance",
    "run": "labkit.engine.run",
    "savings": "labkit.evidence.paired",
    "source": "labkit.report.source",
    "sweep": "labkit.engine.sweep",
    "tables": "labkit.report.tables",
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
