"""Keeps the rows of finished calls under a name made of everything they depend on.

The name hashes the agent's files and the environment variables they name, its settings, the seed,
the parts of labkit that reach a result, the data, the provider profiles and the package versions.
So an unchanged call is never run again, and a change to any of these never finds an old one. The
store lives in the user's cache, may be deleted at any time, and may be written by several processes
at once.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labkit.cachefile import CacheFile, tell
from labkit.engine.encoding import Rows, decode
from labkit.engine.provenance import packages, versions
from labkit.paths import cache_dir, data_dir
from labkit.providers.profile import load_profiles
from labkit.settings import Settings
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.given import FILES, digests
from labkit.tunnel.sources import imported, source_files
from labkit.tunnel.spec import ENVIRONMENT, CallSpec
from labkit.world.own import is_own, read_own

_PACKAGE = Path(__file__).resolve().parents[1]
_PARTS = ("errors", "paths", "randomness", "settings", "world", "callers", "providers", "tunnel",
          "measure", "engine/encoding")  # fmt: skip
"""What reaches a row: modules and packages."""
_PACKAGES = ("livekit", "onnxruntime", "quicktok-v1", "soundfile", "tokenizers")


def key(spec: CallSpec, common: str | None = None) -> str:
    """The name under which the rows of a call are kept.

    Given ``common``, what :func:`installed` said, it is not read anew.
    """
    return call_key(point_key(spec, common or installed()), spec.call)


def point_key(spec: CallSpec, common: str) -> str:
    """What all calls of a point depend on, whatever their index."""
    path, wanted = find_agent(spec.agent)
    settings = Settings(spec.settings)
    profiles = load_profiles(settings.text("profile") or None, settings.figures)
    return _hash([
        common,
        _agent(path),
        wanted,
        {k: v for k, v in spec.settings.items() if k != "profile" and k not in FILES},
        digests(settings),
        {name: profile.digest for name, profile in profiles.items()},
        spec.seed,
        spec.n_turns,
        *(() if spec.virtual else ("wall",)),
        *_own_dialogue(settings.text("caller.dialogue")),
    ])  # fmt: skip


def _own_dialogue(wanted: str) -> tuple[str, ...]:
    """What stands in the file that the setting names, if it names one."""
    return (read_own(wanted).digest,) if is_own(wanted) else ()


def call_key(point: str, call: int) -> str:
    """The name of one call of a point."""
    return _hash([point, call])[:32]


def installed() -> str:
    """A hash of what all calls depend on alike: labkit's code, the data and the packages."""
    code: list[Path] = []
    for part in _PARTS:
        at = _PACKAGE / part
        files = at.rglob("*.*") if at.is_dir() else [at.with_suffix(".py")]
        code += sorted(f for f in files if f.suffix in (".py", ".toml"))
    data = sorted((data_dir() / "dialogues").glob("*.toml"))
    data.append(data_dir() / "speech" / "SHA256SUMS")
    found = versions((*packages(), *_PACKAGES))
    machine = [platform.python_version(), platform.machine()]
    return _hash([_digest(code), _digest(data), found, machine])


def _hash(terms: object) -> str:
    return hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()


def _agent(path: Path) -> list[object]:
    """An agent's files, the versions of the packages they import, and the variables they name."""
    files = source_files(path)
    imports, texts = set(), set()
    for file in (f for f in files if f.suffix == ".py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            imports.update(imported(node))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    # what is imported, or named in a text: ``find_spec("package")``
    tops = {name.partition(".")[0] for name in imports | texts}
    owners = {owner for name in tops for owner in _owners().get(name, [])}
    versions = {owner: importlib.metadata.version(owner) for owner in sorted(owners)}
    own = {*ENVIRONMENT, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}  # a worker has its own
    set_here = texts & os.environ.keys() - own
    return [_digest(files), versions, {name: os.environ[name] for name in set_here}]


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    """Which distributions each importable name comes from.

    Finding out means reading a file of every distribution, so it is remembered for as long as they
    are the same.
    """
    there = [
        (entry.path, entry.stat().st_mtime_ns)
        for folder in sys.path
        if Path(folder).is_dir()
        for entry in os.scandir(folder or ".")
        if entry.name.endswith((".dist-info", ".egg-info"))
    ]
    stamp = _hash(sorted(there))
    try:
        known = json.loads((cache_dir() / "distributions.json").read_text("utf-8"))
        if known["stamp"] == stamp:
            owners: dict[str, list[str]] = known["owners"]
            return owners
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or damaged
    found = {k: sorted(set(v)) for k, v in importlib.metadata.packages_distributions().items()}
    with contextlib.suppress(OSError):  # a full or read-only disk only costs time
        new = cache_dir() / f"distributions.{os.getpid()}"
        new.write_text(json.dumps({"stamp": stamp, "owners": found}), "utf-8")
        new.replace(cache_dir() / "distributions.json")  # at once: others may be reading it
    return found


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


_TABLES = (
    "CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, rows BLOB, seal BLOB)",
    "CREATE TABLE IF NOT EXISTS damaged (key TEXT, rows BLOB, reason TEXT)",
)


class CallStore:
    """Finished calls on disk, by key. What cannot be right is set aside and run again.

    Each entry is sealed with a hash of its key and rows, so that rows never pass for another
    call's, nor half-written ones for whole.
    """

    def __init__(self) -> None:
        self._file = CacheFile("calls.sqlite", _TABLES, 2, "results of earlier calls")

    def find(self, keys: Iterable[str]) -> dict[str, Rows]:
        """The rows of those keys that are there and in order."""
        query = "SELECT key, rows, seal FROM calls WHERE key IN (SELECT value FROM json_each(?))"
        return self._good(self._file.read(query, [json.dumps(list(keys))]))

    def latest(self, n: int) -> list[Rows]:
        """The rows of the calls that were added last."""
        query = "SELECT key, rows, seal FROM calls ORDER BY rowid DESC LIMIT ?"
        return list(self._good(self._file.read(query, (n,))).values())

    def add(self, name: str, rows: bytes) -> None:
        """Keeps the encoded rows of a call."""
        entry = (name, rows, _seal(name, rows))
        self._file.write("INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", [entry])

    def info(self) -> dict[str, Any]:
        """Where it is (None if in memory alone), its ``bytes``, and how many ``calls`` it holds,
        and how many that were ``damaged``.
        """
        path, count = self._file.path, "SELECT count(*) FROM "
        return {
            "path": str(path) if path else None,
            "bytes": path.stat().st_size if path else 0,
            "calls": self._file.read(f"{count} calls")[0][0],
            "damaged": self._file.read(f"{count} damaged")[0][0],
        }

    def verify(self) -> tuple[int, int]:
        """Looks at every entry; gives how many are in order, and how many were set aside."""
        names = [name for (name,) in self._file.read("SELECT key FROM calls")]
        good = sum(len(self.find(names[i : i + 500])) for i in range(0, len(names), 500))
        return good, len(names) - good

    def clear(self) -> None:
        """Forgets everything."""
        for table in ("calls", "damaged"):
            self._file.write(f"DELETE FROM {table} WHERE ?", [(1,)])
        self._file.read("VACUUM")

    def close(self) -> None:
        self._file.close()

    def _good(self, entries: Iterable[tuple[str, bytes, bytes]]) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        bad: list[tuple[str, bytes, str]] = []
        for name, blob, seal in entries:
            try:
                if seal != _seal(name, blob):
                    raise ValueError("the seal is broken")
                found[name] = _checked(decode(blob))
            except Exception as e:
                bad.append((name, blob, f"{type(e).__name__}: {e}"))
        if bad:
            self._file.write("INSERT INTO damaged VALUES (?, ?, ?)", bad)
            self._file.write("DELETE FROM calls WHERE key = ?", [(name,) for name, _, _ in bad])
            tell(f"{len(bad)} damaged results of earlier calls are set aside and computed again")
        return found


def _seal(name: str, rows: bytes) -> bytes:
    return hashlib.blake2b(rows, key=str(name).encode()[:64], digest_size=16).digest()


def _checked(rows: Rows) -> Rows:
    """Rows that can be those of a call that went well.

    Raises:
        ValueError, KeyError, TypeError: they cannot.
    """
    call, turns = rows["call"], rows["turns"]
    if call["status"] != "ok" or call["n_turns"] != len(turns):
        raise ValueError("not the rows of a call that went well")
    for i, turn in enumerate(turns):
        if (turn["call"], turn["turn"]) != (call["call"], i):
            raise ValueError(f"row {i} is of turn {turn['turn']} of call {turn['call']}")
        heard = turn["outcome"] in ("answered", "interrupted")
        if heard and not 0.0 <= turn["response_latency_s"] < 3600.0:
            raise ValueError(f"a latency of {turn['response_latency_s']} s")
    return rows
