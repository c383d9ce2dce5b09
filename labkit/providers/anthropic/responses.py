"""Anthropic's answer on the wire, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from labkit.providers.generation import Generation, Wire


def content(generation: Generation, call_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The answer's content blocks, whole."""
    if not generation.answer.tool_calls:
        return [{"type": "text", "text": "".join(generation.pieces[0])}]
    return [
        {
            "type": "tool_use",
            "id": call_id,
            "name": call.name,
            "input": {} if generation.cut else dict(call.arguments),
        }
        for call, call_id in zip(generation.answer.tool_calls, call_ids, strict=True)
    ]


def streamed(
    generation: Generation,
    message: dict[str, Any],
    call_ids: Sequence[str],
    stop_reason: str,
    output_tokens: int,
) -> Wire:
    """The answer as server-sent events, about one token each.

    Args:
        generation: What is answered.
        message: The message as it starts, without content.
        call_ids: Ids of the tool calls.
        stop_reason: Why the answer ends.
        output_tokens: What the provider bills in the end.
    """
    calls = generation.answer.tool_calls
    starts: list[dict[str, Any]] = [
        {"type": "tool_use", "id": call_id, "name": call.name, "input": {}}
        for call, call_id in zip(calls, call_ids, strict=True)
    ] or [{"type": "text", "text": ""}]
    kind, field = ("input_json_delta", "partial_json") if calls else ("text_delta", "text")
    begin = _event("message_start", message=message)
    pieces: list[bytes] = []
    opening = b""
    for index, (start, texts) in enumerate(zip(starts, generation.pieces, strict=True)):
        opening += _event("content_block_start", index=index, content_block=start)
        if index == 0:
            begin, opening = begin + opening + _event("ping"), b""
        for text in texts:
            delta = {"type": kind, field: text}
            shown = _event("content_block_delta", index=index, delta=delta) if text else b""
            pieces.append(opening + shown)
            opening = b""
        opening += _event("content_block_stop", index=index)
    end = opening + _event(
        "message_delta",
        delta={"stop_reason": stop_reason, "stop_sequence": None},
        usage={"output_tokens": output_tokens},
    )
    return Wire(begin, pieces, end + _event("message_stop"))


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
