"""Reads and checks dialogues: what callers say and what a good agent answers.

A dialogue is one TOML file; ``data/dialogues/README.md`` lists every key. The classes are those of
``labkit.world.turn``, exported here too. Knows nothing of audio, time or LiveKit.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.errors import unknown
from labkit.paths import data_dir
from labkit.world.turn import (
    KINDS,
    VARIANTS,
    Dialogue,
    DialogueError,
    NearMiss,
    Parameter,
    Tool,
    Turn,
    mentions,
    normalise,
    sentences,
    split_pauses,
    without_fillers,
)

__all__ = [
    "KINDS",
    "VARIANTS",
    "Dialogue",
    "DialogueError",
    "NearMiss",
    "Parameter",
    "Tool",
    "Turn",
    "load_dialogues",
    "load_intents",
    "mentions",
    "normalise",
    "sentences",
    "split_pauses",
]

_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def load_dialogues(folder: Path | str | None = None) -> dict[str, Dialogue]:
    """Reads every dialogue of a folder, by name, in the order of the file names.

    Args:
        folder: where the ``*.toml`` files are; the packaged dialogues if None. An ``intents.toml``
            there replaces the packaged list of intents.

    Raises:
        DialogueError: the folder holds no dialogue, or one of them is not valid.
    """
    packaged = data_dir() / "dialogues"
    root = Path(folder) if folder is not None else packaged
    own_intents = root / "intents.toml"
    intents = _intents(own_intents if own_intents.is_file() else packaged / "intents.toml")
    files = [f for f in sorted(root.glob("*.toml")) if f.name != "intents.toml"]
    if not files:
        raise DialogueError(f"{root}: no dialogue (*.toml) here")
    return {f.stem: _dialogue(f, intents) for f in files}


def load_intents() -> dict[str, str]:
    """The packaged intents and their descriptions; there are no others."""
    return dict(_intents(data_dir() / "dialogues" / "intents.toml"))


@functools.cache
def _intents(file: Path) -> Mapping[str, str]:
    return {str(k): str(v) for k, v in _toml(file).items()}


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise DialogueError(f"{file.name}: not valid TOML: {error}") from error


def _keys(cls: type, *left_out: str) -> tuple[dict[str, type], dict[str, type]]:
    """The required and the optional keys of a class's TOML table, with their types."""
    types = {"str": str, "bool": bool, "tuple": list, "Mapping": dict}
    required: dict[str, type] = {}
    optional: dict[str, type] = {}
    for field in (f for f in dataclasses.fields(cls) if f.name not in left_out):
        must = field.default is field.default_factory is dataclasses.MISSING
        (required if must else optional)[field.name] = types[re.split(r"\W", str(field.type))[0]]
    return required, optional


def _take(table: Any, where: str, required: dict[str, type], optional: dict[str, type]) -> Any:
    """Checks that a TOML table has these keys with these types and no other."""
    if not isinstance(table, dict):
        raise DialogueError(f"{where}: must be a table, got {table!r}")
    allowed = required | optional
    for key, value in table.items():
        if key not in allowed:
            raise DialogueError(f"{where}: {unknown('key', key, allowed)}")
        if not isinstance(value, allowed[key]):
            wanted = allowed[key].__name__
            raise DialogueError(f"{where}: {key} = {value!r} must be a {wanted}")
        if key in required and value in ("", []):
            raise DialogueError(f"{where}: {key} must not be empty")
    for key in required:
        if key not in table:
            raise DialogueError(f"{where}: {key!r} is missing")
    return table


def _dialogue(file: Path, intents: Mapping[str, str]) -> Dialogue:
    where = file.name
    table = _take(
        _toml(file),
        where,
        {"name": str, "tenant": str, "system": str, "turn": list},
        {"greeting": str, "tool": list},
    )
    if table["name"] != file.stem:
        raise DialogueError(f"{where}: name = {table['name']!r} must be the file's: {file.stem!r}")
    tools = tuple(_tool(t, f"{where}: tool {i + 1}") for i, t in enumerate(table.get("tool", [])))
    turns: list[Turn] = []
    for index, raw in enumerate(table["turn"]):
        label = raw.get("id", index + 1) if isinstance(raw, dict) else index + 1
        turn = _turn(raw, f"{where}: turn {label!r}", index, tools, intents)
        _check_facts(turn, f"{where}: turn {turn.id!r}", turns)
        turns.append(turn)
    return Dialogue(
        name=table["name"],
        tenant=table["tenant"],
        greeting=table.get("greeting", ""),
        system=table["system"],
        tools=tools,
        turns=tuple(turns),
    )


def _tool(raw: Any, where: str) -> Tool:
    table = _take(raw, where, *_keys(Tool))
    parameters = {}
    for name, value in table.get("parameters", {}).items():
        _take(value, f"{where}: parameter {name!r}", *_keys(Parameter))
        if value["type"] not in _JSON_TYPES:
            wrong = unknown("type", value["type"], _JSON_TYPES)
            raise DialogueError(f"{where}: {name}: {wrong}")
        parameters[name] = Parameter(**value)
    return Tool(**table | {"parameters": parameters})


def _turn(
    raw: Any, where: str, index: int, tools: Sequence[Tool], intents: Mapping[str, str]
) -> Turn:
    table = _take(raw, where, *_keys(Turn, "index"))
    if table["intent"] not in intents:
        raise DialogueError(f"{where}: {unknown('intent', table['intent'], intents)}")
    if table["kind"] not in KINDS:
        raise DialogueError(f"{where}: {unknown('kind', table['kind'], KINDS)}")
    _check_tool(table, where, tools)
    _check_pauses(table, where)
    for key in ("needs", "paraphrases"):
        _strings(table.get(key, []), f"{where}: {key}")
    _strings(list(table.get("gives", {}).values()), f"{where}: gives")
    misses = [
        NearMiss(**_take(miss, f"{where}: near_misses", *_keys(NearMiss)))
        for miss in table.get("near_misses", [])
    ]
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Turn(**values | {"index": index, "near_misses": tuple(misses)})


def _strings(values: list[Any], where: str) -> None:
    for value in values:
        if not isinstance(value, str) or not value:
            raise DialogueError(f"{where}: {value!r} must be a non-empty text")


def _check_tool(table: dict[str, Any], where: str, tools: Sequence[Tool]) -> None:
    name = table.get("tool")
    if name is None:
        for key in ("arguments", "tool_result"):
            if key in table:
                raise DialogueError(f"{where}: {key} without a tool; name the tool or remove it")
        return
    by_name = {t.name: t for t in tools}
    if name not in by_name:
        raise DialogueError(f"{where}: {unknown('tool', name, by_name)}")
    parameters = by_name[name].parameters
    arguments = table.get("arguments", {})
    for key, value in arguments.items():
        if key not in parameters:
            raise DialogueError(f"{where}: {unknown(f'argument of {name}', key, parameters)}")
        wanted = parameters[key].type
        # bool is a kind of int to Python, but not to JSON schema.
        is_stray_bool = isinstance(value, bool) and wanted != "boolean"
        if is_stray_bool or not isinstance(value, _JSON_TYPES[wanted]):
            raise DialogueError(f"{where}: argument {key} = {value!r} must be a {wanted}")
    missing = [key for key in parameters if key not in arguments]
    if missing:
        raise DialogueError(f"{where}: {name} also needs the arguments {', '.join(missing)}")
    if "tool_result" not in table:
        raise DialogueError(f"{where}: tool {name!r} needs a tool_result")
    try:
        json.loads(table["tool_result"])
    except json.JSONDecodeError as error:
        raise DialogueError(f"{where}: tool_result is not JSON: {error}") from error


def _check_pauses(table: dict[str, Any], where: str) -> None:
    for key in ("says", "hesitates", "terse"):
        text = table.get(key)
        if text is None:
            continue
        parts, pauses = split_pauses(text)
        if "[" in "".join(parts) or "]" in "".join(parts):
            raise DialogueError(f"{where}: {key} has a pause mark that is not [seconds]: {text!r}")
        if pauses and key != "hesitates":
            raise DialogueError(f"{where}: {key} has a pause; only hesitates may have one")
        if key == "hesitates" and not pauses:
            raise DialogueError(f"{where}: hesitates has no [seconds] pause: {text!r}")
        if not all(parts):
            raise DialogueError(
                f"{where}: {key} must not start or end with a pause, or have two in a row"
            )
        if not all(0.0 < pause <= 5.0 for pause in pauses):
            raise DialogueError(f"{where}: {key} has a pause outside 0-5 seconds: {pauses}")


def _check_facts(turn: Turn, where: str, earlier: Sequence[Turn]) -> None:
    if turn.id in [t.id for t in earlier]:
        raise DialogueError(f"{where}: duplicate turn id")
    given = {fact for t in earlier for fact in t.gives}
    for fact in turn.needs:
        if fact not in given:
            wrong = unknown("needed fact", fact, sorted(given))
            raise DialogueError(f"{where}: {wrong}; an earlier turn must give it")
    if bool(turn.needs) != (turn.reply_without is not None):
        raise DialogueError(f"{where}: needs and reply_without must be given together")
    for fact, words in turn.gives.items():
        for variant in ("fluent", "hesitant", "terse"):
            said = without_fillers(turn.text(variant)) if variant in turn.variants else words
            if not mentions(said, words):
                raise DialogueError(
                    f"{where}: gives {fact} = {words!r}, which its {variant} text does not say: "
                    f"{turn.text(variant)!r}"
                )
