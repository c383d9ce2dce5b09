"""Which tool a model calls and with what, read from the caller's words.

Scripted tools take their arguments from the script, except where the caller said something else:
"order four five seven *nine*" changes the scripted 4571. For the tools of a user's own agent there
is no script. Such a tool is called when the caller's words name it (a word of its name, such as
*weather* for ``lookup_weather``, or two of its description) and every required argument can be
filled: an enum value or number that was said, else what follows "in", "for", "at", "about" and the
like. That is much less than a real model does; it is enough to exercise an agent's tool path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from labkit.providers.wording import canonical, contains, stem
from labkit.world.turn import Turn, normalise

_COMMON_TEXT = (
    "a an and any are as at be by can check do find for from get give has have i id in is it "
    "its look lookup make me my now of on one or please say set show tell that the their them "
    "this to use user want was what when where which who will with would you your called call "
    "given current"
)
_MOST_CLAUSES = 8
_COMMON = frozenset(_COMMON_TEXT.split())
_LEADS_TEXT = "in for at about on to from of named called near with"
_LEADS = frozenset(_LEADS_TEXT.split())
_TRAILING_TEXT = "please today tomorrow tonight now right currently thanks thank you"
_TRAILING = frozenset(_TRAILING_TEXT.split())


@dataclass(frozen=True)
class Tool:
    """A function offered in a request; ``parameters`` is its JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ToolCall:
    """A function call of the model."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)


def scripted_call(turn: Turn, text: str) -> ToolCall:
    """The turn's tool call, its arguments changed where ``text`` differs from the script."""
    said, script = canonical(text), canonical(turn.says)
    arguments = {k: _reread(v, said, script) for k, v in turn.arguments.items()}
    return ToolCall(turn.tool or "", arguments)


def _reread(value: Any, said: tuple[str, ...], script: tuple[str, ...]) -> Any:
    words = canonical(str(value))
    if contains(said, words) or "".join(words) in "".join(said):
        return value
    swapped = _swapped(words, said, script)
    if swapped is None and contains(script, words):
        swapped = next((w for w in said if w.isdecimal() and len(w) == len(words[0])), None)
    if swapped is None:
        return value
    if isinstance(value, int):
        return int(swapped) if swapped.isdecimal() else value
    return swapped.title() if str(value)[:1].isupper() else swapped


def _swapped(words: tuple[str, ...], said: tuple[str, ...], script: tuple[str, ...]) -> str | None:
    """What stands in ``said`` where ``script`` has ``words``."""
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, script, said, autojunk=False).get_opcodes():
        if tag == "replace" and a1 - a0 == b1 - b0 and contains(script[a0:a1], words):
            start = next(i for i in range(a0, a1) if script[i : i + len(words)] == words)
            return " ".join(said[b0 + start - a0 : b0 + start - a0 + len(words)])
    return None


_AND = re.compile(r",|\band\b", re.IGNORECASE)


def guessed_calls(text: str, tools: Sequence[Tool], *, must: bool = False) -> tuple[ToolCall, ...]:
    """The calls of a text that names a tool in each of several clauses, else at most one call."""
    clauses = [c for c in _AND.split(text) if c.strip()] if tools else []
    if 1 < len(clauses) <= _MOST_CLAUSES:
        each = [call for clause in clauses if (call := guessed_call(clause, tools)) is not None]
        calls = [call for i, call in enumerate(each) if call not in each[:i]]
        if len(calls) > 1:
            return tuple(calls)
    call = guessed_call(text, tools, must=must)
    return () if call is None else (call,)


def guessed_call(text: str, tools: Sequence[Tool], *, must: bool = False) -> ToolCall | None:
    """The call of a tool that no script knows, or ``None``.

    Args:
        text: The caller's words.
        tools: What the request offers.
        must: The request demands a call (``tool_choice`` "required" or a named tool).
    """
    said = {stem(w) for w in canonical(text)} - _COMMON
    ranked: list[tuple[int, ToolCall]] = []
    for tool in tools:
        in_name = said & ({stem(w) for w in re.split(r"[_\W]+", tool.name.lower())} - _COMMON)
        in_text = said & ({stem(w) for w in normalise(tool.description).split()} - _COMMON)
        if not (in_name or len(in_text) >= 2):
            continue
        arguments = _fill(tool, text)
        if arguments is not None:
            ranked.append((2 * len(in_name) + len(in_text), ToolCall(tool.name, arguments)))
    if ranked:
        return max(ranked, key=lambda pair: pair[0])[1]
    if must and tools:
        return ToolCall(tools[0].name, _fill(tools[0], text, must=True) or {})
    return None


def completed_call(tool: Tool, arguments: Mapping[str, Any], text: str) -> ToolCall:
    """A call with these arguments; what else the tool needs is read from the words, or made up."""
    required = tool.parameters.get("required") or []
    guessed = _fill(tool, text, must=True) or {}
    missing = {k: v for k, v in guessed.items() if k in required and k not in arguments}
    return ToolCall(tool.name, {**missing, **arguments})


def _fill(tool: Tool, text: str, *, must: bool = False) -> dict[str, Any] | None:
    properties = tool.parameters.get("properties") or {}
    required = tool.parameters.get("required") or []
    out: dict[str, Any] = {}
    for name, spec in properties.items():
        spec = spec if isinstance(spec, Mapping) else {}  # true and false are schemas, too
        value = _value(spec, text)
        if value is None and name in required and not _nullable(spec):
            if not must:
                return None
            value = {"integer": 0, "number": 0, "boolean": False}.get(str(spec.get("type")), text)
        if value is not None or name in required:
            out[name] = value
    return out


def _nullable(spec: Mapping[str, Any]) -> bool:
    kinds = spec.get("type")
    if isinstance(kinds, list):
        return "null" in kinds
    return {"type": "null"} in spec.get("anyOf", ())


def _value(spec: Mapping[str, Any], text: str) -> Any:
    for option in spec.get("anyOf", ()):
        if isinstance(option, Mapping) and option.get("type") != "null":
            return _value(option, text)
    kinds = spec.get("type", "string")
    kind = next((k for k in kinds if k != "null"), "") if isinstance(kinds, list) else kinds
    words = canonical(text)
    if "enum" in spec:
        return next((v for v in spec["enum"] if v and contains(words, canonical(str(v)))), None)
    numbers = [w for w in words if w.isdecimal()]
    if kind in ("integer", "number"):
        return int(numbers[0]) if numbers else None
    if kind != "string":
        return None
    if numbers and re.search(r"number|digits|\bid\b|code", str(spec.get("description", ""))):
        return numbers[0]
    return _after_lead(text) or (numbers[0] if numbers else None)


def _after_lead(text: str) -> str | None:
    """The phrase after the last "in", "for", … of a text, without "today", "please" and so on."""
    words = re.findall(r"[\w'-]+", text)
    leads = [i for i, word in enumerate(words[:-1]) if word.lower() in _LEADS]
    for i in reversed(leads):
        rest = words[i + 1 :]
        while rest and rest[-1].lower() in _TRAILING:
            rest.pop()
        while rest and rest[0].lower() in ("the", "a", "an", "my"):
            rest.pop(0)
        if rest:
            return " ".join(rest)
    return None
