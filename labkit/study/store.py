"""Keeps the rows of finished calls under a name made of everything they depend on.

The name hashes the agent's files, its settings, the seed, the parts of labkit that reach a result,
the data, the provider profiles and the package versions. So an unchanged call is never run again,
and a change to any of these never finds an old one. The store lives in the user's cache, may be
deleted at any time, and may be written by several processes at once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labkit.config import Settings
from labkit.paths import cache_dir, data_dir
from labkit.providers.profile import load_profiles
from labkit.study.encoding import Rows, decode
from labkit.study.tables import PACKAGES
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.sources import source_files
from labkit.tunnel.worker import CallSpec

_PARTS = ("callers", "providers", "tunnel", "config.py", "paths.py", "randomness.py")
_ROWS = ("study/timeline.py", "study/harm.py")


def key(spec: CallSpec) -> str:
    """The name under which the rows of a call are kept."""
    path, wanted = find_agent(spec.agent)
    settings = Settings(spec.settings)
    profiles = load_profiles(settings.text("profile") or None, settings.figures)
    terms = [
        _installed(),
        _digest(source_files(path)),
        wanted,
        {k: v for k, v in spec.settings.items() if k != "profile"},
        {name: profile.digest for name, profile in profiles.items()},
        spec.seed,
        spec.call,
        spec.n_turns,
    ]
    return hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()[:32]


@functools.cache
def _installed() -> list[Any]:
    """What all calls of this process depend on alike."""
    package = Path(__file__).resolve().parents[1]
    code: list[Path] = []
    for part in (*_PARTS, *_ROWS):
        at = package / part
        code += sorted(at.rglob("*.py")) if at.is_dir() else [at] if at.is_file() else []
    data = sorted((data_dir() / "dialogues").glob("*.toml"))
    data.append(data_dir() / "speech" / "SHA256SUMS")
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return [_digest(code), _digest(data), versions, platform.python_version(), platform.machine()]


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


class CallStore:
    """Finished calls on disk, by key."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_dir() / "calls.sqlite"
        self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")  # a crash of the machine may cost some calls
        self._db.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, rows BLOB)")

    def find(self, keys: Sequence[str]) -> dict[str, Rows]:
        """The rows of those keys that are there."""
        found: dict[str, Rows] = {}
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, rows FROM calls WHERE key IN ({marks})"
            found |= {k: decode(blob) for k, blob in self._db.execute(query, some)}
        return found

    def add(self, name: str, rows: bytes) -> None:
        """Keeps the encoded rows of a call."""
        self._db.execute("INSERT OR REPLACE INTO calls VALUES (?, ?)", (name, rows))

    def close(self) -> None:
        self._db.close()
