"""From a call's logs to one row per caller turn.

Three independent logs are read: what the caller heard (audio), what the providers did, and what the
session said of itself. The response latency comes from audio alone.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from typing import Any

from labkit.measure.costs import costs
from labkit.measure.harm import harms
from labkit.measure.milestones import Milestones
from labkit.measure.stages import COLUMNS, STAGES, stages
from labkit.measure.turn_end import turn_ends
from labkit.measure.turn_logs import NAN, TurnLogs, letters
from labkit.tunnel.record import CallRecord
from labkit.world.events import Assumed, Completed, Connected, Request, Spans, Text, Unheeded

SDK = {
    "e2e_latency": "sdk_e2e_latency_s",
    "transcription_delay": "sdk_transcription_delay_s",
    "end_of_turn_delay": "sdk_end_of_turn_delay_s",
    "on_user_turn_completed_delay": "sdk_on_user_turn_completed_delay_s",
    "llm_node_ttft": "sdk_llm_node_ttft_s",
    "llm_node_ttfs": "sdk_llm_node_ttfs_s",
    "tts_node_ttfb": "sdk_tts_node_ttfb_s",
    "playback_latency": "sdk_playback_latency_s",
}
"""The SDK's own metrics of a message, and their columns."""


def turn_rows(record: CallRecord) -> list[dict[str, Any]]:
    """One row per caller turn that was spoken, in order."""
    ends, harm = turn_ends(record), harms(record)
    return [_row(TurnLogs(record, i)) | ends[i] | harm[i] for i in range(len(record.turns))]


def call_row(record: CallRecord) -> dict[str, Any]:
    """The call's own row.

    As JSON, empty for none: ``agent_errors``, what went wrong in the agent's code; ``overrides``,
    what was set on the agent's session from outside (a list of ``name=value``); ``survey``, what
    the session had (:func:`labkit.tunnel.override.survey`); ``models``, by role the providers and
    models that served; ``tools``, by name how often each tool that a model was offered was called;
    ``spans``, what a trace collector was sent; ``assumed``, what was emulated in a way that no
    source states; ``room``, what the agent did to its room and asked of the server's API (``act``,
    ``t_s`` and details); and ``notes``, what to know of the call.
    """
    assumed = sorted({e.text for e in record.providers if isinstance(e, Assumed)})
    sent = [span for e in record.providers if isinstance(e, Spans) for span in e.spans]
    return {
        "call": record.call,
        "seed": record.seed,
        "persona": record.persona,
        "voice": record.voice,
        "status": record.status,
        "error": record.error,
        "agent_errors": _agent_errors(record),
        "n_turns": len(record.turns),
        "simulated_s": record.simulated_s,
        "wall_s": record.wall_s,
        "overrides": json.dumps(record.overrides) if record.overrides else "",
        "survey": json.dumps(record.survey) if record.survey else "",
        "models": json.dumps(_models(record)),
        "tools": _tools(record),
        "spans": json.dumps(sent) if sent else "",
        "assumed": json.dumps(assumed) if assumed else "",
        "room": _session_rows(record, "room"),
        "notes": _notes(record),
    }


def _notes(record: CallRecord) -> str:
    unheeded = sorted({e.text for e in record.providers if isinstance(e, Unheeded)})
    found = [r["text"] for r in record.session if r["event"] == "note"]
    return json.dumps(found + unheeded) if found or unheeded else ""


def _session_rows(record: CallRecord, event: str) -> str:
    """The session's rows of one kind."""
    found = [r for r in record.session if r["event"] == event]
    rows = [{k: v for k, v in r.items() if k != "event"} for r in found]
    return json.dumps(rows) if rows else ""


def _models(record: CallRecord) -> dict[str, list[tuple[str, str]]]:
    """By role, every provider and model that served, in the order of their names."""
    found: dict[str, set[tuple[str, str]]] = {}
    for event in record.providers:
        if isinstance(event, (Connected, Request, Text)) and event.role and event.model:
            found.setdefault(event.role.value, set()).add((event.provider, event.model))
    return {role: sorted(models) for role, models in sorted(found.items())}


def _tools(record: CallRecord) -> str:
    """How often each tool was called that the agent offered its model, in the names' order."""
    n = {name: 0 for e in record.providers if isinstance(e, Request) for name in e.tools}
    for event in record.providers:
        for call in event.tool_calls if isinstance(event, Completed) else ():
            n[call["name"]] = n.get(call["name"], 0) + 1
    return json.dumps(dict(sorted(n.items()))) if n else ""


def _agent_errors(record: CallRecord) -> str:
    """A list of ``where``, ``error``, and ``n``, how often."""
    n = Counter((r["where"], r["error"]) for r in record.session if r["event"] == "agent_error")
    rows = [{"where": at, "error": error, "n": often} for (at, error), often in n.items()]
    return json.dumps(rows) if rows else ""


def _row(logs: TurnLogs) -> dict[str, Any]:
    record, turn, reply, found = logs.record, logs.turn, logs.reply, Milestones(logs)
    latency_s = found.at["reply_heard_s"] - turn.stopped_s
    outcome = _outcome(logs, latency_s)
    lengths = stages(found) if outcome in ("answered", "interrupted") else {}
    users, agents = logs.messages("user"), logs.messages("assistant")
    return {
        "call": record.call,
        "turn": turn.index,
        "seed": record.seed,
        "persona": record.persona,
        "voice": record.voice,
        "dialogue": turn.dialogue,
        "turn_id": turn.turn_id,
        "intent": turn.intent,
        "kind": turn.kind,
        "variant": turn.variant,
        "heavy": turn.heavy,
        "clip_id": turn.clip_id,
        "barged_in": turn.barged_in,
        "outcome": outcome,
        # a premature reply is an outcome, not a negative latency
        "response_latency_s": NAN if outcome == "premature" else latency_s,
        "answer_latency_s": NAN
        if outcome == "premature"
        else found.answer_heard_s - turn.stopped_s,
        **(lengths or dict.fromkeys(COLUMNS, NAN) | {"waited_for": ""}),
        "residual_s": latency_s - sum(float(lengths[n]) for n in STAGES) if lengths else NAN,
        **{f"at_{name}": at_s for name, at_s in found.at.items()},
        "at_released_s": turn.released_s,
        **_sdk(logs),
        **costs(logs, found.served_model),
        "n_user_messages": len(users),
        "n_agent_messages": len(agents),
        "said": turn.text,
        "heard": " ".join(r["text"] for r in users),
        "replied": " ".join(r["text"] for r in agents),
        "reply_right": _right(logs, " ".join(r["text"] for r in agents)),
        "reply_interrupted": bool(reply and reply.interrupted),
        "reply_gap_s": _gap_s(logs),
        "agent_errors": sum(1 for _ in logs.session_of("agent_error")),
        **_agent_facts(logs),
    }


def _outcome(logs: TurnLogs, latency_s: float) -> str:
    if logs.reply is None:
        failed = any(not r["recoverable"] for r in logs.session_of("error"))
        return "failed" if failed or any(logs.session_of("agent_error")) else "missed"
    if latency_s < 0:
        return "premature"
    return "interrupted" if logs.reply.interrupted else "answered"


def _sdk(logs: TurnLogs) -> dict[str, float]:
    """The SDK's own metrics of the messages that led to this reply."""
    found: dict[str, float] = dict.fromkeys(SDK.values(), NAN)
    for r in logs.session_of("item"):
        for name, value in r["metrics"].items():
            column = SDK.get(name)
            if column and math.isnan(found[column]):
                found[column] = value
    return found


def _right(logs: TurnLogs, replied: str) -> float:
    """1 if the agent said the right answer, 0 if something else, NaN if nothing.

    An interrupted reply is judged by what was heard of it.
    """
    said, right = letters(replied), letters(logs.turn.right_reply)
    if not said or not right:
        return NAN
    cut = any(r["interrupted"] for r in logs.session_of("item"))
    return float(right in said or (cut and right.startswith(said)))


def _gap_s(logs: TurnLogs) -> float:
    """The longest silence between the agent's first and last sound of this turn; 0 if none."""
    if logs.reply is None:
        return NAN
    own = [s for s in logs.record.segments if logs.reply.left_s <= s.left_s < logs.until_s]
    spans = sorted(span for segment in own for span in segment.voiced)
    return max((b[0] - a[1] for a, b in itertools.pairwise(spans)), default=0.0)


def _agent_facts(logs: TurnLogs) -> dict[str, Any]:
    """What the agent's own code logged in this turn; the last value of each name counts."""
    return {
        f"agent_{name}": value for r in logs.session_of("told") for name, value in r["data"].items()
    }
