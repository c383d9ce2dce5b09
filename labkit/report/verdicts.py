"""A study's verdict: a rule fixed before the data, a sentence, and a file the front page reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.report.saving import figures_dir, write_json
from labkit.study import statistics
from labkit.study.statistics import Estimate
from labkit.study.summary import ms

_DECIMALS = 9


def level_against_claim(found: Estimate, low_s: float, high_s: float) -> str:
    """Whether a measured level lies in a claimed band.

    Returns:
        ``reproduced`` when the estimate lies in the band, ``smaller`` or ``larger`` when its whole
        interval lies beside it, ``not enough evidence`` when the estimate lies outside and its
        interval reaches in, or there is no estimate.
    """
    if low_s > high_s:
        raise ValueError(f"a claimed band from {low_s} s to {high_s} s is empty")
    if math.isnan(found.value):
        return "not enough evidence"
    if low_s <= found.value <= high_s:
        return "reproduced"
    if found.low > high_s:
        return "larger"
    if found.high < low_s:
        return "smaller"
    return "not enough evidence"


def latency_claim(
    turns: pd.DataFrame,
    claim: str,
    low_s: float,
    high_s: float,
    quantile: float = 0.95,
    column: str = "response_latency_s",
) -> dict[str, Any]:
    """Holds a claimed band of a latency quantile against the turns.

    Args:
        turns: The turns table.
        claim: Whose claim it is, as the subject of a sentence: "The guide".
        low_s: Lower end of the claimed band.
        high_s: Upper end.
        quantile: Which quantile is claimed, 0 to 1.
        column: Column in seconds.

    Returns:
        ``verdict``, ``statement`` (one sentence), the estimate with its interval, and the rule.
    """
    found = statistics.quantile(turns, quantile, column)
    verdict = level_against_claim(found, low_s, high_s)
    p = f"p{quantile * 100:g}"
    statement = (
        f"{claim} gives {ms(low_s)}–{ms(high_s)} ms at {p}; here {p} is {ms(found.value)} ms "
        f"(95% interval {ms(found.low)}–{ms(found.high)}, {found.n} turns in {found.n_calls} "
        f"calls): {verdict}."
    )
    return {
        "verdict": verdict,
        "statement": statement,
        "value_s": found.value,
        "low_s": found.low,
        "high_s": found.high,
        "n_turns": found.n,
        "n_calls": found.n_calls,
        "rule": {"claim": claim, "quantile": quantile, "low_s": low_s, "high_s": high_s},
    }


def save_verdict(verdict: dict[str, Any], notebook: str, to: str | Path | None = None) -> Path:
    """Writes ``NOTEBOOK/verdict.json`` if it says something new.

    Args:
        verdict: With at least ``verdict`` and ``statement``.
        notebook: Name of the notebook.
        to: The folder of all figures.
    """
    path = figures_dir(to) / notebook / "verdict.json"
    write_json(path, {"notebook": notebook, **_tidy(verdict)})
    return path


def _tidy(value: Any) -> Any:
    """JSON has no NaN, and the last binary digits of a number are noise."""
    if isinstance(value, dict):
        return {k: _tidy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tidy(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, _DECIMALS)
    return value
