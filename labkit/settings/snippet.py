"""Settings as the code that sets them: an ``AgentSession(...)`` for livekit-agents 1.8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.settings import SETTINGS, Settings


def session_code(changes: Mapping[str, object]) -> str:
    """Python code that makes an ``AgentSession`` with these settings as ``session``.

    What is not changed is left to the SDK. Settings that are not the session's (who calls, from how
    far, parameters of an agent file) are named in a comment.

    Raises:
        SettingError: a setting that does not exist or a value it cannot take.
    """
    settings = Settings(changes)
    options = settings.options()
    parts = _parts(settings, options)
    used = sorted({made.partition(".")[0] for made in parts.values()})
    before = []
    for role, connects in options.get("prewarm", {}).items():
        if not connects:
            before += [f"{role} = {parts[role]}", f"{role}.prewarm = lambda **_: None"]
            parts[role] = role
    arguments = [f"{name}={code}" for name, code in (parts | _own(options)).items()]
    inference = any("inference." in a for a in arguments)
    own = {name for name, setting in SETTINGS.items() if setting.sdk}
    others = [f"# {name}={value}" for name, value in settings.as_dict().items() if name not in own]
    return "\n".join([
        f"from livekit.agents import AgentSession{', inference' if inference else ''}",
        f"from livekit.plugins import {', '.join(used)}",
        "",
        *before,
        "session = AgentSession(",
        *(f"    {argument}," for argument in arguments),
        ")",
        *(["", "# set elsewhere, not in the session:", *others] if others else []),
        "",
    ])  # fmt: skip


def changed_code(changes: Mapping[str, object]) -> str:
    """The arguments of ``AgentSession`` that these settings concern, in one line; '' if none."""
    settings = Settings(changes)
    options = settings.options()
    parts = {role: made for role, made in _parts(settings, options).items() if role in options}
    arguments = (parts | _own(options)).items()
    code = ", ".join(f"{name}={' '.join(code.split())}" for name, code in arguments)
    return f"AgentSession({code})".replace("{ ", "{").replace(", }", "}") if code else ""


def _parts(settings: Settings, options: Mapping[str, Any]) -> dict[str, str]:
    """What makes the STT, LLM and TTS."""
    return {role: _plugin(settings, role, options.get(role, {})) for role in ("stt", "llm", "tts")}


def _own(options: Mapping[str, Any]) -> dict[str, str]:
    """The other arguments of the session."""
    session, arguments = dict(options.get("session", {})), {}
    if "vad" in options:
        arguments["vad"] = _call("inference.VAD", {"model": "silero", **options["vad"]})
    turns = {key: _literal(value) for key, value in session.pop("turn_handling", {}).items()}
    if "turn_detector" in options:
        detector = _call("inference.TurnDetector", options["turn_detector"])
        turns.setdefault("turn_detection", detector)
    if turns:
        lines = "".join(f'        "{key}": {code},\n' for key, code in turns.items())
        arguments["turn_handling"] = f"{{\n{lines}    }}"
    return arguments | {name: _literal(value) for name, value in session.items()}


def _plugin(settings: Settings, role: str, options: Mapping[str, Any]) -> str:
    """The call that makes the STT, LLM or TTS."""
    how = dict(SETTINGS[f"{role}.provider"].plugins[settings.text(f"{role}.provider")])
    make = how.pop("make")
    return _call(make, {**how, **{k: v for k, v in options.items() if k != "provider"}})


def _call(function: str, arguments: Mapping[str, Any]) -> str:
    return f"{function}({', '.join(f'{k}={_literal(v)}' for k, v in arguments.items())})"


def _literal(value: Any) -> str:
    return repr(value).replace("'", '"')
