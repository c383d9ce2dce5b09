"""Anthropic's messages request: what it may hold, what it weighs, and where it can be cached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from labkit.providers import tokens
from labkit.providers.block_cache import Block, BlockCache
from labkit.providers.conversation import Message
from labkit.providers.server import RequestError
from labkit.providers.tool_calls import Tool

_PARAMETERS_TEXT = (
    "model messages max_tokens stream system tools tool_choice temperature top_p top_k "
    "stop_sequences metadata thinking service_tier cache_control container context_management "
    "mcp_servers output_config output_format inference_geo speed betas"
)
PARAMETERS = frozenset(_PARAMETERS_TEXT.split())
"""The request's top-level fields (Anthropic API reference, messages, 2026)."""

_TTLS = {"5m": 300.0, "1h": 3600.0}
_MESSAGE_TOKENS = 4
_IMAGE_TOKENS = 1600


def refused(message: str) -> RequestError:
    """A request the service refuses with status 400."""
    return RequestError(400, message)


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


def parse(body: dict[str, Any], weigh: Callable[[str], int], tool_prompt: int) -> Prompt:
    """Checks a request and weighs its prompt.

    Args:
        body: The request.
        weigh: Gives the provider's token count of a text.
        tool_prompt: Tokens of the instructions the service adds when tools are given.

    Raises:
        RequestError: the service would answer 400.
    """
    for name in body:
        if name not in PARAMETERS:
            raise refused(f"{name}: Extra inputs are not permitted")
    limit = body.get("max_tokens")
    if limit is None:
        raise refused("max_tokens: Field required")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise refused("max_tokens: Input should be greater than or equal to 1")
    messages = body.get("messages")
    if messages is None:
        raise refused("messages: Field required")
    if not isinstance(messages, list):
        raise refused("messages: Input should be a valid list")
    if not messages:
        raise refused("messages: at least one message is required")
    tools = body.get("tools") or []
    blocks = [*_tool_blocks(tools, weigh, tool_prompt), *_system_blocks(body.get("system"), weigh)]
    shared = [Message("system", text) for text in _system_texts(body.get("system"))]
    # Tool choice and thinking settings stand between system and messages: changing one of them
    # voids what was cached of the messages, and nothing else.
    settings = json.dumps([body.get("tool_choice"), body.get("thinking")], sort_keys=True)
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise refused(f"messages.{i}.role: Input should be 'user' or 'assistant'")
        for message_block, part in _message_blocks(message, i, weigh):
            shared += part
            if settings:
                message_block = Block(
                    settings.encode() + message_block.content,
                    message_block.tokens,
                    message_block.mark_ttl_s,
                )
                settings = ""
            blocks.append(message_block)
    if body.get("cache_control"):
        last = blocks[-1]
        blocks[-1] = Block(last.content, last.tokens, _ttl(body, "cache_control"))
    _check_marks(blocks)
    offered = [
        Tool(str(t.get("name")), str(t.get("description", "")), t.get("input_schema") or {})
        for t in tools
    ]
    return Prompt(shared, offered, blocks)


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


def _ttl(block: dict[str, Any], where: str) -> float | None:
    control = block.get("cache_control")
    if not control:
        return None
    ttl = control.get("ttl", "5m")
    if control.get("type") != "ephemeral" or ttl not in _TTLS:
        raise refused(f"{where}.cache_control: Input should be 'ephemeral' with ttl 5m or 1h")
    return _TTLS[ttl]


def _tool_blocks(
    tools: list[Any], weigh: Callable[[str], int], tool_prompt: int
) -> Iterator[Block]:
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict) or not tool.get("name"):
            raise refused(f"tools.{i}.name: Field required")
        shape = {k: v for k, v in tool.items() if k != "cache_control"}
        text = json.dumps(shape, sort_keys=True)
        extra = tool_prompt if i == 0 else 0
        yield Block(text.encode(), weigh(text) + extra, _ttl(tool, f"tools.{i}"))


def _system_texts(system: Any) -> list[str]:
    if isinstance(system, str):
        return [system]
    return [str(block.get("text", "")) for block in system or ()]


def _system_blocks(system: Any, weigh: Callable[[str], int]) -> Iterator[Block]:
    raw = [{"text": system}] if isinstance(system, str) else system or []
    for i, block in enumerate(raw):
        text = str(block.get("text", ""))
        ttl_s = _ttl(block, f"system.{i}")
        if ttl_s is not None and not text:
            raise refused(f"system.{i}: cache_control cannot be set for empty text blocks")
        yield Block(b"system\0" + text.encode(), weigh(text), ttl_s)


def _message_blocks(
    message: dict[str, Any], i: int, weigh: Callable[[str], int]
) -> Iterator[tuple[Block, list[Message]]]:
    """The content blocks of a message with what they say."""
    role, content = message["role"], message.get("content")
    if content is None:
        raise refused(f"messages.{i}.content: Field required")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    overhead = _MESSAGE_TOKENS
    for j, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        where = f"messages.{i}.content.{j}"
        said: list[Message] = []
        text = ""
        if kind == "text":
            text = str(part.get("text", ""))
            if not text:
                raise refused("messages: text content blocks must be non-empty")
            said = [Message(role, text)]
        elif kind == "tool_use":
            text = f"{part.get('name')} {json.dumps(part.get('input'), sort_keys=True)}"
        elif kind == "tool_result":
            inner = part.get("content") or ""
            text = inner if isinstance(inner, str) else _joined(inner)
            said = [Message("tool", text, failed=bool(part.get("is_error")))]
        elif kind not in ("image", "document", "thinking", "redacted_thinking"):
            raise refused(f"{where}: Input tag '{kind}' found using 'type' is not expected")
        weight = _IMAGE_TOKENS if kind in ("image", "document") else weigh(text)
        raw = text if text else json.dumps(part, sort_keys=True)
        content_bytes = f"{role}\0{kind}\0{raw}".encode()
        yield Block(content_bytes, weight + overhead, _ttl(part, where)), said
        overhead = 0


def _joined(parts: Any) -> str:
    texts = [str(p.get("text", p)) if isinstance(p, dict) else str(p) for p in parts]
    return " ".join(texts)


def scaled(factor: float) -> Callable[[str], int]:
    """A token count of texts that have ``factor`` times the tokens of our vocabulary."""
    return lambda text: round(tokens.count(text) * factor)
