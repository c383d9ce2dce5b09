"""Anthropic's answer on the wire, streamed and whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from labkit.providers.generation import Generation, Wire

_SIGNATURE = base64.b64encode(b"an emulated model's reasoning, which nobody has to verify").decode()
"""What a thinking block carries so that it can be sent back; here it proves nothing."""


def content(generation: Generation, call_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The answer's content blocks, whole."""
    thought: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "".join(pieces), "signature": _SIGNATURE}
        for pieces in generation.pieces[: generation.thought]
    ]
    if not generation.answer.tool_calls:
        return [*thought, {"type": "text", "text": "".join(generation.said[0])}]
    return thought + [
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
    starts = [{"type": "thinking", "thinking": "", "signature": ""}] * generation.thought + starts
    begin = _event("message_start", message=message)
    pieces: list[bytes] = []
    opening = b""
    for index, (start, texts) in enumerate(zip(starts, generation.pieces, strict=True)):
        kind, field = _DELTAS[start["type"]]
        opening += _event("content_block_start", index=index, content_block=start)
        if index == 0:
            begin, opening = begin + opening + _event("ping"), b""
        for text in texts:
            delta = {"type": kind, field: text}
            shown = _event("content_block_delta", index=index, delta=delta) if text else b""
            pieces.append(opening + shown)
            opening = b""
        if start["type"] == "thinking":
            delta = {"type": "signature_delta", "signature": _SIGNATURE}
            opening += _event("content_block_delta", index=index, delta=delta)
        opening += _event("content_block_stop", index=index)
    end = opening + _event(
        "message_delta",
        delta={"stop_reason": stop_reason, "stop_sequence": generation.stopped},
        usage={"output_tokens": output_tokens},
    )
    return Wire(begin, pieces, end + _event("message_stop"))


_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def usage_of(generation: Generation, output_tokens: int) -> dict[str, Any]:
    """The token account."""
    cache = generation.cache
    return {
        "input_tokens": generation.prompt_tokens - cache.read - cache.written,
        "cache_creation_input_tokens": cache.written,
        "cache_read_input_tokens": cache.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache.written - cache.written_1h,
            "ephemeral_1h_input_tokens": cache.written_1h,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }
