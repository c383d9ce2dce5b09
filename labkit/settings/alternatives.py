"""What ``labkit levers`` moves and where to: rows of ``alternatives.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.settings.table import Value


@dataclass(frozen=True)
class Alternative:
    """A value that a setting of the agent could have instead.

    Attributes:
        name: The setting.
        to: The value.
        why: Why this one.
        served: By role, part of the name of a model that must have served.
        needs: Values that other settings must have, by name.
    """

    name: str
    to: Value
    why: str
    served: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, Value] = field(default_factory=dict)

    def no_gain(self, has: Value) -> bool:
        """Whether what is there is the alternative already, or a lower number."""
        numbers = all(isinstance(v, (int, float)) for v in (has, self.to))
        flags = isinstance(has, bool) or isinstance(self.to, bool)
        if numbers and not flags:
            return float(str(has)) <= float(str(self.to))
        return has == self.to


@dataclass(frozen=True)
class Halved:
    """Parameters of a provider's profile that are moved together.

    Attributes:
        name: What they are of.
        role: What the provider does.
        parameters: Dotted names in the profile; ``MODEL`` stands for every model that served.
        factor: What they are multiplied by.
        how: What a user can do about it.
    """

    name: str
    role: str
    parameters: tuple[str, ...]
    factor: float
    how: str


@dataclass(frozen=True)
class Instant:
    """Code of the agent that takes no time with a setting."""

    setting: str
    name: str
    how: str


def _rows() -> dict[str, Any]:
    file = Path(__file__).with_name("alternatives.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


_TABLE = _rows()

ALTERNATIVES = tuple(
    Alternative(n, r["to"], r["why"], r.get("served", {}), r.get("with", {}))
    for n, r in _TABLE["settings"].items()
)
HALVED = tuple(
    Halved(n, r["role"], tuple(r["parameters"]), r["factor"], r["how"])
    for n, r in _TABLE["figures"].items()
)
NEXT_DOOR: Mapping[str, float] = _TABLE["links"]
"""Parts of a link to a server next door."""
INSTANT = tuple(Instant(n, r["name"], r["how"]) for n, r in _TABLE["code"].items())
