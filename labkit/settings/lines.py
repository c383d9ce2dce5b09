"""The caller's line: what ``caller.line`` makes of ``links.caller.*``, from ``lines.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.settings.table import SETTINGS, Value
from labkit.settings.values import Settings


@dataclass(frozen=True)
class Preset:
    """A setting's value on a line, and where it is from."""

    value: Value
    source: str
    date: str


def _read() -> dict[str, dict[str, Preset]]:
    text = Path(__file__).with_name("lines.toml").read_text(encoding="utf-8")
    rows: Mapping[str, Mapping[str, Any]] = tomllib.loads(text)
    return {
        line: {
            name: Preset(SETTINGS[name].parse(p["value"]), p["source"].strip(), p["date"])
            for name, p in presets.items()
        }
        for line, presets in rows.items()
    }


LINES: dict[str, dict[str, Preset]] = _read()
"""By line and dotted name, the values that differ from the defaults of ``links.caller.*``."""


def line_value(settings: Settings, part: str, way: str = "") -> Value:
    """A parameter of the caller's line.

    What was chosen (by the user or a persona) goes before the line's own value, and that before
    the default; among each, the value of one way goes before that of both.

    Args:
        settings: The caller's settings.
        part: The last part of the setting's name, such as ``loss``.
        way: ``up``, to the agent, or ``down``; empty for what both ways share.
    """
    names = [f"links.caller.{way}.{part}"] if way else []
    names.append(f"links.caller.{part}")
    line = LINES[settings.text("caller.line")]
    presets = {name: preset.value for name, preset in line.items()}
    for values in (settings.changes, presets):
        for name in names:
            if name in values:
                return values[name]
    return SETTINGS[names[-1]].default
