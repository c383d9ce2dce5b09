"""Canned rulings for a judge or an inline guardrail that asks a model for a word or for JSON.

An emulated model has no opinion: it always lets pass. A study of guardrails can thus measure what
one costs in time, never whether it is right.
"""

from __future__ import annotations

import json
import re

_DEMAND = re.compile(
    r"\b(respond|reply|answer|output|return|say)\b[^.\n]{0,60}\b(only|one word|single word|exactly|"
    r"either|json|yes or no|nothing else|verdict)\b|\b(verdict|moderat|guardrail|classif|judge)",
    re.IGNORECASE,
)
_GUARDS = re.compile(
    r"guard|moderat|unsafe|\bsafe|\bblock|\ballow|harmful|jailbreak|injection|polic(y|ies)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Za-z_]{2,12}")
_PASSING = (
    "ok",
    "allow",
    "allowed",
    "safe",
    "pass",
    "yes",
    "approve",
    "approved",
    "accept",
    "good",
)
_MOST_KEYS = 100
_KEY = re.compile(r"[\"']([A-Za-z_]\w*)[\"']\s*:\s*([^,}\n]*)")


def ruling(system: str, text: str, *, json_wanted: bool = False) -> str | None:
    """The ruling a prompt asks for, or ``None`` if it asks for none.

    Args:
        system: The system prompt.
        text: The last user message, which may hold the request itself.
        json_wanted: The request's response format is JSON.
    """
    prompt = system or text
    if not json_wanted and not _DEMAND.search(prompt):
        return None
    if json_wanted or re.search(r"\bjson\b", prompt, re.IGNORECASE):
        keys = _KEY.findall(prompt)[:_MOST_KEYS]
        return json.dumps({k: _value(k, like) for k, like in keys} or {"ok": True, "score": 1.0})
    words = [w.lower() for w in _WORDS.findall(prompt)]
    chosen = next((w for w in _PASSING if w in words), "ok")
    as_written = next((w for w in _WORDS.findall(prompt) if w.lower() == chosen), chosen)
    return as_written


def guards(prompt: str) -> bool:
    """Whether a prompt that asks for a ruling asks if something may pass, not how good it is."""
    return bool(_GUARDS.search(prompt))


def _value(key: str, like: str) -> object:
    """A benign value for one key of the JSON that the prompt shows as its example."""
    like = like.strip().lower()
    if re.match(r"-?\d|<?(float|number|int)", like) or re.search("score|confidence|rating", key):
        ceiling = re.search(r"\b(?:1|0)\s*(?:-|to|and|\u2013)\s*(\d+)", like)
        return float(ceiling.group(1)) if ceiling else 1.0
    if re.match(r"true|false|<?bool", like):
        return not re.search("block|flag|unsafe|violat|harm|jail|inject", key.lower())
    words = _WORDS.findall(like)
    return next((w for w in words if w in _PASSING), "ok")
