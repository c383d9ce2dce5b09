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
    session = options.get("session", {})
    parts = {role: _plugin(settings, role, options.get(role, {})) for role in ("stt", "llm", "tts")}
    used = sorted({made.partition(".")[0] for made in parts.values()})
    before = []
    for role, connects in options.get("prewarm", {}).items():
        if not connects:
            before += [f"{role} = {parts[role]}", f"{role}.prewarm = lambda **_: None"]
            parts[role] = role
    if "vad" in options:
        parts["vad"] = _call("inference.VAD", {"model": "silero", **options["vad"]})
    turns = {key: _literal(value) for key, value in session.pop("turn_handling", {}).items()}
    if "turn_detector" in options:
        detector = _call("inference.TurnDetector", options["turn_detector"])
        turns.setdefault("turn_detection", detector)
    arguments = [f"{name}={code}" for name, code in parts.items()]
    if turns:
        lines = "".join(f'        "{key}": {code},\n' for key, code in turns.items())
        arguments.append(f"turn_handling={{\n{lines}    }}")
    arguments += [f"{name}={_literal(value)}" for name, value in session.items()]
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


def _plugin(settings: Settings, role: str, options: Mapping[str, Any]) -> str:
    """The call that makes the STT, LLM or TTS."""
    how = dict(SETTINGS[f"{role}.provider"].plugins[settings.text(f"{role}.provider")])
    make = how.pop("make")
    return _call(make, {**how, **{k: v for k, v in options.items() if k != "provider"}})


def _call(function: str, arguments: Mapping[str, Any]) -> str:
    return f"{function}({', '.join(f'{k}={_literal(v)}' for k, v in arguments.items())})"


def _literal(value: Any) -> str:
    return repr(value).replace("'", '"')
