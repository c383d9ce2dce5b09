"""Applies settings to the session of an agent file that declares no parameters."""

from __future__ import annotations

import inspect
from typing import Any

from livekit.agents import AgentSession

from labkit.settings import SETTINGS, SettingError, Settings, Value
from labkit.tunnel.declaration import Declaration

_GROUPS = ("preemptive_generation", "interruption")
"""Options of a session that hold until it starts."""
_CHANGEABLE = ("endpointing", "turn_detection", *_GROUPS)


def override_session(session: AgentSession[Any], settings: Settings, file: str) -> list[str]:
    """Sets what was chosen on a session that has not started, through public methods.

    Args:
        session: The session, as the agent's entrypoint made it.
        settings: What was chosen; only what has an ``sdk`` path is the session's.
        file: The agent file's name, for messages.

    Returns:
        What was overridden, as ``name=value``.

    Raises:
        SettingError: a setting that cannot be changed from outside the file.
    """
    done = []
    for name in (n for n in SETTINGS if n in settings.changes):  # who ends a turn, then thresholds
        value = settings.changes[name]
        part, _, option = SETTINGS[name].sdk.partition(".")
        if not part:
            continue  # the tunnel's, or agent.greets: what the caller is to expect
        if part == "session":
            applied = _set_option(session, option, value)
        elif part == "turn_detector":
            applied = _update(session.turn_detection, option, value)
        elif part == "vad" and option == "activation_threshold" and session.vad is not None:
            # as the VAD's constructor derives it
            below = max(float(str(value)) - 0.15, 0.01)
            applied = _update(session.vad, option, value, deactivation_threshold=below)
        else:
            applied = _update(getattr(session, part, None), option, value)
        if not applied:
            raise SettingError(
                f"{name} cannot be set from outside {file}: declare PARAMETERS = {{}} there and "
                f"read it from json.loads(ctx.job.metadata), under {SETTINGS[name].sdk}, or drop "
                "the setting"
            )
        done.append(f"{name}={value}")
    return done


def _set_option(session: AgentSession[Any], path: str, value: Value) -> bool:
    """Sets an argument of ``AgentSession``; False if it is fixed once the session is made."""
    group, _, key = path.removeprefix("turn_handling.").partition(".")
    if group == "endpointing":
        options: Any = {key: value}
        session.update_options(endpointing_opts=options)
    elif group in _GROUPS:
        getattr(session.options, group)[key] = value
    elif group == "turn_detection":
        return _set_detection(session, value)
    else:
        return False
    return True


def _set_detection(session: AgentSession[Any], value: Value) -> bool:
    handling: Any = {"endpointing": session.options.endpointing_overrides}
    if value != SETTINGS["turn_detection"].left_out:
        handling["turn_detection"] = value
    elif not isinstance(session.turn_detection, str):
        return True  # it has a detector
    # who ends a turn decides on the delays that nobody chose: take them from a session like it
    like: AgentSession[Any] = AgentSession(vad=None, turn_handling=handling)
    session.options.endpointing.update(like.options.endpointing)
    session.update_options(turn_detection=like.turn_detection)
    return True


def _takes(plugin: Any, option: str) -> bool:
    """Whether a plugin's own ``update_options`` takes an option."""
    update = getattr(plugin, "update_options", None)
    return update is not None and option in inspect.signature(update).parameters


def _update(plugin: Any, option: str, value: Value, **more: Any) -> bool:
    """Calls a plugin's own ``update_options``; False if it has none, or not with this option."""
    if not _takes(plugin, option):
        return False
    plugin.update_options(**{option: value}, **more)
    return True


def survey(
    session: AgentSession[Any], settings: Settings, declared: Declaration | None
) -> dict[str, Any]:
    """What a session has, before it starts.

    Returns:
        ``values``: of the SDK's options by the names of their settings, where they can be known;
        ``settable``: the names of settings that the agent file takes, or that can be set from
        outside where it declares nothing.
    """
    options = {name: setting for name, setting in SETTINGS.items() if setting.sdk}
    values = {name: _value(session, settings, name) for name in options}
    return {
        "values": {name: value for name, value in values.items() if value is not None},
        "settable": [
            name
            for name, setting in options.items()
            if (declared.takes(setting.sdk) if declared else _settable(session, setting.sdk))
        ],
    }


def _settable(session: AgentSession[Any], sdk: str) -> bool:
    """Whether :func:`override_session` can set an option."""
    part, _, option = sdk.partition(".")
    if part == "session":
        group = option.removeprefix("turn_handling.").partition(".")[0]
        return group in _CHANGEABLE
    owner = session.turn_detection if part == "turn_detector" else getattr(session, part, None)
    return _takes(owner, option)


def _value(session: AgentSession[Any], settings: Settings, name: str) -> Value:
    """The value that a session has of a setting; the chosen one if it does not say."""
    part, _, option = SETTINGS[name].sdk.partition(".")
    found = settings[name]
    if part == "session":
        found = _option(session, option)
    elif part == "vad" or option == "model":
        found = getattr(getattr(session, part, None), option, found)
    return found if isinstance(found, (str, float, int, bool)) else None


def not_taken(session: AgentSession[Any], settings: Settings) -> str:
    """The first setting that the file declares but did not pass to its session; empty if none.

    Only what a session exposes is compared: its own options and the models' names.
    """
    for name, value in settings.changes.items():
        part, _, option = SETTINGS[name].sdk.partition(".")
        if option == "model":
            actual = getattr(getattr(session, part, None), "model", value)
        elif part == "session":
            actual = _option(session, option)
        else:
            continue
        if actual != value:
            return name
    return ""


def _option(session: AgentSession[Any], path: str) -> Any:
    group, _, key = path.removeprefix("turn_handling.").partition(".")
    if group == "turn_detection":
        actual = session.turn_detection
        return actual if isinstance(actual, str) else SETTINGS["turn_detection"].left_out
    actual = getattr(session.options, group)
    return actual.get(key) if key else actual
