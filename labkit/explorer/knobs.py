"""The knobs of :func:`labkit.explorer.explore.explore`: which there are, and a widget for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets

from labkit.errors import UsageError
from labkit.providers.profile import load_profiles
from labkit.settings import SETTINGS, Settings, Value
from labkit.settings.roles import link

_LINKS = ("links.caller.", *(link(role, "") for role in ("stt", "llm", "tts")))
"""Links that have knobs: the caller's and those of the default providers."""

KNOBS: dict[str, Sequence[object]] = {
    s.name: s.knob or ()
    for s in sorted(SETTINGS.values(), key=lambda s: not s.agent)  # the agent's own come first
    if s.knob is not None and (s.name.startswith(_LINKS) or not s.name.startswith("links."))
}
"""The default knobs and the values of each; empty for all known values."""

SDK = "default"
"""The position at which a knob leaves its setting to the SDK, or to the agent file."""


def knob_values(
    given: Sequence[str] | Mapping[str, Sequence[object]] | None,
) -> dict[str, Sequence[Value]]:
    """The values of each knob, checked.

    Raises:
        UsageError: no values are known for a name.
        SettingError: a setting that does not exist or a value it cannot take.
    """
    named = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given or KNOBS, ())
    found: dict[str, Sequence[Value]] = {}
    for name, values in named.items():
        known = values or KNOBS.get(name) or _all(name)
        if not known:
            raise UsageError(f"knob {name}: list its values, as {{{name!r}: [...]}}")
        found[name] = [Settings({name: v}).value(name) for v in known]
    return found


def _all(name: str) -> Sequence[object]:
    Settings({name: None})  # raises for a name that does not exist
    if name == "llm.model":
        models = load_profiles()[str(SETTINGS["llm.provider"].default)].table["models"]
        return [model for model, figures in models.items() if "first_token" in figures]
    setting = SETTINGS.get(name)
    if setting is None:
        return ()
    return (True, False) if setting.kind == "flag" else setting.choices


def of_agent(name: str) -> bool:
    """Whether a setting is the agent's own; the others apply to both arms."""
    return name.startswith("agent.") or (name in SETTINGS and SETTINGS[name].agent)


def knob_widget(name: str, values: Sequence[Value]) -> Any:
    """A slider if all values are numbers, else a menu; set to the default."""
    default = _position(SETTINGS[name].default if name in SETTINGS else None)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    kind = ipywidgets.SelectionSlider if numbers else ipywidgets.Dropdown
    widget = kind(
        options=_options(name, [default, *values], numbers), value=default, description=name,
        layout={"width": "29em"}, style={"description_width": "13em"},
        **({"continuous_update": False} if numbers else {}),
    )  # fmt: skip
    widget.tooltip = SETTINGS[name].help if name in SETTINGS else name
    return widget.add_class("labkit-knob").add_class(f"labkit-knob-{name.replace('.', '-')}")


def turn(name: str, widget: Any, value: Value) -> None:
    """Turns a knob; a missing position is added."""
    position = _position(value)
    there = [v for _, v in widget.options]
    if position not in there:
        numbers = isinstance(widget, ipywidgets.SelectionSlider)
        widget.options = _options(name, [*there, position], numbers)
    widget.value = position


def _position(value: Value) -> Value:
    return SDK if value is None else value


def _options(name: str, values: Sequence[Value], numbers: bool) -> list[tuple[str, Value]]:
    every = list(dict.fromkeys(values))
    if numbers:
        every.sort(key=lambda v: v if isinstance(v, (int, float)) else float("-inf"))
    return [(value_text(name, v), v) for v in every]


def value_text(name: str, value: Value) -> str:
    """A value as a knob shows it."""
    if value is None or value == SDK:
        return "SDK's own"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return f"{1000 * value:g} ms" if name.endswith("_s") else f"{value:g}"
    return value
