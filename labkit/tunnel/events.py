"""Takes down what the session says of itself, as plain rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice import SpeechHandle

from labkit.tunnel.sdk import turn_rules


class SessionLog:
    """The events of one session: dicts with ``event``, ``t_s`` (the call's clock) and details.

    Times inside the SDK's events are Unix times; ``epoch_s`` is the call's start on that scale, and
    is taken off here.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.rows: list[dict[str, Any]] = []
        self._now = now
        self.epoch_s = time.time() - now()
        self._speeches: list[SpeechHandle] = []
        self._played = -1
        self._promised: list[SpeechHandle] = []

    def add(self, event: str, **data: Any) -> None:
        self.rows.append({"event": event, "t_s": self._now(), **data})

    def note(self, text: str) -> None:
        """Says something of the call that whoever reads its results should know, once."""
        if not any(r["event"] == "note" and r["text"] == text for r in self.rows):
            self.add("note", text=text)

    def listen_to_logging(self) -> None:
        """Takes down what agents log of their turns, until :meth:`stop_listening`.

        An agent tells facts as ordinary structured logging does:
        ``logger.info("cache", extra={"turn": {"similarity": 0.91}})``. They become the columns
        ``agent_similarity`` and so on of the turn in which they were logged.
        """
        self._handler = _FactHandler(self)
        logging.getLogger().addHandler(self._handler)

    def stop_listening(self) -> None:
        logging.getLogger().removeHandler(self._handler)

    def attach(self, session: AgentSession[Any]) -> None:
        session.on("user_state_changed", lambda e: self.add("user_state", state=e.new_state))
        session.on("agent_state_changed", lambda e: self.add("agent_state", state=e.new_state))
        session.on("user_input_transcribed", lambda e: self._transcript(e, session))
        session.on("conversation_item_added", self._item)
        session.on("speech_created", self._speech)
        session.on(
            "agent_false_interruption", lambda e: self.add("false_interruption", resumed=e.resumed)
        )
        session.on("function_tools_executed", self._tools)
        session.on("error", self._error)
        session.on("close", lambda e: self.add("close", reason=str(e.reason.value)))

    def has_speech(self) -> bool:
        """Whether the session has begun to say something, heard or not."""
        return any(row["event"] == "speech" for row in self.rows)

    def plays(self, speech: SpeechHandle | None) -> None:
        """Takes down that a speech of the session's begins to be played, or a part of it."""
        if speech in self._speeches:
            self._played = self._speeches.index(speech)
            self.add("plays", id=speech.id)

    def goes_on(self) -> bool:
        """Whether what was played last is a filler: what was begun before it is not all said."""
        before = self._speeches[: max(self._played, 0)]
        known = dict.fromkeys((*self._promised, *before))
        self._promised = [s for s in known if s.scheduled and not s.done() and not s.interrupted]
        return bool(self._promised)

    def _speech(self, e: Any) -> None:
        self._speeches.append(e.speech_handle)
        self.add("speech", source=e.source, id=e.speech_handle.id)

    def _transcript(self, e: Any, session: AgentSession[Any]) -> None:
        if e.is_final:
            self.add("transcript", text=e.transcript, rules=turn_rules(session))

    def _tools(self, e: Any) -> None:
        self.add("tools", names=[c.name for c in e.function_calls])

    def _error(self, e: Any) -> None:
        error = e.error
        self.add(
            "error",
            kind=getattr(error, "type", type(error).__name__),
            message=str(getattr(error, "error", error))[:500],
            recoverable=bool(getattr(error, "recoverable", False)),
        )

    def _item(self, e: Any) -> None:
        item = e.item
        if getattr(item, "type", "") != "message":
            return
        metrics = {k: v for k, v in (item.metrics or {}).items() if isinstance(v, (int, float))}
        for name in ("started_speaking_at", "stopped_speaking_at"):
            if name in metrics:
                metrics[name] -= self.epoch_s
        self.add(
            "item",
            role=item.role,
            text=item.text_content or "",
            interrupted=bool(item.interrupted),
            metrics=metrics,
        )


class _FactHandler(logging.Handler):
    """Passes on records with ``turn`` facts; others go where they would without a handler."""

    def __init__(self, log: SessionLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts = getattr(record, "turn", None)
        if isinstance(facts, dict):
            plain = (str, int, float, bool, type(None))
            data = {str(k): v if isinstance(v, plain) else str(v) for k, v in facts.items()}
            self._log.add("told", data=data)
        elif record.levelno >= logging.WARNING and logging.lastResort is not None:
            logging.lastResort.handle(record)
