"""What the SDK does not promise is used in one place, and is there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import livekit.agents
import livekit.rtc
import pytest

from labkit.tunnel import sdk

ROOT = Path(__file__).resolve().parents[2]
DOOR = ROOT / "labkit" / "tunnel" / "sdk.py"
# agents are ordinary LiveKit files, taken home without labkit
LIST = DOOR.with_name("sdk_names.py")
SOURCES = [
    p for p in sorted((ROOT / "labkit").rglob("*.py")) if "agents" not in p.parts and p != LIST
]
NAMES = {private.name for private in sdk.NAMES}


def used(tree: ast.AST) -> Iterator[str]:
    """Every underscored name that a module takes from something that is not its own object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
            if (node.module or "").startswith("livekit"):
                yield from (node.module or "").split(".")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value if node.value in NAMES else ""


def private_names(path: Path) -> set[str]:
    names = used(ast.parse(path.read_text()))
    return {n for n in names if re.fullmatch(r"_[a-z]\w*|_[A-Z]\w*", n) or n in NAMES}


def own_names(path: Path) -> Iterator[str]:
    """What a module of labkit defines: functions, classes, variables, attributes of its objects."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr


@lru_cache
def ours() -> frozenset[str]:
    return frozenset(n for path in SOURCES if path != DOOR for n in own_names(path)) - NAMES


@lru_cache
def words_of_the_sdk() -> frozenset[str]:
    """Every underscored word in the sources of livekit, its agents and its plugins."""
    folders = [*livekit.rtc.__path__, *livekit.agents.__path__]
    folders += importlib.import_module("livekit.plugins").__path__
    files = (f for folder in folders for f in Path(folder).rglob("*.py"))
    words = (set(re.findall(r"\b_\w+", f.read_text(errors="replace"))) for f in files)
    return frozenset().union(*words)


@pytest.mark.parametrize("path", [p for p in SOURCES if p != DOOR], ids=lambda p: p.name)
def test_private_names_of_the_sdk_are_used_behind_the_door_alone(path: Path) -> None:
    # the standard library has names that the SDK's sources use too
    strange = private_names(path) - ours() - {"_get_running_loop", "_cancelled", "_config", "_exit"}
    found = sorted(n for n in strange if n in words_of_the_sdk() or n in NAMES)
    assert not found, f"{path.name} uses {found} of the SDK: give labkit/tunnel/sdk.py a function"


def test_the_search_finds_what_it_is_for(tmp_path: Path) -> None:
    guilty = tmp_path / "guilty.py"
    guilty.write_text(
        "from livekit.agents.job import _JobContextVar\n"
        "ctx._tracked_tasks\n"
        "getattr(console, '_instance')\n"
    )
    assert {"_JobContextVar", "_instance"} <= private_names(guilty) - ours()
    assert "_tracked_tasks" in private_names(guilty)


def test_every_private_name_in_the_door_is_in_its_list() -> None:
    own = set(own_names(DOOR)) - NAMES
    assert private_names(DOOR) - own - {"_pre_connect_audio"} <= NAMES


def owner_of(private: sdk.Private) -> Any:
    try:
        return importlib.import_module(private.owner)
    except ImportError:
        module, _, name = private.owner.rpartition(".")
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("private", sdk.NAMES, ids=lambda p: p.name)
def test_the_installed_sdk_has_what_is_used_of_it(private: sdk.Private) -> None:
    there = f"livekit-agents {livekit.agents.__version__} has no {private.owner}.{private.name}"
    try:
        owner = owner_of(private)
    except (ImportError, AttributeError):
        pytest.fail(f"{there}, for {private.use}: {private.without}")
    known = hasattr(owner, private.name)
    if inspect.isclass(owner):
        known |= private.name in inspect.unwrap(owner.__init__).__code__.co_names
    assert known, f"{there}, for {private.use}: {private.without}"
