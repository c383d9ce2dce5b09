"""Takes down what the session says of itself, as plain rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession


class SessionLog:
    """The events of one session: dicts with ``event``, ``t_s`` (the call's clock) and details.

    Times inside the SDK's events are Unix times; ``epoch_s`` is the call's start on that scale, and
    is taken off here.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.rows: list[dict[str, Any]] = []
        self._now = now
        self.epoch_s = time.time() - now()

    def add(self, event: str, **data: Any) -> None:
        self.rows.append({"event": event, "t_s": self._now(), **data})

    def attach(self, session: AgentSession) -> None:
        session.on("user_state_changed", lambda e: self.add("user_state", state=e.new_state))
        session.on("agent_state_changed", lambda e: self.add("agent_state", state=e.new_state))
        session.on("user_input_transcribed", self._transcript)
        session.on("conversation_item_added", self._item)
        session.on(
            "speech_created", lambda e: self.add("speech", source=e.source, id=e.speech_handle.id)
        )
        session.on(
            "agent_false_interruption", lambda e: self.add("false_interruption", resumed=e.resumed)
        )
        session.on("function_tools_executed", self._tools)
        session.on("error", self._error)
        session.on("close", lambda e: self.add("close", reason=str(e.reason.value)))

    def _transcript(self, e: Any) -> None:
        if e.is_final:
            self.add("transcript", text=e.transcript)

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
