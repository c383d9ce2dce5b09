"""What a turn used: LLM calls and tokens, TTS characters, and money."""

from __future__ import annotations

import functools
import operator
from typing import Any

from labkit.measure.turn_logs import TurnLogs, holds, letters
from labkit.world.events import Connected, Ended, Request, Role, Text


def costs(logs: TurnLogs, served_model: str) -> dict[str, Any]:
    """The cost columns of a turn.

    Args:
        logs: The turn's logs.
        served_model: The model whose answer was spoken.
    """
    requests, texts = logs.of(Request), logs.of(Text)
    ids = {r.id for r in requests}
    ends = [e for e in logs.record.providers if isinstance(e, Ended) and e.id in ids]
    used = _used(logs, requests, ends)
    return {
        "llm_calls": len(requests),
        # whether a request had to wait for a connection of its own to be set up
        "llm_cold": any(r.connection_requests == 1 for r in requests),
        "tts_cold": any(e.role is Role.TTS for e in logs.of(Connected)),
        "served_model": served_model,
        "llm_prompt_tokens": sum(r.prompt_tokens for r in requests),
        "llm_cached_tokens": sum(r.cached_tokens for r in requests),
        "llm_completion_tokens": sum(e.output_tokens for e in ends),
        "llm_wasted_tokens": sum(
            e.output_tokens for e in ends if not e.tool_calls and e.id not in used
        ),
        "tts_requests": len({t.context for t in texts}),
        "tts_characters": sum(t.characters for t in texts),
        "tool_calls": sum(len(r["names"]) for r in logs.session_of("tools")),
        "usd": _usd(logs),
    }


def _used(logs: TurnLogs, requests: list[Request], ends: list[Ended]) -> set[str]:
    """The requests whose answers were said: for each message the last one with its words."""
    texts = {e.id: letters(e.text) for e in ends}
    asked = [(r.id, texts[r.id]) for r in requests if texts.get(r.id)]
    used: set[str] = set()
    for words in logs.agent_messages():
        used |= set([i for i, text in asked if holds(words, text)][-1:])
    return used


def _usd(logs: TurnLogs) -> float:
    """What all providers charge; the first turn also pays for what came before it.

    An STT bills every minute that its socket is fed, speech or not.
    """
    providers, first = logs.record.providers, logs.turn.index == 0
    paid = [e for e in providers if e.t_s < logs.until_s] if first else logs.events
    begins_s = 0.0 if first else logs.from_s
    minutes = (min(logs.until_s, logs.record.simulated_s) - begins_s) / 60
    prices = [e.usd_per_minute for e in providers if isinstance(e, Connected) and e.usd_per_minute]
    # one after another: from Python 3.12 on, sum() rounds floats differently
    served = functools.reduce(operator.add, (e.usd for e in paid), 0.0)
    return served + (max(minutes, 0.0) * prices[-1] if prices else 0.0)
