"""JSON schemas in requests: whether one is valid, and a value that fits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_LISTS = ("anyOf", "oneOf", "allOf")
_ONE = ("items", "additionalProperties", "not")
_DEEPEST = 12
_LARGEST = 2_000  # values, and characters of an array


def unsound(schema: Any) -> str | None:
    """Why something is no JSON schema, in the words of the usual validator; ``None`` if it is."""
    stack = [schema]
    while stack:
        part = stack.pop()
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            return f"{_brief(part)} is not of type 'object', 'boolean'"
        for name, kind in (("required", list), ("enum", list), ("description", str)):
            if name in part and not isinstance(part[name], kind):
                return (
                    f"{_brief(part[name])} is not of type '{'array' if kind is list else 'string'}'"
                )
        if not all(isinstance(name, str) for name in part.get("required", ())):
            return f"{_brief(part['required'])} is not an array of strings"
        kinds = part.get("type", ())
        for kind in kinds if isinstance(kinds, list) else [kinds] if kinds != () else []:
            if kind not in _TYPES:
                return f"{_brief(kind)} is not valid under any of the given schemas"
        for name in (*_MAPS, *_LISTS):
            inner = part.get(name)
            if inner is not None and not isinstance(inner, dict if name in _MAPS else list):
                wanted = "object" if name in _MAPS else "array"
                return f"{_brief(inner)} is not of type '{wanted}'"
            stack += (inner.values() if isinstance(inner, dict) else inner) if inner else ()
        stack += [part[name] for name in _ONE if name in part]
    return None


def _brief(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "{...}" if isinstance(value, dict) else "[...]"
    return repr(value)[:100]


def instance(schema: Any, text: str) -> Any:
    """A value that fits a sound schema; its first free string is ``text``."""
    left = [text]
    n_made = 0

    def made(part: Any, depth: int) -> Any:
        nonlocal n_made
        n_made += 1
        part = _resolved(part, schema)
        if not isinstance(part, dict) or depth > _DEEPEST or n_made > _LARGEST:
            return None
        if "const" in part:
            return part["const"]
        if part.get("enum"):
            return part["enum"][0]
        for name in _LISTS:
            options = [o for o in part.get(name) or () if o != {"type": "null"}]
            if options:
                return made(options[0], depth + 1)
        kinds = part.get("type", "object" if "properties" in part else "string")
        kind = next((k for k in kinds if k != "null"), "null") if isinstance(kinds, list) else kinds
        if kind == "object":
            found = part.get("properties") or {}
            return {name: made(inner, depth + 1) for name, inner in list(found.items())[:200]}
        if kind == "array":
            item = made(part.get("items", {}), depth + 1)
            size = len(json.dumps(item))
            return [item] * max(min(_least(part, "minItems", 1), _LARGEST // size), 0)
        if kind == "string":
            return left.pop() if left else "ok"
        least = _least(part, "minimum", 1)
        return {"boolean": True, "integer": least, "number": float(least)}.get(str(kind))

    return made(schema, 0)


def _least(part: Mapping[str, Any], name: str, default: int) -> int:
    value = part.get(name, default)
    fits = isinstance(value, (int, float)) and abs(value) < 1e15
    return int(value) if fits else default


def _resolved(part: Any, whole: Any) -> Any:
    """What a reference within the schema means."""
    for _ in range(_DEEPEST):
        ref = part.get("$ref") if isinstance(part, dict) else None
        if not isinstance(ref, str):
            return part
        part = whole
        for step in ref.removeprefix("#").strip("/").split("/"):
            if step:
                part = part.get(step) if isinstance(part, dict) else None
    return None
