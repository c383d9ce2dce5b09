"""Token counts and token pieces, from a real vocabulary.

The vocabulary is ``o200k_base``, the one behind OpenAI's models since gpt-4o. It comes with the
``quicktok`` package, so nothing is downloaded. Every text is encoded once and remembered, because a
conversation sends its history again with every request.
"""

from __future__ import annotations

import codecs
import json
from array import array
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


@lru_cache(maxsize=1 << 15)
def ids(text: str) -> bytes:
    """The token numbers of ``text``, four bytes each, so that prefixes compare as bytes."""
    return _pack(_encoding().encode_ordinary(text))


def count(text: str) -> int:
    """How many tokens ``text`` has."""
    return len(ids(text)) // 4


@lru_cache(maxsize=1 << 12)
def pieces(text: str) -> tuple[str, ...]:
    """``text`` cut at its token boundaries, as a streaming model would send it.

    A token that ends inside a character is sent with the next one, so there can be fewer pieces
    than tokens; joined they give ``text``.
    """
    encoding = _encoding()
    decoder = codecs.getincrementaldecoder("utf-8")()
    cut = (decoder.decode(encoding.decode_single_token_bytes(i)) for i in array("I", ids(text)))
    return tuple(piece for piece in cut if piece)


@lru_cache(maxsize=1 << 10)
def _tool_text(tool: str) -> str:
    """A tool as the prompt shows it: a typed declaration under its description."""
    function = json.loads(tool)
    schema = function.get("parameters") or {}
    lines = [f"// {function['description']}"] if function.get("description") else []
    lines.append(f"type {function.get('name', '')} = (_: {{")
    required = schema.get("required") or []
    for name, spec in (schema.get("properties") or {}).items():
        if spec.get("description"):
            lines.append(f"// {spec['description']}")
        optional = "" if name in required else "?"
        lines.append(f"{name}{optional}: {_type(spec)},")
    return "\n".join([*lines, "}) => any;\n"])


def _type(spec: dict[str, Any]) -> str:
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
