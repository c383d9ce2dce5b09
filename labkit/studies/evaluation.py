"""Study 07: event loop stalls, spans that arrived, and speech heard before it was checked.

The agents log running totals per call: ``agent_stalled_s``, ``agent_spans`` and
``agent_spans_lost``; and, per turn, ``agent_unguarded_s``: how long speech had been heard when its
last check came back. The spans themselves are in the calls' column ``spans``.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.errors import unknown
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.totals import per_turn
from labkit.evidence.units import ms_ci, percent, with_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.report.harms import What
from labkit.report.sweeps import sweep_points
from labkit.report.tables import titled

_ATTRIBUTES = {
    "gen_ai.span.kind": "mapped kind",
    "gen_ai.request.model": "model",
    "input.value": "mapped input",
    "output.value": "mapped output",
}
_SHOWN = 60

BACKGROUND = "background judge"
PREEMPTION = "preemptive.enabled"
COLLECTOR = "providers.collector.traces.accept"
_HARMS: dict[str, What] = {
    "response latency": "response_latency_s",
    "event loop stalled": "stalled_s",
    "premature or no reply": ("premature", "missed", "failed"),
    "LLM tokens never spoken": "llm_wasted_tokens",
}


def arms(collector_s: float) -> dict[str, Arm]:
    """No judge, one in the turn, one after it; and two ways to export spans.

    ``collector_s`` is how long the collector takes to accept spans.
    """
    slow = {COLLECTOR: collector_s}
    return {
        "no judge": Arm("vanilla"),
        "inline judge": Arm("reply_evaluation", {"agent.judge": "inline"}),
        BACKGROUND: Arm("reply_evaluation", {"agent.judge": "background"}),
        "spans, batch": Arm("reply_evaluation", {"agent.spans": "batch", **slow}),
        "spans, simple": Arm("reply_evaluation", {"agent.spans": "simple", **slow}),
    }


def some(collector_s: float, *names: str) -> dict[str, Arm]:
    """These of the arms."""
    known = arms(collector_s)
    return {name: known[name] for name in names}


def guards() -> dict[str, Arm]:
    """Guardrails at different places, and none."""
    kinds = ("whole", "sentence", "early", "parallel")
    guarded = {kind: Arm("output_guardrail", {"agent.guardrail": kind}) for kind in kinds}
    return {"no guardrail": Arm("vanilla"), **guarded}


def guards_compared(results: Results, rules: Rules) -> pd.DataFrame:
    """What each guardrail saves against checking the whole reply; the harm is unguarded speech."""
    arms = by_arm(counted(results.turns))
    others = {name: arms[name] for name in ("sentence", "early", "parallel")}
    return compare(arms["whole"], others, harm="unguarded", rules=rules)


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """What is saved against the same thing in the turn: a judge, or spans sent one by one."""
    arms = by_arm(results.turns)
    judges = {name: arms[name] for name in (BACKGROUND, "no judge")}
    spans = {"spans, batch": arms["spans, batch"]}
    parts = [
        compare(arms["inline judge"], judges, rules=rules),
        compare(arms["spans, simple"], spans, rules=rules),
    ]
    return pd.concat(parts, ignore_index=True)


def harms(turns: pd.DataFrame) -> Chart:
    """What each arm adds to an agent without a judge."""
    arms = by_arm(turns)
    return figures.harms(arms.pop("no judge"), arms, _HARMS)


def against_collector(turns: pd.DataFrame) -> Chart:
    """Response latency against the time that the collector takes."""
    points = sweep_points(turns, COLLECTOR, by="arm")
    points = points.assign(collector_s=points[COLLECTOR])
    return figures.lines(
        points, "collector_s", "response_latency_s", "arm", x_name="time the collector takes",
        y_name="median response latency",
    )  # fmt: skip


def counted(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what the judge, the exporter and the guardrail did in each of them.

    Returns:
        The same rows plus ``stalled_s`` (time the event loop stood still), ``unguarded_s`` (speech
        heard before its check came back), ``unguarded_words`` (how many words that is, at the pace
        of the reply) and ``unguarded`` (whether there was any).
    """
    out = turns.assign(stalled_s=per_turn(turns, "agent_stalled_s"))
    unguarded_s = out.get("agent_unguarded_s", pd.Series(0.0, out.index)).fillna(0.0)
    spoken_s = out["at_reply_over_s"] - out["at_reply_heard_s"]
    words = out["replied"].map(lambda text: len(str(text).split()))
    out["unguarded_s"] = np.minimum(unguarded_s, spoken_s)
    out["unguarded_words"] = (words * out["unguarded_s"] / spoken_s).fillna(0.0)
    out["unguarded"] = out["unguarded_s"] > 0
    return out


def delivery(results: Results, by: str) -> pd.DataFrame:
    """What became of the spans, by a column: per call, and the % that never arrived."""
    last = results.turns.groupby(["arm", by, "call"], sort=False, dropna=False).last()
    rows = []
    for (arm, value), part in last.groupby(level=["arm", by], sort=False, dropna=False):
        spans, lost = part["agent_spans"].sum(), part["agent_spans_lost"].sum()
        rows.append({"arm": arm, by: value, "spans per call": round(spans / len(part), 1),
                     "lost": int(lost), "% lost": percent(lost / spans, 0)})  # fmt: skip
    return titled(pd.DataFrame(rows).set_index("arm"))


def nested(results: Results, call: int = 0, under: str = "agent_session") -> pd.DataFrame:
    """The spans that the collector got for one call, each under its parent.

    Args:
        results: A run with spans.
        call: Index of the call.
        under: Name of the span at the top; the first one of this name.

    Returns:
        One row per span in order of their start: indented name, when it began and how long it took
        (ms), and what the mapping made of it.

    Raises:
        ValueError: nothing was sent, or no span has this name.
    """
    found = results.calls.loc[results.calls["call"] == call, "spans"]
    if not len(found) or not found.iloc[0]:
        raise ValueError(f"the collector got no spans of call {call}")
    spans = sorted(json.loads(found.iloc[0]), key=lambda s: (s["began_ns"], -s["ended_ns"]))
    top = next((s for s in spans if s["name"] == under), None)
    if top is None:
        raise ValueError(unknown("span", under, sorted({s["name"] for s in spans})))
    children: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        children.setdefault(span["parent"], []).append(span)
    rows: list[dict[str, Any]] = []

    def add(span: dict[str, Any], depth: int) -> None:
        rows.append(_row(span, depth, top["began_ns"]))
        for child in children.get(span["id"], ()):
            add(child, depth + 1)

    add(top, 0)
    return titled(pd.DataFrame(rows).fillna("").set_index("span"), "span")


def _row(span: dict[str, Any], depth: int, from_ns: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "span": "\u2003" * depth + span["name"],
        "began (ms)": round((span["began_ns"] - from_ns) / 1e6),
        "took (ms)": round((span["ended_ns"] - span["began_ns"]) / 1e6),
    }
    for key, name in _ATTRIBUTES.items():
        if key in span["attributes"]:
            text = span["attributes"][key]
            row[name] = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return row


def levels(turns: pd.DataFrame) -> pd.DataFrame:
    """Latency, stalls and unguarded words by arm: medians and means with 95% CI, ms."""
    rows = {}
    for arm, part in by_arm(turns).items():
        rows[arm] = {
            "p50 (ms)": ms_ci(statistics.quantile(part, 0.5)),
            "p95 (ms)": ms_ci(statistics.quantile(part, 0.95)),
            "loop stalled per turn (ms)": ms_ci(statistics.mean(part, "stalled_s")),
            "unguarded words per turn": with_ci(statistics.mean(part, "unguarded_words")),
            "turns": len(part),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm", axis="columns")


def cost_by(turns: pd.DataFrame, by: str, baseline: str) -> pd.DataFrame:
    """What each arm adds to the baseline's mean latency at each value of a swept setting, ms."""
    rows = {}
    for value, part in turns.groupby(by, sort=False):
        base = part[part["arm"] == baseline]
        for arm in dict.fromkeys(part["arm"]):
            if arm != baseline:
                added = statistics.difference(base, part[part["arm"] == arm])
                rows[f"{by}={value}"] = {f"added by the {arm} (ms)": ms_ci(added)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("mean", axis="columns")


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of each judge; the claim is about the one in the background."""
    return verdicts.rows(comparison, claim={BACKGROUND: claim})
