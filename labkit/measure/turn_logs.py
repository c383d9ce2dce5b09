"""The logs of one caller turn, and how texts are compared across logs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

from labkit.tunnel.record import CallRecord, ReplySegment
from labkit.world.events import Event

NAN = float("nan")

E = TypeVar("E", bound=Event)


def until_s(record: CallRecord, index: int) -> float:
    """A turn owns the time from its first sound to the first sound of the next one, seconds."""
    later = record.turns[index + 1 :]
    return later[0].started_s if later else math.inf


def letters(text: str) -> str:
    """The bare letters and digits of a text."""
    return "".join(c for c in text.lower() if c.isalnum())


class TurnLogs:
    """The logs of one turn.

    Attributes:
        record: The whole call.
        turn: What the caller said.
        from_s: When the turn began, seconds from the start of the call.
        until_s: When the next one began.
        events: What the providers did meanwhile.
        session: What the session said of itself meanwhile.
        reply: The first agent speech that began to sound after the caller began this turn.
    """

    def __init__(self, record: CallRecord, index: int) -> None:
        self.record, self.turn = record, record.turns[index]
        self.from_s, self.until_s = self.turn.started_s, until_s(record, index)
        self.events = [e for e in record.providers if self.from_s <= e.t_s < self.until_s]
        self.session = [r for r in record.session if self.from_s <= r["t_s"] < self.until_s]
        self.reply = self._reply()

    def _reply(self) -> ReplySegment | None:
        for segment in self.record.segments:
            if segment.left_s >= self.from_s and segment.first_voiced_s > self.from_s:
                return segment if segment.first_voiced_s < self.until_s else None
        return None

    def of(self, *kinds: type[E]) -> list[E]:
        """The providers' events of some kinds, in order."""
        return [e for e in self.events if isinstance(e, kinds)]

    def session_of(self, event: str) -> Iterator[dict[str, Any]]:
        """The session's rows of one kind, in order."""
        return (r for r in self.session if r["event"] == event)

    def messages(self, role: str) -> list[dict[str, Any]]:
        """The messages that the session added for ``user`` or ``assistant``."""
        return [r for r in self.session_of("item") if r["role"] == role]

    def agent_messages(self) -> list[str]:
        """The agent's messages from this turn on, in bare letters.

        The message of an interrupted reply is added after the next turn has begun.
        """
        items = (r for r in self.record.session if r["event"] == "item")
        said = (r for r in items if r["role"] == "assistant" and r["t_s"] >= self.from_s)
        return [words for words in (letters(r["text"]) for r in said) if words]


def holds(message: str, text: str) -> bool:
    """Whether a message, perhaps cut off, holds what the LLM wrote; both in bare letters."""
    return text[:24] in message or text.startswith(message[:24])
