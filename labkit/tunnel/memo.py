"""A cache of a pure function's results, in memory and on disk.

The end-of-turn model costs 83 ms a call and is a pure function of its samples; arms that share
callers share its answers. The file lives in the user's cache and may be deleted at any time. Its
name carries the model package's version, so a new model never reads an old one's answers.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
from collections.abc import Callable
from typing import Any

from labkit.paths import cache_dir


class AnswerMemo:
    """A mapping from argument hash to a number.

    Args:
        name: Of the function, for the file.
        package: Distribution whose version the answers depend on.
    """

    def __init__(self, name: str, package: str = "livekit-local-inference") -> None:
        version = importlib.metadata.version(package)
        # neural networks round differently on other processors
        self._path = cache_dir() / f"{name}-{version}-{platform.machine()}.sqlite"
        self._known: dict[str, float] = {}
        self._db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value REAL)")

    def __contains__(self, key: str) -> bool:
        if key in self._known:
            return True
        row = self._db.execute("SELECT value FROM memo WHERE key = ?", (key,)).fetchone()
        if row is None:
            return False
        self._known[key] = row[0]
        return True

    def __getitem__(self, key: str) -> float:
        if key not in self:
            raise KeyError(key)
        return self._known[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._known[key] = float(value)
        self._db.execute("INSERT OR IGNORE INTO memo VALUES (?, ?)", (key, float(value)))


class Overheard:
    """A memo that also reports each answer: the SDK does not expose its detector's output."""

    def __init__(self, memo: AnswerMemo) -> None:
        self._memo = memo
        self.tell: Callable[[float], None] = lambda value: None

    def __contains__(self, key: str) -> bool:
        return key in self._memo

    def __getitem__(self, key: str) -> float:
        value = self._memo[key]
        self.tell(value)
        return value

    def __setitem__(self, key: str, value: float) -> None:
        self._memo[key] = value
