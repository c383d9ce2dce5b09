"""labkit: a wind tunnel for LiveKit voice agents.

Real agents, emulated providers, simulated callers, virtual time. The names below are loaded on
first use, so that importing the package is fast and pulls in neither livekit nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.config import SETTINGS, Settings
    from labkit.report import anchors, figures, reading, stacks, turn_taking, verdicts
    from labkit.report.explore import explore
    from labkit.report.listen import listen
    from labkit.report.source import source
    from labkit.study import (
        answer_cache,
        claims,
        evaluation,
        history,
        paired,
        prebuffer,
        preemption,
        prefetch,
        prefix_cache,
        regions,
        routing,
        stacking,
        streaming,
        warmup,
    )
    from labkit.study.checks import check
    from labkit.study.compare import compare
    from labkit.study.experiment import Arm, Experiment
    from labkit.study.fate import fate
    from labkit.study.run import run
    from labkit.study.sweep import sweep
    from labkit.study.tables import Results, provenance
    from labkit.study.verdict import Rules

__all__ = [
    "Arm",
    "Experiment",
    "Results",
    "Rules",
    "SETTINGS",
    "Settings",
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
    "Arm": "labkit.study.experiment",
    "Experiment": "labkit.study.experiment",
    "Results": "labkit.study.tables",
    "Rules": "labkit.study.verdict",
    "SETTINGS": "labkit.config",
    "Settings": "labkit.config",
    "anchors": "labkit.report.anchors",
    "answer_cache": "labkit.study.answer_cache",
    "check": "labkit.study.checks",
    "claims": "labkit.study.claims",
    "compare": "labkit.study.compare",
    "evaluation": "labkit.study.evaluation",
    "explore": "labkit.report.explore",
    "fate": "labkit.study.fate",
    "figures": "labkit.report.figures",
    "history": "labkit.study.history",
    "listen": "labkit.report.listen",
    "paired": "labkit.study.paired",
    "prebuffer": "labkit.study.prebuffer",
    "preemption": "labkit.study.preemption",
    "prefetch": "labkit.study.prefetch",
    "prefix_cache": "labkit.study.prefix_cache",
    "provenance": "labkit.study.tables",
    "reading": "labkit.report.reading",
    "regions": "labkit.study.regions",
    "routing": "labkit.study.routing",
    "run": "labkit.study.run",
    "source": "labkit.report.source",
    "stacking": "labkit.study.stacking",
    "stacks": "labkit.report.stacks",
    "streaming": "labkit.study.streaming",
    "sweep": "labkit.study.sweep",
    "turn_taking": "labkit.report.turn_taking",
    "verdicts": "labkit.report.verdicts",
    "warmup": "labkit.study.warmup",
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
