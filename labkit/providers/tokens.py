"""Token counts and token pieces, from a real vocabulary.

The vocabulary is ``o200k_base``, the one behind OpenAI's models since gpt-4o. It comes with the
``quicktok`` package, so nothing is downloaded. Texts are encoded once and remembered for a while,
because a conversation sends its history again with every request.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import quicktok

# The chat markup tokens around each message, as the vocabulary numbers them.
_START, _END, _SEPARATOR = 200264, 200265, 200266
REPLY_PRIMING = 3
"""Tokens the service adds after the last message to prime the reply (OpenAI cookbook, 2024)."""


@lru_cache(maxsize=1)
def _encoding() -> Any:
    return quicktok.get_encoding("o200k_base")


def _pack(ids: list[int]) -> bytes:
    return array("I", ids).tobytes()


_SHORT = 2_000
_SLICE = 16_000
"""Characters. Longer texts are encoded in slices of this size, which take less than 1 ms."""


def ids(text: str) -> bytes:
    """The token numbers of ``text``, four bytes each, so that prefixes compare as bytes."""
    if len(text) <= _SHORT:
        return _short(text)
    return _long(text) if len(text) <= _SLICE else b"".join(map(_long, _slices(text)))


@lru_cache(maxsize=1 << 13)
def _short(text: str) -> bytes:
    return _pack(_encoding().encode_ordinary(text))


@lru_cache(maxsize=1 << 9)
def _long(text: str) -> bytes:
    return _pack(_encoding().encode_ordinary(text))


def _slices(text: str) -> Iterator[str]:
    """A text cut before a blank where there is one."""
    start = 0
    while start < len(text):
        end = start + _SLICE
        if end < len(text):
            end = max(text.rfind(" ", start + _SLICE // 2, end), 0) or end
        yield text[start:end]
        start = end


async def weighed(texts: Iterable[str], most: int) -> int:
    """How many tokens some long texts have together, counted without keeping others waiting.

    Past ``most`` the rest is estimated from its length, since nobody will read so much.
    """
    total, characters = 0, 0
    long = [text for text in texts if len(text) > _SHORT]
    for text in long:
        for part in _slices(text):
            total, characters = total + len(_long(part)) // 4, characters + len(part)
            await asyncio.sleep(0)
            if total > most:
                return round(total / characters * sum(map(len, long)))
    return total


def count(text: str) -> int:
    """How many tokens ``text`` has."""
    return len(ids(text)) // 4


@lru_cache(maxsize=1 << 10)
def pieces(text: str) -> tuple[str, ...]:
    """``text`` cut at its token boundaries, as a streaming model would send it.

    A token that ends inside a character is sent with the next one, so there can be fewer pieces
    than tokens; joined they give ``text``.
    """
    encoding = _encoding()
    decoder = codecs.getincrementaldecoder("utf-8")()
    cut = (decoder.decode(encoding.decode_single_token_bytes(i)) for i in array("I", ids(text)))
    return tuple(piece for piece in cut if piece)


@lru_cache(maxsize=1 << 8)
def _tool_text(tool: str) -> str:
    """A tool as the prompt shows it: a typed declaration under its description."""
    function = json.loads(tool)
    schema = function.get("parameters") or {}
    lines = [f"// {function['description']}"] if function.get("description") else []
    lines.append(f"type {function.get('name', '')} = (_: {{")
    required = schema.get("required") or []
    for name, spec in (schema.get("properties") or {}).items():
        spec = spec if isinstance(spec, dict) else {}  # true and false are schemas, too
        if spec.get("description"):
            lines.append(f"// {spec['description']}")
        optional = "" if name in required else "?"
        lines.append(f"{name}{optional}: {_type(spec)},")
    return "\n".join([*lines, "}) => any;\n"])


def _type(spec: Any) -> str:
    if not isinstance(spec, dict):
        return "any"
    if "enum" in spec:
        return " | ".join(json.dumps(value) for value in spec["enum"])
    kind = spec.get("type", "any")
    if kind == "object":
        inner = ", ".join(f"{k}: {_type(v)}" for k, v in (spec.get("properties") or {}).items())
        return "{" + inner + "}"
    if kind == "array":
        return f"{_type(spec.get('items') or {})}[]"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def tools_segment(tools: list[dict[str, Any]]) -> bytes:
    """The tokens of a request's tools (each with name, description and parameters)."""
    if not tools:
        return b""
    texts = [_tool_text(json.dumps(tool, sort_keys=True)) for tool in tools]
    body = b"".join(ids(text) for text in texts)
    return ids("# Tools\n\n## functions\n\nnamespace functions {\n\n") + body + ids("} //")


def message_segment(role: str, parts: list[str]) -> bytes:
    """The tokens of one chat message with its markup.

    Args:
        role: Who speaks.
        parts: Texts of the message in order, tool calls included.
    """
    head = array("I", [_START]).tobytes() + ids(role) + array("I", [_SEPARATOR]).tobytes()
    return head + b"".join(ids(part) for part in parts) + array("I", [_END]).tobytes()
