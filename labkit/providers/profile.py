"""Provider profiles: how fast, how limited and how expensive each provider is, with sources.

One TOML file per provider in ``data/providers/``. Every leaf is an inline table that carries its
origin: a delay (``median_s``, ``p95_s`` and the other fields of :class:`labkit.randomness.Delay`)
or a plain figure (``value``), each with ``source`` and ``date``. A delay may have a table ``tail``
and a table ``slow`` (spells), with a ``source`` and a ``date`` of their own. A user's overlay file
has the same shape under one top-level table per provider, and may only change what the defaults
define; a delay is replaced as a whole::

    [openai.models."gpt-4o-mini"]
    first_token = {median_s = 0.1, p95_s = 0.15, source = "our dashboard", date = "2026-11-01"}

A table with ``same_as = ["openai", "models", "gpt-4o-mini"]`` holds the figures of the one that is
named there, those changes included, and its own figures in place of them.
"""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.errors import UsageError
from labkit.paths import data_dir
from labkit.randomness import Delay


class ProfileError(UsageError):
    """A profile file that says something impossible or names something unknown."""


def _is_leaf(table: Mapping[str, Any]) -> bool:
    return "value" in table or "median_s" in table


_SAME = "same_as"
_PARTS = ("tail", "slow")
"""Tables of a delay that have an origin of their own."""


class Profile:
    """One provider's figures, looked up by dotted name.

    Model names may contain dots, so names are given as separate parts:
    ``profile.delay("models", "nova-3", "final")``.
    """

    def __init__(self, name: str, table: dict[str, Any], origin: str) -> None:
        self.name = name
        self.table = table
        self._origin = origin
        self._delays: dict[tuple[str, ...], Delay] = {}
        self._roles: dict[str, Profile] = {}
        for parts, leaf in self._leaves(table, ()):
            self._check(parts, leaf)

    def _leaves(
        self, table: Mapping[str, Any], at: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        for key, value in table.items():
            if not isinstance(value, dict):
                raise ProfileError(
                    f"{self._origin}: {'.'.join((*at, key))} = {value!r} must be a table with "
                    "'value' or 'median_s' and 'p95_s', and with 'source' and 'date'"
                )
            if _is_leaf(value):
                yield (*at, key), value
            else:
                yield from self._leaves(value, (*at, key))

    def _check(self, parts: tuple[str, ...], leaf: dict[str, Any]) -> None:
        where = f"{self._origin}: {'.'.join(parts)}"
        for part in ("", *(p for p in _PARTS if p in leaf)):
            table = leaf[part] if part else leaf
            if not isinstance(table, dict):
                raise ProfileError(f"{where}.{part} = {table!r} must be a table")
            for needed in ("source", "date"):
                if not table.get(needed):
                    name = f"{where}.{part}" if part else where
                    raise ProfileError(f"{name} has no {needed!r}; every figure names its origin")
        if "median_s" in leaf:
            try:
                self._delays[parts] = Delay.from_table(leaf)
            except (TypeError, ValueError) as e:
                raise ProfileError(f"{where}: {e}") from None
        elif isinstance(leaf["value"], (int, float)) and leaf["value"] < 0:
            raise ProfileError(f"{where}.value = {leaf['value']} must be at least 0")

    def _lookup(self, parts: tuple[str, ...]) -> dict[str, Any]:
        table: Any = self.table
        for i, part in enumerate(parts):
            if not isinstance(table, dict) or part not in table:
                known = sorted(table) if isinstance(table, dict) else []
                raise ProfileError(
                    f"{self._origin}: no {'.'.join(parts[: i + 1])!r}{_closest(part, known)}"
                )
            table = table[part]
        return dict(table)

    def delay(self, *parts: str) -> Delay:
        """The delay of that name."""
        if parts not in self._delays:
            self._lookup(parts)
            raise ProfileError(f"{self._origin}: {'.'.join(parts)} is not a delay")
        return self._delays[parts]

    def value(self, *parts: str) -> Any:
        """The plain figure of that name."""
        leaf = self._lookup(parts)
        if "value" not in leaf:
            raise ProfileError(f"{self._origin}: {'.'.join(parts)} is not a plain figure")
        return leaf["value"]

    def source(self, *parts: str) -> str:
        """Where a figure is from."""
        return str(self._lookup(parts)["source"])

    def names(self, *parts: str) -> list[str]:
        """The keys under a table, such as the known models under ``names("models")``."""
        return sorted(self._lookup(parts))

    def of_role(self, role: str) -> Profile:
        """The figures of a provider's further role, which stand in a table of that name."""
        if role not in self._roles:  # every call asks for it
            table = self._lookup((role,))
            self._roles[role] = Profile(self.name, table, f"{self._origin}: {role}")
        return self._roles[role]

    def figures(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every figure with its dotted name and its origin."""
        for parts, leaf in self._leaves(self.table, ()):
            yield ".".join(parts), leaf

    @property
    def digest(self) -> str:
        """A short hash of every figure."""
        text = json.dumps(self.table, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _closest(given: str, known: list[str]) -> str:
    match = difflib.get_close_matches(given, known, n=1)
    hint = f"; did you mean {match[0]!r}?" if match else ""
    return f"; known: {', '.join(known)}{hint}" if known else hint


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"no profile file {path}") from None
    except tomllib.TOMLDecodeError as e:
        raise ProfileError(f"{path}: not valid TOML: {e}") from None


def _overlay(base: dict[str, Any], change: Mapping[str, Any], origin: str, at: str) -> None:
    for key, value in change.items():
        here = f"{at}.{key}" if at else key
        if key not in base:
            raise ProfileError(f"{origin}: unknown {here!r}{_closest(key, sorted(base))}")
        if not isinstance(value, dict):
            raise ProfileError(f"{origin}: {here} = {value!r} must be a table")
        if _is_leaf(base[key]):
            base[key] = dict(value)
        else:
            _overlay(base[key], value, origin, here)


def load_profiles(
    overlay: str | Path | None = None, figures: Mapping[str, Any] | None = None
) -> dict[str, Profile]:
    """Every provider's profile by name, with a user's overlay file and single figures applied.

    Args:
        overlay: A TOML file of the same shape, under one table per provider.
        figures: Values by dotted name, such as ``openai.models.gpt-4o.first_token.median_s`` or
            ``cartesia.max_sockets``. A delay that is given one number is constant.

    Raises:
        ProfileError: names the file, the key, what is allowed and the closest match.
    """
    files = [*_files(), *([Path(overlay)] if overlay and Path(overlay).is_file() else [])]
    stamp = max(file.stat().st_mtime_ns for file in files)
    return _load_profiles(str(overlay or ""), stamp, tuple(sorted((figures or {}).items())))


def _named(table: Mapping[str, Any]) -> Iterator[str]:
    """The providers whose tables a table, or one in it, refers to."""
    if _SAME in table:
        yield table[_SAME][0]
    for inner in table.values():
        if isinstance(inner, dict):
            yield from _named(inner)


def _ranks(tables: Mapping[str, Any]) -> dict[str, int]:
    """How many others must be known before a provider's table is; 0 if it refers to none."""
    names = {name: set(_named(table)) for name, table in tables.items()}

    def rank(name: str, *below: str) -> int:
        others = names.get(name, set()) - {name, *below}
        return max((1 + rank(o, name, *below) for o in others), default=int(bool(names.get(name))))

    return {name: rank(name) for name in tables}


def _resolved(
    table: Mapping[str, Any], tables: Mapping[str, Any], at: str, made: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """A table with what ``same_as`` names put in, as deep as it goes.

    Args:
        table: The table.
        tables: All of them.
        at: Its name, for messages.
        made: What became of the provider's tables so far, by identity: one that is another of the
            same provider's stays one with it, so that a figure is changed in both.

    Raises:
        ProfileError: there is no such table.
    """
    found: dict[str, Any] = {}
    if _SAME in table:
        other: Any = tables
        for part in table[_SAME]:
            if not isinstance(other, dict) or part not in other:
                raise ProfileError(f"{at}.{_SAME}={table[_SAME]}: there is no {part!r}")
            other = other[part]
        if len(table) == 1 and id(other) in made:
            return made[id(other)]
        found = _resolved(other, tables, ".".join(table[_SAME]), {})
    for key, value in table.items():
        if key != _SAME:
            inner = isinstance(value, dict)
            found[key] = _resolved(value, tables, f"{at}.{key}", made) if inner else value
    made[id(table)] = found
    return found


def _files() -> list[Path]:
    return sorted((data_dir() / "providers").glob("*.toml"))


_COMPATIBLE = "compatible"
"""The file that holds several hosts, one table each, and what they have in common."""
_ROLES = ("tts", "stt")
"""Tables of a host that are its own as they stand."""


def _hosts(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The whole table of each host: its models' figures laid over the host's, those over all's."""
    every, model = table.pop("every"), table.pop("model")
    whole = {}
    for name, host in table.items():
        usual = model | host.get("model", {})
        models = dict.fromkeys(host.get("others", ()), usual)
        models |= {own: usual | figures for own, figures in host.get("models", {}).items()}
        roles = {role: host[role] for role in _ROLES if role in host}
        whole[name] = copy.deepcopy(every | {"models": models} | roles)
    return whole


def _set_figure(tables: dict[str, Any], name: str, value: Any) -> None:
    """Changes one figure. Keys may hold dots, so the longest key that fits is taken."""
    where, table, rest = "providers", tables, name
    while True:
        fits = [k for k in table if rest == k or rest.startswith(f"{k}.")]
        if not fits:
            raise ProfileError(f"{where}.{rest}: no {rest!r}{_closest(rest, sorted(table))}")
        key = max(fits, key=len)
        where, rest = f"{where}.{key}", rest[len(key) + 1 :]
        part = rest.partition(".")[0]
        if key in _PARTS or (_is_leaf(table[key]) and not (part in _PARTS and part in table[key])):
            break
        table = table[key]
        if not rest:
            raise ProfileError(f"{where} is a table, not a figure{_closest('', sorted(table))}")
    leaf = table[key]
    if not rest and not _is_leaf(leaf):
        raise ProfileError(f"{where} is a table, not a figure{_closest('', sorted(leaf))}")
    fields = [f for f in leaf if f not in ("source", "date", "note")]
    if rest and rest not in fields:
        raise ProfileError(f"{where}.{rest}: no {rest!r}{_closest(rest, fields)}")
    told = {"source": f"set by providers.{name}", "date": "now"}
    if rest or "value" in leaf:
        changed = {f: leaf[f] for f in fields} | {rest or "value": value} | told
    else:
        changed = {"median_s": value, "p95_s": value} | told
    current = leaf[rest or "value"] if rest or "value" in leaf else 0.0
    if isinstance(current, (int, float)) and not isinstance(current, bool):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ProfileError(f"{where}={value}: expected a number")
        if isinstance(current, int) and float(value).is_integer():
            changed |= {k: int(v) for k, v in changed.items() if k == (rest or "value")}
    table[key] = changed


@functools.lru_cache(maxsize=64)
def _load_profiles(
    overlay: str, stamp: int, figures: tuple[tuple[str, Any], ...]
) -> dict[str, Profile]:
    tables = {p.stem: _read(p) for p in _files()}
    origins = {name: f"data/providers/{name}.toml" for name in tables}
    if _COMPATIBLE in tables:
        hosts = _hosts(tables.pop(_COMPATIBLE))
        tables |= hosts
        origins |= dict.fromkeys(hosts, origins.pop(_COMPATIBLE))
    change = _read(Path(overlay)) if overlay else {}
    origins |= {name: f"{overlay}: {name}" for name in change}
    ranks = _ranks(tables)
    for rank in sorted({0, *ranks.values()}):  # who refers to another has what was changed there
        now = [name for name, its in ranks.items() if its == rank]
        tables |= {name: _resolved(tables[name], tables, name, {}) for name in now if rank}
        mine = {name: table for name, table in change.items() if ranks.get(name, 0) == rank}
        _overlay(tables, mine, str(overlay), "")
        for name, value in figures:
            if ranks.get(name.partition(".")[0], 0) == rank:
                _set_figure(tables, name, value)
    # one that refers to others after them, so that what is wrong is told of where it stands
    ordered = sorted(tables, key=lambda name: (ranks[name], name))
    made = {name: Profile(name, tables[name], origins[name]) for name in ordered}
    return {name: made[name] for name in tables}
