"""Reading a request's body: its size, its JSON, and the first thing that does not fit a schema.

Each provider writes its schema as typed dictionaries in its ``requests`` module, and says a
:class:`Flaw` in its own words. What :func:`checked` gives can be used without further looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import pydantic_core
from aiohttp import web
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from labkit.providers.server import RequestError

T = TypeVar("T")
strictly = with_config(ConfigDict(extra="forbid", strict=True, defer_build=True))
"""A typed dictionary without further keys, in which nothing is converted: "1" is no number."""
FailFast = Field(fail_fast=True)
"""For lists: the first wrong element ends the check, so that a million of them cost as one."""

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

_MARKS = 350_000
_WIDEST = 5_000
_LOOKED_AT = 50
_LARGE_BYTES = 1 << 16


@dataclass(frozen=True)
class Flaw:
    """The first thing in a body that does not fit its schema.

    Attributes:
        kind: pydantic's name for it: ``missing``, ``extra_forbidden``, ``string_type``, …
        at: Keys and indices from the body to the place.
        tags: The same with the ``type`` of every object that was told apart by it.
        text: What pydantic says.
        given: What stands there; ``None`` too if nothing does.
        bounds: What pydantic tells of the limit that is broken.
    """

    kind: str
    at: tuple[str | int, ...]
    tags: tuple[str | int, ...]
    text: str
    given: Any
    bounds: Mapping[str, Any] = field(default_factory=dict)


class NotJson(ValueError):
    """A body that is no JSON; the message says where, as ``… at line 1 column 8``."""


async def read_body(request: web.Request, most_bytes: int, too_large: RequestError) -> bytes:
    """The bytes of a request's body.

    Raises:
        RequestError: ``too_large``, if there are more than ``most_bytes``.
    """
    if (request.content_length or 0) > most_bytes:
        raise too_large
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > most_bytes:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def decoded(raw: bytes | str) -> Any:
    """What a JSON text says.

    Raises:
        NotJson: it is none (lone surrogates, NaN and nesting beyond 200 are none either), or it
            holds so many parts that reading it would keep other requests waiting.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    large = len(data) > _LARGE_BYTES
    if large and data.count(b",") + data.count(b"{") + data.count(b"[") > _MARKS:
        raise NotJson("too many values at line 1 column 1")
    try:
        value = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(str(error)) from None
    if large and data.count(b":") > _WIDEST and _wide(value):
        raise NotJson("too many keys in an object at line 1 column 1")
    return value


def _wide(value: Any) -> bool:
    """Whether an object somewhere has more keys than any honest request."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            if len(part) > _WIDEST:
                return True
            part = part.values()
        stack += [inner for inner in part if isinstance(inner, (dict, list))] if part else []
    return False


def checked(
    schema: TypeAdapter[T],
    body: Any,
    refuse: Callable[[Flaw], RequestError],
    *,
    tagged: bool = False,
) -> T:
    """A body that fits its schema.

    Args:
        schema: What it must fit.
        body: The body, decoded.
        refuse: Makes the provider's error of the first flaw.
        tagged: The schema tells objects apart by their ``type``, and the provider names that type
            on the way to a flaw.

    Raises:
        RequestError: what ``refuse`` makes.
    """
    try:
        return schema.validate_python(body)
    except ValidationError as error:
        found: list[Any] = list(error.errors(include_url=False))
    unknown = (e for e in found if e["type"] == "extra_forbidden" and len(e["loc"]) == 1)
    first = next(unknown, None) or _first(found, body, tagged)
    at, tags = _walked(first, body, tagged)
    given = None if first["type"] == "missing" else first["input"]
    raise refuse(Flaw(first["type"], at, tags, first["msg"], given, first.get("ctx") or {}))


def _first(found: list[Any], body: Any, tagged: bool) -> Any:
    """The first error; where all branches of a union failed, that of the branch that fits best."""
    first = found[0]
    if not first["type"].endswith(("_type", "literal_error")):
        return first
    at = _walked(first, body, tagged)[0]
    others = [(_walked(e, body, tagged)[0], e) for e in found[1:_LOOKED_AT]]
    branches = [(place, e) for place, e in others if place[: len(at)] == at]
    for place, error in branches:
        if len(place) > len(at) or not error["type"].endswith("_type"):
            return error
    if branches:  # none of the branches takes a value of this type
        return {**branches[-1][1], "ctx": {"other": first["type"], **first.get("ctx", {})}}
    return first


def _walked(
    error: Any, body: Any, tagged: bool
) -> tuple[tuple[str | int, ...], tuple[str | int, ...]]:
    """An error's place without pydantic's names of union branches; and with the types passed."""
    at: list[str | int] = []
    tags: list[str | int] = []
    here, loc, was_tag = body, error["loc"], False
    for i, step in enumerate(loc):
        last = i + 1 == len(loc)
        known = isinstance(here, dict)
        if tagged and known and here.get("type") == step and not last and not was_tag:
            tags.append(step)
            was_tag = True
            continue
        was_tag = False
        if (isinstance(step, int) and isinstance(here, list)) or (known and step in here):
            here = here[step]
        elif not (known and last and error["type"] == "missing"):
            continue  # the name of a branch
        at.append(step)
        tags.append(step)
    return tuple(at), tuple(tags)
