"""A cache of a pure function's results, in memory and on disk.

The end-of-turn model costs 83 ms a call and is a pure function of its samples; arms that share
callers share its answers. The file lives in the user's cache and may be deleted at any time. Its
name carries the model package's version, so a new model never reads an old one's answers.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Callable
from functools import cached_property
from typing import Any

from labkit.cachefile import CacheFile

_TABLE = "CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value REAL)"


class AnswerMemo:
    """A mapping from argument hash to a number. The file is opened when it is first asked.

    Args:
        name: Of the function, for the file.
        package: Distribution whose version the answers depend on.
    """

    def __init__(self, name: str, package: str = "livekit-local-inference") -> None:
        version = importlib.metadata.version(package)
        # neural networks round differently on other processors
        self._name = f"{name}-{version}-{platform.machine()}.sqlite"
        self._known: dict[str, float] = {}
        self._new: dict[str, float] = {}

    @cached_property
    def _file(self) -> CacheFile:
        return CacheFile(self._name, [_TABLE], 1, "the turn detector's answers")

    def __contains__(self, key: str) -> bool:
        if key not in self._known:
            rows = self._file.read("SELECT value FROM memo WHERE key = ?", (key,))
            if not rows or not _possible(rows[0][0]):
                return False
            self._known[key] = rows[0][0]
        return True

    def __getitem__(self, key: str) -> float:
        if key not in self:
            raise KeyError(key)
        return self._known[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._known[key] = self._new[key] = float(value)

    def keep(self) -> None:
        """Writes what is new to the file."""
        if self._new:
            self._file.write("INSERT OR REPLACE INTO memo VALUES (?, ?)", self._new.items())
            self._new = {}


def _possible(value: object) -> bool:
    """Whether it can be what a detector answered: a probability."""
    return isinstance(value, float) and math.isfinite(value) and 0.0 <= value <= 1.0


class Overheard:
    """A memo that also reports each answer: the SDK does not expose its detector's output."""

    def __init__(self, memo: AnswerMemo) -> None:
        self.memo = memo
        self.keep = memo.keep
        self.tell: Callable[[float], None] = lambda value: None

    def __contains__(self, key: str) -> bool:
        return key in self.memo

    def __getitem__(self, key: str) -> float:
        value = self.memo[key]
        self.tell(value)
        return value

    def __setitem__(self, key: str, value: float) -> None:
        self.memo[key] = value
