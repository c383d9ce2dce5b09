"""OpenAI's chat request: what it may hold, what it weighs, and where its prompt can be cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from labkit.providers import tokens
from labkit.providers.block_cache import Block
from labkit.providers.conversation import Message
from labkit.providers.server import RequestError
from labkit.providers.tool_calls import Tool

_PARAMETERS_TEXT = (
    "model messages stream stream_options tools tool_choice temperature top_p "
    "parallel_tool_calls max_completion_tokens max_tokens service_tier reasoning_effort "
    "verbosity prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier "
    "user metadata response_format n stop seed store logprobs top_logprobs logit_bias "
    "presence_penalty frequency_penalty modalities audio prediction functions function_call "
    "web_search_options moderation"
)
PARAMETERS = frozenset(_PARAMETERS_TEXT.split())
"""The request's top-level fields (OpenAI API reference, chat completions, 2026)."""

_TIERS = ("auto", "default", "flex", "priority", "fast", "scale")
KEEPS_S = {"24h": 86_400.0, "in_memory": None, "in-memory": None}
"""Values of ``prompt_cache_retention`` and how long they keep an entry."""
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_BREAKPOINT = "prompt_cache_breakpoint"


def refused(message: str, param: str | None = None, code: str | None = None) -> RequestError:
    """A request the service refuses with status 400."""
    return RequestError(400, message, code, param=param)


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


def parse(body: dict[str, Any]) -> Prompt:
    """Checks a request and weighs its prompt.

    Raises:
        RequestError: the service would answer 400.
    """
    for name in body:
        if name not in PARAMETERS:
            raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    messages = body.get("messages")
    if messages is None:
        text = "Missing required parameter: 'messages'."
        raise refused(text, "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects", messages)
    if not messages:
        text = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise refused(text, "messages", "empty_array")
    functions = list(_functions(body.get("tools") or []))
    segments = [tokens.tools_segment(functions)]
    schema = (body.get("response_format") or {}).get("json_schema")
    if schema:
        segments[0] = tokens.ids(repr(schema)) + segments[0]
    blocks = [Block(segments[0], len(segments[0]) // 4)]
    shared: list[Message] = []
    marks = 0
    called: set[str] = set()
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong_type(f"messages[{i}]", "an object", message)
        role = message.get("role")
        if role not in _ROLES:
            text = f"Invalid value: '{role}'. Supported values are: {', '.join(_ROLES)}."
            raise refused(text, f"messages[{i}].role", "invalid_value")
        texts, cuts = _content(message, i)
        called |= {str(c.get("id")) for c in message.get("tool_calls") or ()}
        if role == "tool" and message.get("tool_call_id") not in called:
            text = (
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'."
            )
            raise refused(text, f"messages.[{i}].role")
        shared.append(Message("system" if role == "developer" else role, " ".join(texts)))
        parts = [*texts, *_calls(message)]
        segment = tokens.message_segment(role, parts)
        segments.append(segment)
        marks += len(cuts)
        blocks += _message_blocks(role, texts, parts, segment, cuts)
    tools = [Tool(f["name"], f.get("description", ""), f.get("parameters", {})) for f in functions]
    return Prompt(shared, tools, b"".join(segments), blocks, marks)


def check(body: dict[str, Any], prompt: Prompt, model: str, figure: Callable[..., Any]) -> None:
    """Checks what depends on the model.

    Args:
        body: The request.
        prompt: What :func:`parse` made of it.
        model: Its name in the profile.
        figure: Gives a figure of the model by name, or the default given after it.

    Raises:
        RequestError: the service would answer 400.
    """
    newer = figure("cache") == "breakpoint"
    if prompt.breakpoints and not newer:
        name = "messages[0].content[0].prompt_cache_breakpoint"
        raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if body.get("prompt_cache_options") and not newer:
        name = "prompt_cache_options"
        raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    reasons = bool(figure("reasoning", False))
    if reasons and body.get("max_tokens"):
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead."
        )
        raise refused(text, "max_tokens", "unsupported_parameter")
    effort = body.get("reasoning_effort")
    if effort is not None and not reasons:
        text = "Unrecognized request argument supplied: reasoning_effort"
        raise refused(text)
    if effort and prompt.tools and figure("refuses_effort_with_tools", False):
        text = (
            f"Function tools with reasoning_effort are not supported for {model} in "
            "/v1/chat/completions. Please use /v1/responses instead."
        )
        raise refused(text, "reasoning_effort")
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            text = f"Invalid '{name}': integer below minimum value. Expected a value >= 1."
            raise refused(text, name, "integer_below_min_value")
    for name, allowed in (("service_tier", _TIERS), ("prompt_cache_retention", tuple(KEEPS_S))):
        if body.get(name) is not None and body[name] not in allowed:
            text = f"Invalid value: '{body[name]}'. Supported values are: {', '.join(allowed)}."
            raise refused(text, name, "invalid_value")


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


def _wrong_type(param: str, wanted: str, got: Any) -> RequestError:
    names = {str: "a string", int: "an integer", list: "an array", dict: "an object"}
    given = names.get(type(got), "null" if got is None else type(got).__name__)
    text = f"Invalid type for '{param}': expected {wanted}, but got {given} instead."
    return refused(text, param, "invalid_type")


def _functions(tools: list[Any]) -> Iterator[dict[str, Any]]:
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            text = f"Missing required parameter: 'tools[{i}].function.name'."
            raise refused(text, f"tools[{i}].function.name", "missing_required_parameter")
        yield function


def _content(message: dict[str, Any], i: int) -> tuple[list[str], list[int]]:
    """A message's texts, and after which of them an explicit cache breakpoint stands."""
    content = message.get("content")
    if isinstance(content, str):
        return [content], []
    if content is None:
        if message.get("tool_calls") or message["role"] == "assistant":
            return [], []
        raise _wrong_type(f"messages[{i}].content", "a string or an array of objects", None)
    if not isinstance(content, list):
        raise _wrong_type(f"messages[{i}].content", "a string or an array of objects", content)
    texts, cuts = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url":
            texts.append("")
        elif kind != "input_audio":
            text = f"Invalid value: '{kind}'. Supported values are: 'text', 'image_url'."
            raise refused(text, f"messages[{i}].content[0].type", "invalid_value")
        if isinstance(part, dict) and part.get(_BREAKPOINT):
            cuts.append(len(texts) - 1)
    return texts, cuts


def _calls(message: dict[str, Any]) -> list[str]:
    functions = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    return [f"{f.get('name', '')} {f.get('arguments', '')}" for f in functions]
