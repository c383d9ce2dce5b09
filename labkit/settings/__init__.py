"""Every setting: its dotted name, meaning, unit, default, range and source, written once.

The rows stand in the TOML files beside this one. A row with an ``sdk`` path is an option of the
agent's session or plugins; the others belong to the tunnel (links, the caller, the cost of
computing).
"""

from labkit.settings.table import SETTINGS, Setting, SettingError, Value
from labkit.settings.values import FAMILIES, Settings, parse_assignments

__all__ = [
    "FAMILIES",
    "SETTINGS",
    "Setting",
    "SettingError",
    "Settings",
    "Value",
    "parse_assignments",
]
