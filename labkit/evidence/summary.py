"""The summary of a run that ``labkit run`` prints."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from labkit.engine.tables import Results, each_once
from labkit.evidence import statistics
from labkit.measure.stages import STAGES

OUTCOMES = ("answered", "premature", "interrupted", "missed", "failed")


def metrics(results: Results) -> dict[str, Any]:
    """The metrics of ``labkit run --json``; seconds, proportions from 0 to 1, None for unknown."""
    turns = results.turns
    answered = turns.query("outcome in ('answered', 'interrupted')") if len(turns) else turns
    quantiles = {p: statistics.quantile(answered, p / 100) for p in (50, 95, 99)}
    out: dict[str, Any] = {}
    for p, estimate in quantiles.items():
        out[f"p{p}_s"] = estimate.value
        out[f"p{p}_ci_s"] = [estimate.low, estimate.high]
    known = len(answered) and "answer_latency_s" in answered
    answers = answered["answer_latency_s"] if known else pd.Series(dtype=float)
    out["answer_p50_s"] = (
        statistics.quantile(answered, 0.5, "answer_latency_s").value if len(answers) else None
    )
    out["fillers"] = (
        int((answers > answered["response_latency_s"] + 1e-6).sum()) if len(answers) else 0
    )
    out["n_turns"] = len(turns)
    out["n_calls"] = len(results.calls)
    for outcome in OUTCOMES:
        happened = turns["outcome"] == outcome if len(turns) else pd.Series(dtype=bool)
        rate = statistics.rate(turns, happened) if len(turns) else None
        out[f"{outcome}_rate"] = rate.value if rate else None
        out[f"{outcome}_rate_ci"] = [rate.low, rate.high] if rate else None
    out["cut_in_rate"] = out["premature_rate"]  # the field's older word, kept for scripts
    out["stages_s"] = (
        {name: float(answered[name].mean()) for name in STAGES} if len(answered) else {}
    )
    out["slack_s"] = (
        {name: float(answered[f"slack_{name}"].mean()) for name in STAGES} if len(answered) else {}
    )
    out["residual_s"] = float(answered["residual_s"].abs().max()) if len(answered) else None
    for name in ("llm_calls", "llm_wasted_tokens", "llm_cached_tokens", "tts_characters", "usd"):
        out[f"{name}_per_turn"] = float(turns[name].mean()) if len(turns) else None
    out["simulated_s"] = results.simulated_s
    out["wall_s"] = results.wall_s
    out["failed_calls"] = len(results.failed)
    out["troubles"] = results.troubles.to_dict("records")
    out["overrides"] = each_once(results.calls, "overrides")
    out["assumed"] = each_once(results.calls, "assumed")
    out["notes"] = each_once(results.calls, "notes")
    out["room"] = _room(results.calls)
    out["tools"] = _tools(results.calls)
    out["digest"] = results.digest
    cleaned: dict[str, Any] = _clean(out)
    return cleaned


def unanswered(results: Results) -> str:
    """Why there is no latency to show: what became of the turns, or why none was spoken."""
    if not len(results.calls):
        return "no call has ended"
    if not len(results.turns):
        return "no caller turn was spoken"
    became = results.turns["outcome"].value_counts()
    said = ", ".join(f"{n} {outcome}" for outcome, n in became.items())
    return f"none of {len(results.turns)} caller turns was answered ({said})"


def _room(calls: pd.DataFrame) -> list[dict[str, Any]]:
    """What the agents asked of the room's server and said into the room, in order, by call."""
    kept = zip(calls.get("call", ()), calls.get("room", ()), strict=False)
    return [{"call": int(n), **event} for n, texts in kept if texts for event in json.loads(texts)]


def _tools(calls: pd.DataFrame) -> dict[str, int]:
    """How often each tool that an agent offered was called, in all calls together."""
    n: dict[str, int] = {}
    for text in filter(None, calls.get("tools", ())):
        for name, often in json.loads(text).items():
            n[name] = n.get(name, 0) + often
    return dict(sorted(n.items()))


def _clean(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
