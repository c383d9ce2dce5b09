"""Every setting: its dotted name, meaning, unit, default, range and source, written once.

The rows are in the TOML files beside this one. Those with an ``sdk`` path are options of the
agent's session or plugins; the others belong to the tunnel (links, the caller, compute costs).
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
