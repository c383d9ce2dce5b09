"""OpenAI's words for what it refuses, as its API answered in 2025 and 2026."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

from labkit.providers.bodies import Flaw
from labkit.providers.server import RequestError, shown

_WANTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
}
_OF_OBJECTS = ("messages", "tools", "functions", "tool_calls", "content")


def refused(message: str, param: str | None = None, code: str | None = None) -> RequestError:
    """A request the service refuses with status 400."""
    return RequestError(400, message, code, param=param)


def wrong_type(param: str, wanted: str, given: Any) -> RequestError:
    """A value of another type than the service wants."""
    text = f"Invalid type for '{param}': expected {wanted}, but got {_kind(given)} instead."
    return refused(text, param, "invalid_type")


def named(values: Iterable[str], word: str = "and") -> str:
    """A list of values as the service writes it: ``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return f" {word} ".join(quoted)
    return f"{', '.join(quoted[:-1])}, {word} {quoted[-1]}"


def place(at: tuple[str | int, ...]) -> str:
    """A place in a body as the service writes it: ``messages[0].content``."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)
    return shown(path.removeprefix("."))


def _kind(given: Any) -> str:
    if given is None:
        return "null"
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal number"}
    return names.get(type(given)) or ("an array" if isinstance(given, list) else "an object")


def refusal_of(flaw: Flaw) -> RequestError:
    """A flaw in the service's words."""
    param, kind, given, bounds = place(flaw.at), flaw.kind, flaw.given, flaw.bounds
    if kind == "missing":
        text = f"Missing required parameter: '{param}'."
        return refused(text, param, "missing_required_parameter")
    if kind == "extra_forbidden":
        return refused(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
    if kind == "literal_error":
        allowed = [word.strip(" '") for word in bounds["expected"].replace(" or ", ",").split(",")]
        if not isinstance(given, str):
            return wrong_type(param, f"one of {named(allowed, 'or')}", given)
        text = f"Invalid value: '{shown(given)}'. Supported values are: {named(allowed)}."
        return refused(text, param, "invalid_value")
    if kind in _WANTED:
        return wrong_type(param, _wanted(flaw), given)
    return _out_of_bounds(flaw, param)


def _wanted(flaw: Flaw) -> str:
    wanted = _WANTED[flaw.kind]
    if flaw.kind == "list_type" and flaw.at and flaw.at[-1] in _OF_OBJECTS:
        wanted = "an array of objects"
    other = flaw.bounds.get("other")
    if other == "string_type":
        return f"one of a string or {wanted.removeprefix('an ')}"
    if other == "literal_error":
        return f"one of {flaw.bounds['expected']} or {wanted.removeprefix('an ')}"
    return wanted


_BEYOND = {  # what is beyond its bounds -> what the service says of it, and its code
    "string_too_long": (
        "string too long. Expected a string with maximum length {max_length}, but got a string "
        "with length {size} instead.",
        "string_above_max_length",
    ),
    "string_too_short": (
        "empty string. Expected a string with minimum length 1, but got an empty string instead.",
        "empty_string",
    ),
    "string_pattern_mismatch": (
        "string does not match pattern. Expected a string that matches the pattern '{pattern}'.",
        "invalid_value",
    ),
    "too_short": (
        "empty array. Expected an array with minimum length 1, but got an empty array instead.",
        "empty_array",
    ),
    "too_many_properties": (
        "too many properties. Expected an object with at most {max_length} properties, but got an "
        "object with {size} properties instead.",
        "object_above_max_properties",
    ),
    "too_long": (
        "array too long. Expected an array with maximum length {max_length}, but got an array "
        "with length {size} instead.",
        "array_above_max_length",
    ),
}


def _out_of_bounds(flaw: Flaw, param: str) -> RequestError:
    kind, given, bounds = flaw.kind, flaw.given, flaw.bounds
    what = "integer" if isinstance(given, int) else "decimal"
    if kind in ("greater_than_equal", "less_than_equal", "less_than"):
        below = kind == "greater_than_equal"
        limit = bounds["ge" if below else "le" if kind == "less_than_equal" else "lt"]
        sign, word = (">=", "below minimum") if below else ("<=", "above maximum")
        text = (
            f"Invalid '{param}': {what} {word} value. Expected a value {sign} {limit:g}, "
            f"but got {shown(given)} instead."
        )
        return refused(text, param, f"{what}_{'below_min' if below else 'above_max'}_value")
    if kind == "too_long" and isinstance(given, dict):
        kind = "too_many_properties"
    if kind in _BEYOND:
        text, code = _BEYOND[kind]
        size = len(given) if isinstance(given, Sized) else 0
        return refused(f"Invalid '{param}': {text.format(size=size, **bounds)}", param, code)
    return refused(f"Invalid '{param}': {flaw.text}.", param, "invalid_value")


def no_model(name: str) -> RequestError:
    """A model the service does not have."""
    text = f"The model `{shown(name)}` does not exist or you do not have access to it."
    return RequestError(404, text, "model_not_found")


def failure_of(status: int) -> RequestError:
    """An ordered failure, in the words of the service."""
    if status == 429:
        text = "You exceeded your current quota, please check your plan and billing details."
        return RequestError(429, text, "insufficient_quota", type="insufficient_quota")
    text = "The server had an error while processing your request. Sorry about that!"
    if status == 503:
        text = "The engine is currently overloaded, please try again later"
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return RequestError(status, text, type=kind)


def span_text(seconds: float) -> str:
    """A time span as OpenAI's headers write it: ``120ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 0)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(seconds // 60)}m{int(seconds % 60)}s"
