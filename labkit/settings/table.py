"""One row per setting, read from the TOML files beside this one."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from labkit.errors import UsageError, one_of

Value = str | float | bool | None

_FLAGS = {"true": True, "on": True, "1": True, "yes": True}
_FLAGS |= {"false": False, "off": False, "0": False, "no": False}


class SettingError(UsageError):
    """An unknown setting, or a value it does not accept."""


@dataclass(frozen=True)
class Setting:
    """One dotted setting.

    Attributes:
        name: Dotted name; the ``--set`` key, the sweep key and the table column.
        kind: ``number``, ``flag`` or ``text``.
        help: What it does.
        default: Used unless it is set; ``None`` leaves it to the agent and the SDK.
        unit: Unit of a number, empty otherwise.
        source: Where the default comes from.
        low: Smallest allowed number.
        high: Largest allowed number.
        choices: Allowed texts, empty for any.
        sdk: Path of the option in the job's metadata, such as
            ``session.turn_handling.endpointing.min_delay``; empty for the tunnel's own settings.
        left_out: The choice that is not passed on, because it is the SDK's default.
        plugins: By choice, the plugin's constructor (``deepgram.STT``) and its model.
        knob: Positions in the explorer; empty for all that are known, ``None`` for no knob.
    """

    name: str
    kind: Literal["number", "flag", "text"]
    help: str
    default: Value = None
    unit: str = ""
    source: str = "labkit"
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    sdk: str = ""
    left_out: Value = None
    plugins: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    knob: tuple[Value, ...] | None = None

    @property
    def agent(self) -> bool:
        """Whether it is passed to the agent rather than used by the tunnel alone."""
        return bool(self.sdk) or self.name.startswith("agent.")

    @property
    def may_be_preset(self) -> bool:
        """Whether an agent or a persona may set it, so that choosing its default has an effect."""
        preset = self.agent or self.name.startswith(("caller.", "links.caller."))
        return preset and self.name != "caller.persona"

    @property
    def allowed(self) -> str:
        """Allowed values: ``true or false``, the choices, or the range with its unit."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "text":
            return ", ".join(self.choices)
        limits = [f"at least {self.low:g}" if self.low is not None else ""]
        limits += [f"at most {self.high:g}" if self.high is not None else ""]
        return f"{' and '.join(x for x in limits if x)} {self.unit}".strip()

    def row(self) -> dict[str, Any]:
        """Its row in ``labkit config``."""
        return {
            "name": self.name,
            "default": self.default,
            "unit": self.unit,
            "choices": list(self.choices),
            "allowed": self.allowed,
            "help": self.help,
            "source": self.source,
            "sdk": self.sdk,
        }

    def parse(self, given: object) -> Value:
        """This setting's value, from a command-line text or a Python value.

        Raises:
            SettingError: names the setting, what was given and what is allowed.
        """
        if unset(given):
            return self.default
        if self.kind == "number":
            return self.number(given)
        if self.kind == "text":
            if self.choices and given not in self.choices:
                raise SettingError(f"{self.name}={given!s}: {one_of(given, self.choices)}")
            return str(given)
        if isinstance(given, bool):
            return given
        if str(given).lower() not in _FLAGS:
            raise SettingError(f"{self.name}={given!s}: must be true or false")
        return _FLAGS[str(given).lower()]

    def number(self, given: object) -> float:
        """The same for a numeric setting."""
        try:
            number = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            unit = f" in {self.unit}" if self.unit else ""
            raise SettingError(f"{self.name}={given!s}: expected a number{unit}") from None
        if not math.isfinite(number):
            raise SettingError(f"{self.name}={given!s}: must be a finite number")
        if (self.low is not None and number < self.low) or (
            self.high is not None and number > self.high
        ):
            raise SettingError(f"{self.name}={number:g}: must be {self.allowed}")
        return number


def unset(given: object) -> bool:
    """Whether this asks for the default."""
    return given is None or (isinstance(given, str) and given.lower() == "default")


def _setting(name: str, row: Mapping[str, Any]) -> Setting:
    more: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    if row["kind"] == "number":
        more.setdefault("low", 0.0)  # few quantities here can be negative; those say so
    if "plugins" in row:
        more["choices"] = tuple(row["plugins"])
    return Setting(name, **more)


def _rows(file: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(file).read_text(encoding="utf-8"))


_LINKS = _rows("links.toml")
_PROVIDERS: list[str] = _LINKS.pop("providers")
_PREFIX = "links.PROVIDER."

LINK_PARTS: dict[str, Setting] = {
    name.removeprefix(_PREFIX): _setting(name, row)
    for name, row in _LINKS.items()
    if name.startswith(_PREFIX)
}
"""Settings of every provider's link, by the last part of the name: ``rtt_s``, ``loss``, …"""


def _read() -> Iterator[Setting]:
    for provider in _PROVIDERS:
        for part, setting in LINK_PARTS.items():
            text = setting.help.replace("PROVIDER", provider)
            yield replace(setting, name=f"links.{provider}.{part}", help=text)
    for rows in (_LINKS, _rows("agent.toml"), _rows("tunnel.toml"), _rows("room.toml")):
        for name, row in rows.items():
            if not name.startswith(_PREFIX):
                yield from _each_way(_setting(name, row))


def _each_way(setting: Setting) -> Iterator[Setting]:
    """A setting, or of one with WAY in its name that of either direction."""
    if "WAY" not in setting.name:
        yield setting
        return
    for way, towards in (("up", "to the agent"), ("down", "to the caller")):
        text = setting.help.replace("TOWARDS", towards)
        yield replace(setting, name=setting.name.replace("WAY", way), help=text)


SETTINGS: dict[str, Setting] = {s.name: s for s in _read()}
"""Every setting by dotted name."""
