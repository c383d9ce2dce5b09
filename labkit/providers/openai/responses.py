"""OpenAI's chat answer on the wire, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from labkit.providers.generation import Generation, Wire


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _call_head(index: int, name: str, call_id: str) -> dict[str, Any]:
    function = {"name": name, "arguments": ""}
    return {
        "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]
    }


def _likelihoods(pieces: Sequence[str], n_top: int | None) -> dict[str, Any] | None:
    """Log probabilities, which a script does not have: it is sure of what it says."""
    if n_top is None:
        return None

    def one(piece: str) -> dict[str, Any]:
        return {"token": piece, "logprob": 0.0, "bytes": list(piece.encode())}

    content = [{**one(p), "top_logprobs": [one(p)] if n_top else []} for p in pieces]
    return {"content": content, "refusal": None}


def streamed(
    generation: Generation,
    head: dict[str, Any],
    call_ids: Sequence[str],
    finish_reason: str,
    usage: dict[str, Any],
    with_usage: bool,
    n_top: int | None = None,
) -> Wire:
    """The answer as server-sent events, about one token each.

    Args:
        generation: What is answered.
        head: The fields that every chunk repeats.
        call_ids: Ids of the tool calls.
        finish_reason: Why the answer ends.
        usage: The token account.
        with_usage: Whether the client asked for it in a chunk of its own.
        n_top: How many likeliest tokens are wanted at each place; ``None`` for no likelihoods.
    """
    start = "data: " + _dump(head)[:-1] + ',"choices":['
    tail = ',"usage":null}\n\n' if with_usage else "}\n\n"

    def event(delta: str, finish: str = "null", logprobs: str = "null") -> bytes:
        rest = f'"delta":{delta},"logprobs":{logprobs},"finish_reason":{finish}}}]{tail}'
        each = [f'{start}{{"index":{i},{rest}' for i in range(generation.choices)]
        return "".join(each).encode()

    role: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    calls = generation.answer.tool_calls
    pieces: list[bytes] = []
    if calls:
        role |= {"content": None} | _call_head(0, calls[0].name, call_ids[0])
        for index, arguments in enumerate(generation.pieces):
            opening = b""
            if index:  # the first call comes with the role
                opening = event(_dump(_call_head(index, calls[index].name, call_ids[index])))
            for piece in arguments:
                call = f'{{"index":{index},"function":{{"arguments":{json.dumps(piece)}}}}}'
                shown = event(f'{{"tool_calls":[{call}]}}') if piece else b""
                pieces.append(opening + shown)
                opening = b""
    else:
        pieces = [
            event(
                f'{{"content":{json.dumps(piece)}}}', logprobs=_dump(_likelihoods([piece], n_top))
            )
            for piece in generation.pieces[0]
        ]
    end = event("{}", json.dumps(finish_reason))
    if with_usage:
        end += (start + f'],"usage":{_dump(usage)}}}\n\n').encode()
    return Wire(event(_dump(role)), pieces, end + b"data: [DONE]\n\n")


def whole(
    generation: Generation,
    head: dict[str, Any],
    call_ids: Sequence[str],
    finish_reason: str,
    usage: dict[str, Any],
    n_top: int | None = None,
) -> dict[str, Any]:
    """The answer in one piece, as JSON; the arguments are those of :func:`streamed`."""
    calls = (
        [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(pieces)},
            }
            for call, call_id, pieces in zip(
                generation.answer.tool_calls, call_ids, generation.pieces, strict=True
            )
        ]
        if generation.answer.tool_calls
        else []
    )
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if calls else "".join(generation.pieces[0]),
        "refusal": None,
        "annotations": [],
    }
    if calls:
        message["tool_calls"] = calls
    logprobs = None if calls else _likelihoods(generation.pieces[0], n_top)
    choice = {"message": message, "logprobs": logprobs, "finish_reason": finish_reason}
    choices = [{"index": i, **choice} for i in range(generation.choices)]
    return {**head, "choices": choices, "usage": usage}


def usage_of(generation: Generation) -> dict[str, Any]:
    """The token account."""
    thought = generation.thought_tokens * generation.choices
    output = generation.output_tokens() + thought
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": generation.prompt_tokens + output,
        "prompt_tokens_details": {
            "cached_tokens": generation.cache.read,
            "cache_write_tokens": generation.cache.written,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": thought,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
