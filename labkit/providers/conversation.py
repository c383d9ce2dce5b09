"""A request to a language model and its answer, in a form all providers share."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.providers.tool_calls import ToolCall


@dataclass(frozen=True)
class Message:
    """One message of a request, in a form all providers share.

    Attributes:
        role: ``system`` (also for developer), ``user``, ``assistant`` or ``tool``.
        text: Its words; for a tool, what it returned.
        failed: A tool result that reports an error.
    """

    role: str
    text: str
    failed: bool = False


@dataclass(frozen=True)
class Answer:
    """What the model says.

    Attributes:
        text: Spoken words; empty if tools are called.
        tool_calls: Functions called.
        kind: Why: ``reply``, ``near_miss``, ``tool_call``, ``after_tool``, ``without``,
            ``partial``, ``fallback``, ``instructed``, ``ruling`` or ``empty``.
        dialogue: Name of the recognised dialogue, if any.
        turn: Id of the recognised turn, if any.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    kind: str = "reply"
    dialogue: str | None = None
    turn: str | None = None
