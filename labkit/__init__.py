"""labkit: a wind tunnel for LiveKit voice agents.

Real agents, emulated providers, simulated callers, virtual time. The names below are loaded on
first use, so that importing the package is fast and pulls in neither livekit nor matplotlib.
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
    from labkit.evidence import anchors, claims, paired
    from labkit.evidence.checks import check
    from labkit.evidence.compare import compare
    from labkit.evidence.fate import fate
    from labkit.evidence.verdict import Rules
    from labkit.explorer.explore import explore
    from labkit.report import figures, reading, verdicts
    from labkit.report.listen import listen
    from labkit.report.source import source
    from labkit.report.study import Study
    from labkit.settings import SETTINGS, Settings
    from labkit.studies import (
        answer_cache,
        evaluation,
        history,
        prebuffer,
        preemption,
        prefetch,
        prefix_cache,
        regions,
        routing,
        stacking,
        stacks,
        streaming,
        turn_taking,
        warmup,
    )

__all__ = [
    "Arm",
    "Experiment",
    "Results",
    "Rules",
    "SETTINGS",
    "Settings",
    "Study",
    "anchors",
    "answer_cache",
    "check",
    "claims",
    "compare",
    "evaluation",
    "explore",
    "fate",
    "figures",
    "history",
    "listen",
    "paired",
    "prebuffer",
    "preemption",
    "prefetch",
    "prefix_cache",
    "provenance",
    "reading",
    "regions",
    "routing",
    "run",
    "source",
    "stacking",
    "stacks",
    "streaming",
    "sweep",
    "turn_taking",
    "verdicts",
    "warmup",
]

_HOMES = {
    "Arm": "labkit.engine.experiment",
    "Experiment": "labkit.engine.experiment",
    "Results": "labkit.engine.tables",
    "Rules": "labkit.evidence.verdict",
    "SETTINGS": "labkit.settings",
    "Settings": "labkit.settings",
    "Study": "labkit.report.study",
    "anchors": "labkit.evidence.anchors",
    "answer_cache": "labkit.studies.answer_cache",
    "check": "labkit.evidence.checks",
    "claims": "labkit.evidence.claims",
    "compare": "labkit.evidence.compare",
    "evaluation": "labkit.studies.evaluation",
    "explore": "labkit.explorer.explore",
    "fate": "labkit.evidence.fate",
    "figures": "labkit.report.figures",
    "history": "labkit.studies.history",
    "listen": "labkit.report.listen",
    "paired": "labkit.evidence.paired",
    "prebuffer": "labkit.studies.prebuffer",
    "preemption": "labkit.studies.preemption",
    "prefetch": "labkit.studies.prefetch",
    "prefix_cache": "labkit.studies.prefix_cache",
    "provenance": "labkit.engine.provenance",
    "reading": "labkit.report.reading",
    "regions": "labkit.studies.regions",
    "routing": "labkit.studies.routing",
    "run": "labkit.engine.run",
    "source": "labkit.report.source",
    "stacking": "labkit.studies.stacking",
    "stacks": "labkit.studies.stacks",
    "streaming": "labkit.studies.streaming",
    "sweep": "labkit.engine.sweep",
    "turn_taking": "labkit.studies.turn_taking",
    "verdicts": "labkit.report.verdicts",
    "warmup": "labkit.studies.warmup",
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
