"""OpenAI's chat request as a prompt: its length in tokens, and where it can be cached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labkit.providers import tokens
from labkit.providers.block_cache import Block
from labkit.providers.conversation import Message
from labkit.providers.openai.refusals import named, refused, wrong_type
from labkit.providers.openai.requests import ChatBody, ChatMessage, Function
from labkit.providers.schemas import unsound
from labkit.providers.tool_calls import Tool

KEEPS_S = {"24h": 86_400.0, "in_memory": None, "in-memory": None}
"""Values of ``prompt_cache_retention`` and how long they keep an entry."""
_MOST_PARTS = 3_000  # more would keep other requests waiting
_NEEDED = {"text": "text", "refusal": "refusal", "image_url": "image_url", "file": "file"}


@dataclass(frozen=True)
class Prompt:
    """A checked request.

    Attributes:
        messages: Its messages in the shared form.
        tools: Its functions in the shared form.
        ids: The whole prompt as token numbers, four bytes each.
        blocks: The prompt in pieces that a cache entry can end with.
        breakpoints: How many explicit cache breakpoints the caller set.
    """

    messages: list[Message]
    tools: list[Tool]
    ids: bytes
    blocks: list[Block]
    breakpoints: int

    @property
    def token_count(self) -> int:
        """Prompt tokens as the service bills them."""
        return len(self.ids) // 4 + tokens.REPLY_PRIMING

    @property
    def tool_tokens(self) -> int:
        """The part of them that describes the functions."""
        return self.blocks[0].tokens


def parse(body: ChatBody) -> Prompt:
    """Checks what a schema cannot express, and counts the prompt's tokens.

    Raises:
        RequestError: the service would answer 400.
    """
    functions = [tool["function"] for tool in body.get("tools") or ()]
    for i, function in enumerate(functions):
        _check_parameters(function, i)
    segments = [tokens.tools_segment([dict(f) for f in functions])]
    form = body.get("response_format")
    schema = form.get("json_schema") if form else None
    if schema:
        segments[0] = tokens.ids(repr(schema)) + segments[0]
    blocks = [Block(segments[0], len(segments[0]) // 4)]
    shared: list[Message] = []
    marks = 0
    contents = [message.get("content") for message in body["messages"]]
    n_parts = sum(len(content) for content in contents if isinstance(content, list))
    if n_parts > _MOST_PARTS:
        text = f"Invalid 'messages': at most {_MOST_PARTS} content parts are accepted here."
        raise refused(text, "messages", "array_above_max_length")
    _check_calls(body["messages"])
    for i, message in enumerate(body["messages"]):
        role = message["role"]
        texts, cuts = _content(message, i)
        shared.append(Message("system" if role == "developer" else role, " ".join(texts)))
        parts = [*texts, *_calls(message)]
        segment = tokens.message_segment(role, parts)
        segments.append(segment)
        marks += len(cuts)
        blocks += _message_blocks(role, texts, parts, segment, cuts)
    tools = [
        Tool(f["name"], f.get("description") or "", f.get("parameters") or {}) for f in functions
    ]
    return Prompt(shared, tools, b"".join(segments), blocks, marks)


def texts_of(body: ChatBody) -> Iterator[str]:
    """Every text that is part of the prompt."""
    for message in body["messages"]:
        content = message.get("content") or ""
        yield from [content] if isinstance(content, str) else (p.get("text", "") for p in content)
        yield from _calls(message)


def _check_parameters(function: Function, i: int) -> None:
    """Refuses a function whose parameters are no JSON schema of an object."""
    parameters = function.get("parameters")
    if parameters is None:
        return
    why = unsound(parameters)
    if why is None and parameters.get("type", "object") != "object":
        kind = parameters["type"]
        why = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    if why is not None:
        text = f"Invalid schema for function '{function['name']}': {why.rstrip('.')}."
        raise refused(text, f"tools[{i}].function.parameters", "invalid_function_parameters")


def _check_calls(messages: list[ChatMessage]) -> None:
    """Refuses results without a call, and calls without a result."""
    called: set[str] = set()
    for i, message in enumerate(messages):
        called |= {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool" and message.get("tool_call_id") not in called:
            text = (
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'."
            )
            raise refused(text, f"messages.[{i}].role")
    for i, message in enumerate(messages):
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
        for later in messages[i + 1 :] if waiting else ():
            if later["role"] != "tool":
                break
            waiting = [name for name in waiting if name != later.get("tool_call_id")]
        if waiting:
            text = (
                "An assistant message with 'tool_calls' must be followed by tool messages "
                "responding to each 'tool_call_id'. The following tool_call_ids did not have "
                f"response messages: {', '.join(waiting[:8])}"
            )
            raise refused(text, f"messages.[{i + 1}].role")


def _message_blocks(
    role: str, texts: list[str], parts: list[str], segment: bytes, cuts: list[int]
) -> Iterator[Block]:
    """A message as one block, or cut after each part that carries an explicit breakpoint."""
    done = b""
    for cut in cuts:
        upto = tokens.message_segment(role, texts[: cut + 1])[:-4]
        if cut + 1 == len(parts):
            upto = segment
        yield Block(upto[len(done) :], (len(upto) - len(done)) // 4, mark_ttl_s=0.0)
        done = upto
    rest = segment[len(done) :]
    if rest:
        yield Block(rest, len(rest) // 4, boundary=role != "assistant")


def _content(message: ChatMessage, i: int) -> tuple[list[str], list[int]]:
    """A message's texts, and after which of them an explicit cache breakpoint stands."""
    content = message.get("content")
    if isinstance(content, str):
        return [content], []
    if content is None:
        if message.get("tool_calls") or message["role"] == "assistant":
            return [], []
        raise wrong_type(f"messages[{i}].content", "one of a string or array of objects", None)
    texts: list[str] = []
    cuts: list[int] = []
    for j, part in enumerate(content):
        kind, where = part["type"], f"messages[{i}].content[{j}]"
        needed = _NEEDED.get(kind)
        if needed is not None and needed not in part:
            text = f"Missing required parameter: '{where}.{needed}'."
            raise refused(text, f"{where}.{needed}", "missing_required_parameter")
        if kind in ("text", "refusal"):
            texts.append(str(part.get(kind)))
        elif kind == "image_url":
            texts.append("")
        elif kind != "input_audio":
            text = f"Invalid value: '{kind}'. Supported values are: {named(('text', 'image_url'))}."
            raise refused(text, f"{where}.type", "invalid_value")
        if part.get("prompt_cache_breakpoint") and texts:
            cuts.append(len(texts) - 1)
    return texts, cuts


def _calls(message: ChatMessage) -> list[str]:
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    return [f"{f['name']} {f['arguments']}" for f in functions]
