"""Anthropic's messages request as a prompt: its length in tokens, and where it can be cached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.providers import tokens
from labkit.providers.anthropic.requests import CountBody, MessagesBody, Turn, refused
from labkit.providers.block_cache import Block, BlockCache
from labkit.providers.conversation import Message
from labkit.providers.schemas import unsound
from labkit.providers.server import shown
from labkit.providers.tool_calls import Tool

_TTLS = {"5m": 300.0, "1h": 3600.0}
_MESSAGE_TOKENS = 4
_IMAGE_TOKENS = 1600
_MOST_BLOCKS = 3_000  # more would keep other requests waiting
_GUIDE = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/"


@dataclass(frozen=True)
class Prompt:
    """A checked request.

    Attributes:
        messages: System prompt and messages in the shared form.
        tools: Its tools in the shared form.
        blocks: The prompt in the order tools, system, messages.
    """

    messages: list[Message]
    tools: list[Tool]
    blocks: list[Block]

    @property
    def token_count(self) -> int:
        """Tokens of the whole prompt."""
        return sum(block.tokens for block in self.blocks)


def parse(body: CountBody, weigh: Callable[[str], int], tool_prompt: int) -> Prompt:
    """Checks what a schema cannot express, and counts the prompt's tokens.

    Args:
        body: The request.
        weigh: Gives the provider's token count of a text.
        tool_prompt: Tokens of the instructions the service adds when tools are given.

    Raises:
        RequestError: the service would answer 400.
    """
    messages, tools, system = body["messages"], body.get("tools") or [], body.get("system")
    if not messages:
        raise refused("messages: at least one message is required")
    n_blocks = sum(1 if isinstance(m["content"], str) else len(m["content"]) for m in messages)
    if n_blocks > _MOST_BLOCKS:
        raise refused(f"messages: at most {_MOST_BLOCKS} content blocks are accepted here")
    _check_calls(messages)
    blocks = [*_tool_blocks(tools, weigh, tool_prompt), *_system_blocks(system, weigh)]
    shared = [Message("system", text) for text in _system_texts(system)]
    # Tool choice and thinking settings stand between system and messages: changing one of them
    # voids what was cached of the messages, and nothing else.
    settings = json.dumps([body.get("tool_choice"), body.get("thinking")], sort_keys=True)
    for message in messages:
        for message_block, part in _message_blocks(message, weigh):
            shared += part
            if settings:
                message_block = Block(
                    settings.encode() + message_block.content,
                    message_block.tokens,
                    message_block.mark_ttl_s,
                )
                settings = ""
            blocks.append(message_block)
    mark = body.get("cache_control")
    if mark and blocks:
        last = blocks[-1]
        blocks[-1] = Block(last.content, last.tokens, _ttl(body))
    _check_marks(blocks)
    offered = [Tool(t["name"], t.get("description", ""), t["input_schema"]) for t in tools]
    return Prompt(shared, offered, blocks)


def texts_of(body: CountBody) -> Iterator[str]:
    """Every text that is part of the prompt."""
    yield from _system_texts(body.get("system"))
    for message in body["messages"]:
        content = message["content"]
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, str):
                yield part
            elif part["type"] == "text":
                yield part["text"]
            elif part["type"] == "tool_result":
                inner = part.get("content", "")
                yield inner if isinstance(inner, str) else _joined(inner)


def check(body: MessagesBody, model: str, longest: int) -> None:
    """Checks how the answer is to be made.

    Args:
        body: The request.
        model: The model's name, as asked for.
        longest: The model's longest answer, tokens.

    Raises:
        RequestError: the service would answer 400.
    """
    limit, thinking = body["max_tokens"], body.get("thinking")
    if limit > longest:
        raise refused(
            f"max_tokens: {limit} > {longest}, which is the maximum allowed number of output "
            f"tokens for {shown(model)}"
        )
    for stop in body.get("stop_sequences") or ():
        if not stop.strip():
            raise refused("stop_sequences: each stop sequence must contain non-whitespace")
    if thinking is not None and thinking["type"] == "enabled":
        if thinking["budget_tokens"] >= limit:
            raise refused(
                "`max_tokens` must be greater than `thinking.budget_tokens`. "
                f"{_GUIDE}extended-thinking#max-tokens-and-context-window-size"
            )
        if body.get("temperature", 1) != 1:
            raise refused(
                "`temperature` may only be set to 1 when thinking is enabled. "
                f"{_GUIDE}extended-thinking#important-considerations-when-using-extended-thinking"
            )
        choice = body.get("tool_choice")
        if choice is not None and choice["type"] in ("any", "tool"):
            raise refused("Thinking may not be enabled when tool_choice forces tool use.")
    choice = body.get("tool_choice")
    if choice is not None and choice["type"] != "none" and not body.get("tools"):
        raise refused("tool_choice may only be specified while providing tools")
    if choice is not None and choice["type"] == "tool":
        if not any(tool["name"] == choice["name"] for tool in body.get("tools") or ()):
            raise refused(f"Tool '{shown(choice['name'])}' not found in provided tools")


def check_length(prompt_tokens: int, most: int) -> None:
    """Refuses a prompt that is too long for the model.

    Raises:
        RequestError: it is.
    """
    if prompt_tokens > most:
        raise refused(f"prompt is too long: {prompt_tokens} tokens > {most} maximum")


def _check_calls(messages: list[Turn]) -> None:
    """Refuses results without a call, and calls without a result.

    Messages of one role that follow each other count as one, as they do for the service.
    """
    turns: list[tuple[str, list[tuple[int, int, Mapping[str, Any]]]]] = []
    for i, message in enumerate(messages):
        content = message["content"]
        parts = [] if isinstance(content, str) else content
        if not turns or turns[-1][0] != message["role"]:
            turns.append((message["role"], []))
        turns[-1][1].extend((i, j, part) for j, part in enumerate(parts))
    open_calls: dict[str, int] = {}
    for _, blocks in turns:
        found = [b for b in blocks if b[2]["type"] == "tool_result"]
        for i, j, part in found:
            if part["tool_use_id"] not in open_calls:
                raise refused(
                    f"messages.{i}.content.{j}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {shown(part['tool_use_id'])}. Each `tool_result` block must have a "
                    "corresponding `tool_use` block in the previous message."
                )
        answered = {part["tool_use_id"] for _, _, part in found}
        _check_answered({name: i for name, i in open_calls.items() if name not in answered})
        open_calls = {}
        for i, j, part in blocks:
            if part["type"] == "tool_use":
                if part["id"] in open_calls:
                    raise refused(f"messages.{i}.content.{j}: `tool_use` ids must be unique")
                open_calls[part["id"]] = i
    _check_answered(open_calls)


def _check_answered(left: Mapping[str, int]) -> None:
    if left:
        raise refused(
            f"messages.{next(iter(left.values()))}: `tool_use` ids were found without "
            f"`tool_result` blocks immediately after: {shown(', '.join(left))}. Each `tool_use` "
            "block must have a corresponding `tool_result` block in the next message."
        )


def _check_marks(blocks: list[Block]) -> None:
    marks = [block.mark_ttl_s for block in blocks if block.mark_ttl_s is not None]
    if len(marks) > BlockCache.max_marks:
        raise refused(
            f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}."
        )
    if marks != sorted(marks, reverse=True):
        raise refused(
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
            "Note that blocks are processed in the following order: tools, system, messages."
        )


def _ttl(block: Mapping[str, Any]) -> float | None:
    control = block.get("cache_control")
    return _TTLS[control.get("ttl", "5m")] if control else None


def _tool_blocks(
    tools: list[Any], weigh: Callable[[str], int], tool_prompt: int
) -> Iterator[Block]:
    for i, tool in enumerate(tools):
        schema = tool["input_schema"]
        if "type" not in schema:
            raise refused(f"tools.{i}.custom.input_schema.type: Field required")
        if schema["type"] != "object":
            raise refused(f"tools.{i}.custom.input_schema.type: Input should be 'object'")
        if unsound(schema) is not None:
            raise refused(
                f"tools.{i}.custom.input_schema: JSON schema is invalid. It must match JSON Schema "
                "draft 2020-12 (https://json-schema.org/draft/2020-12). Learn more about tool use "
                "at https://docs.claude.com/en/docs/tool-use."
            )
        shape = {k: v for k, v in tool.items() if k != "cache_control"}
        text = json.dumps(shape, sort_keys=True)
        extra = tool_prompt if i == 0 else 0
        yield Block(text.encode(), weigh(text) + extra, _ttl(tool))


def _system_texts(system: Any) -> list[str]:
    return [system] if isinstance(system, str) else [block["text"] for block in system or ()]


def _system_blocks(system: Any, weigh: Callable[[str], int]) -> Iterator[Block]:
    raw = [{"text": system}] if isinstance(system, str) else system or []
    for i, block in enumerate(raw):
        text, ttl_s = block["text"], _ttl(block)
        if ttl_s is not None and not text:
            raise refused(f"system.{i}: cache_control cannot be set for empty text blocks")
        yield Block(b"system\0" + text.encode(), weigh(text), ttl_s)


def _message_blocks(
    message: Turn, weigh: Callable[[str], int]
) -> Iterator[tuple[Block, list[Message]]]:
    """The content blocks of a message with what they say."""
    role, content = message["role"], message["content"]
    parts: list[Any] = (
        [{"type": "text", "text": content}] if isinstance(content, str) else [*content]
    )
    overhead = _MESSAGE_TOKENS
    for part in parts:
        kind = part["type"]
        said: list[Message] = []
        text = ""
        if kind == "text":
            text = part["text"]
            if not text:
                raise refused("messages: text content blocks must be non-empty")
            said = [Message(role, text)]
        elif kind == "tool_use":
            text = f"{part['name']} {json.dumps(part['input'], sort_keys=True)}"
        elif kind == "tool_result":
            inner = part.get("content") or ""
            text = inner if isinstance(inner, str) else _joined(inner)
            said = [Message("tool", text, failed=bool(part.get("is_error")))]
        weight = _IMAGE_TOKENS if kind in ("image", "document") else weigh(text)
        raw = text if text else json.dumps(part, sort_keys=True)
        content_bytes = f"{role}\0{kind}\0{raw}".encode()
        yield Block(content_bytes, weight + overhead, _ttl(part)), said
        overhead = 0


def _joined(parts: list[Any]) -> str:
    return " ".join(str(p.get("text", p)) for p in parts)


def scaled(factor: float) -> Callable[[str], int]:
    """A token count of texts that have ``factor`` times the tokens of our vocabulary."""
    return lambda text: round(tokens.count(text) * factor)
