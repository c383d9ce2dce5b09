"""OpenAI's Responses API: what is asked, as a chat request, and the answer as events.

An answer leaves as server-sent events after a POST, or as the same events, one message each, on a
WebSocket on which further requests may follow. What is answered is kept, so that the next request
may go on from it by ``previous_response_id``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from labkit.providers.bodies import Count, FailFast, Share, strictly
from labkit.providers.generation import Generation
from labkit.providers.openai.refusals import refused
from labkit.providers.openai.requests import Metadata, Mode, Text
from labkit.providers.server import RequestError, shown


@strictly
class _Tool(TypedDict):
    type: Literal["function"]
    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


@strictly
class _Reasoning(TypedDict):
    effort: NotRequired[str | None]
    summary: NotRequired[str | None]
    generate_summary: NotRequired[str | None]


@strictly
class _TextOptions(TypedDict):
    format: NotRequired[dict[str, Any]]
    verbosity: NotRequired[Literal["low", "medium", "high"] | None]


@strictly
class _Choice(TypedDict):
    type: Literal["function"]
    name: str


@strictly
class ResponsesBody(TypedDict):
    """A request for a response (OpenAI API reference, Responses, 2026)."""

    model: str
    input: NotRequired[Text | Annotated[list[dict[str, Any]], FailFast]]
    type: NotRequired[Literal["response.create"]]
    instructions: NotRequired[Text | None]
    tools: NotRequired[Annotated[list[_Tool], FailFast, Field(max_length=128)] | None]
    tool_choice: NotRequired[Mode | _Choice | None]
    parallel_tool_calls: NotRequired[bool | None]
    previous_response_id: NotRequired[str | None]
    max_output_tokens: NotRequired[Count | None]
    reasoning: NotRequired[_Reasoning | None]
    text: NotRequired[_TextOptions | None]
    temperature: NotRequired[Annotated[float, Field(ge=0, le=2)] | None]
    top_p: NotRequired[Share | None]
    service_tier: NotRequired[str | None]
    store: NotRequired[bool | None]
    metadata: NotRequired[Metadata | None]
    user: NotRequired[str | None]
    safety_identifier: NotRequired[str | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[str | None]
    prompt_cache_options: NotRequired[dict[str, Any] | None]
    include: NotRequired[list[str] | None]
    truncation: NotRequired[Literal["auto", "disabled"] | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[dict[str, Any] | None]


RESPONSES: TypeAdapter[ResponsesBody] = TypeAdapter(ResponsesBody)

_ALIKE = (
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "service_tier",
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
)


def no_response(name: str) -> RequestError:
    """An earlier response that is not kept."""
    text = f"Previous response with id '{shown(name)}' not found."
    return refused(text, "previous_response_id", "previous_response_not_found")


def as_chat(body: ResponsesBody, before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The request as one for chat.

    Args:
        body: The request.
        before: Messages of the response it goes on from.

    Raises:
        RequestError: the input holds something else than messages, calls and their results.
    """
    chat: dict[str, Any] = {"model": body["model"]}
    given: dict[str, Any] = {**body}
    chat |= {name: given[name] for name in _ALIKE if given.get(name) is not None}
    head = body.get("instructions")
    asked = body.get("input", [])
    items = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    messages = [{"role": "system", "content": head}] if head else []
    # clients that go on from a response send its calls once more with their results
    known = {call["id"] for m in before for call in m.get("tool_calls") or ()}
    new = [i for i in items if i.get("type") != "function_call" or i.get("call_id") not in known]
    chat["messages"] = [*messages, *before, *_messages(new)]
    if body.get("max_output_tokens"):
        chat["max_completion_tokens"] = body["max_output_tokens"]
    effort = (body.get("reasoning") or {}).get("effort")
    if effort is not None:
        chat["reasoning_effort"] = effort
    tools = body.get("tools")
    if tools:
        functions = [{k: v for k, v in tool.items() if k != "type"} for tool in tools]
        chat["tools"] = [{"type": "function", "function": f} for f in functions]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif choice and (tools or choice == "none"):
        chat["tool_choice"] = choice
    options = body.get("text") or {}
    form = options.get("format")
    if form:
        schema = {k: v for k, v in form.items() if k != "type"}
        chat["response_format"] = {"type": form["type"]}
        chat["response_format"] |= {"json_schema": schema} if schema else {}
    if options.get("verbosity"):
        chat["verbosity"] = options["verbosity"]
    return chat


def _messages(items: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Input items as chat messages; calls that follow each other become one message."""
    calls: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "function_call":
            function = {"name": item.get("name", ""), "arguments": item.get("arguments", "")}
            calls.append({"id": item.get("call_id", ""), "type": "function", "function": function})
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if kind == "function_call_output":
            output = item.get("output", "")
            text = output if isinstance(output, str) else json.dumps(output)
            yield {"role": "tool", "tool_call_id": item.get("call_id", ""), "content": text}
        elif kind == "message":
            yield {"role": item.get("role", "user"), "content": _content(item.get("content"))}
        elif kind != "reasoning":
            text = f"Invalid value: '{shown(kind)}'. Only messages, function calls and their "
            raise refused(text + "outputs are emulated.", f"input[{i}].type", "invalid_value")
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _content(content: Any) -> Any:
    """A message's content, its parts as chat has them."""
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        if part.get("type") in ("input_text", "output_text"):
            kept = {k: part[k] for k in ("text", "prompt_cache_breakpoint") if k in part}
            parts.append({"type": "text", **kept})
        elif part.get("type") == "input_image":
            parts.append({"type": "image_url", "image_url": {"url": part.get("image_url")}})
        else:
            parts.append(part)
    return parts


def said_after(messages: Sequence[dict[str, Any]], output: Sequence[dict[str, Any]]) -> list[Any]:
    """The conversation with the answer's items at its end."""
    return [*messages, *_messages(output)]


@dataclass(frozen=True)
class Events:
    """An answer as events: those before the first piece, those of each piece, those after all."""

    begin: list[dict[str, Any]]
    pieces: list[list[dict[str, Any]]]
    end: list[dict[str, Any]]


def output_of(generation: Generation, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The answer's items, complete.

    Args:
        generation: What is answered.
        ids: For a text the item's id; for calls the item's id and the call's id, in turn.
    """
    calls = generation.answer.tool_calls
    if not calls:
        text = "".join(generation.pieces[0])
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        message = {"id": ids[0], "type": "message", "role": "assistant", "content": [part]}
        return [message | {"status": "incomplete" if generation.cut else "completed"}]
    return [
        {
            "id": ids[2 * i],
            "type": "function_call",
            "call_id": ids[2 * i + 1],
            "name": call.name,
            "arguments": "".join(generation.pieces[i]),
            "status": "completed",
        }
        for i, call in enumerate(calls)
    ]


def events(
    generation: Generation, output: Sequence[dict[str, Any]], response: dict[str, Any]
) -> Events:
    """The answer as the service streams it.

    Args:
        generation: What is answered.
        output: Its items, complete.
        response: The response object when it is complete.
    """
    numbers = iter(range(1 << 30))

    def event(kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "sequence_number": next(numbers), **fields}

    started = response | {"status": "in_progress", "output": [], "usage": None}
    started["incomplete_details"] = None
    begin = [event(f"response.{name}", response=started) for name in ("created", "in_progress")]
    pieces: list[list[dict[str, Any]]] = []
    for index, (item, row) in enumerate(zip(output, generation.pieces, strict=False)):
        at = {"item_id": item["id"], "output_index": index}
        text = item["type"] == "message"
        opening: dict[str, Any] = {
            "status": "in_progress",
            **({"content": []} if text else {"arguments": ""}),
        }
        ahead = [event("response.output_item.added", output_index=index, item=item | opening)]
        if text:
            at["content_index"] = 0
            empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            ahead.append(event("response.content_part.added", part=empty, **at))
        kind = "output_text" if text else "function_call_arguments"
        more: dict[str, Any] = {"logprobs": []} if text else {}
        for piece in row:
            shown_piece = [event(f"response.{kind}.delta", delta=piece, **at, **more)]
            pieces.append(ahead + (shown_piece if piece else []))
            ahead = []
        whole = {"text" if text else "arguments": "".join(row)}
        after = [event(f"response.{kind}.done", **whole, **at, **more)]
        if text:
            after.append(event("response.content_part.done", part=item["content"][0], **at))
        after.append(event("response.output_item.done", output_index=index, item=item))
        if pieces:
            pieces[-1] += after
    end = [event(f"response.{response['status']}", response=response)]
    return Events(begin, pieces, end)


def as_sse(event: dict[str, Any]) -> bytes:
    """An event as a server sends it."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def usage_of(chat: dict[str, Any]) -> dict[str, Any]:
    """The token account, from that of chat."""
    prompt, output = chat["prompt_tokens_details"], chat["completion_tokens_details"]
    cached = {k: prompt[k] for k in ("cached_tokens", "cache_write_tokens")}
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": cached,
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": output["reasoning_tokens"]},
        "total_tokens": chat["total_tokens"],
    }
