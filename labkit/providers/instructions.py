"""Requests without a user's question: an agent instructs its model to say something."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkit.providers.conversation import Message

_PLACEHOLDERS = ("(empty)", ".", "")
_IMPERATIVE = re.compile(
    r"(please |briefly |now )?(say|greet|tell|ask|respond|reply|offer|apologi[sz]e|let the|inform|"
    r"thank|introduce|welcome|acknowledge|explain|generate|give the user)\b",
    re.IGNORECASE,
)
_RUNNING = "still in progress"
_INLINE = re.compile(r"\s*<instructions>(.*)</instructions>\s*", re.DOTALL)


def is_instruction(message: Message) -> bool:
    if message.role == "system":
        return True
    if message.role != "user":
        return False
    return message.text.strip() in _PLACEHOLDERS[:2] or bool(_INLINE.fullmatch(message.text))


def order(messages: Sequence[Message], talk: Sequence[Message]) -> str | None:
    """The instruction this request is about; ``None`` if it is about what a user said.

    A trailing system message after an unanswered user message is mostly added context; it is an
    order only if it starts like one.
    """
    messages = _without_running(messages)
    tail = messages[-1] if len(messages) > 1 and is_instruction(messages[-1]) else None
    text = _instruction(tail) if tail else ""
    nobody_asks = not any(m.role == "user" for m in talk) or talk[-1].role == "assistant"
    return text if nobody_asks or (text and _IMPERATIVE.match(text)) else None


def _without_running(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages without calls of tools that still run, which the SDK puts last."""
    n = len(messages)
    while n and messages[n - 1].role == "tool" and _RUNNING in messages[n - 1].text:
        n -= 1
    if n < len(messages) and n and messages[n - 1].role == "assistant":
        n -= 1
    return messages[:n]


def _instruction(message: Message) -> str:
    inline = _INLINE.fullmatch(message.text)
    if inline:
        return inline.group(1).strip()
    return message.text.strip() if message.role == "system" else ""


def follow(instruction: str, system: str) -> str:
    """A short line that does what an instruction asks: what it quotes, else a greeting."""
    quoted = re.search(r"[\"\u201c]([^\"\u201d]{2,200})[\"\u201d]", instruction)
    if quoted:
        return quoted.group(1)
    who = re.search(r"\b(?:assistant|agent|receptionist) (?:of|for|at) ([A-Z][\w&' ]+)", system)
    hello = f"Hello, this is {who.group(1)[:100].strip()}." if who else "Hello!"
    asked = instruction.lower()
    if re.search(r"\b(good ?bye|farewell|end the call|hang up)\b", asked):
        return "Thank you for calling. Goodbye!"
    if re.search(r"\b(wait|hold|moment|looking|checking|filler)\b", asked):
        return "One moment, please."
    if re.search(r"\b(still there|silent|silence|away|inactive)\b", asked):
        return "Are you still there?"
    return f"{hello} How can I help you today?"
