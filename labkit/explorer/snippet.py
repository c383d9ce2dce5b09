"""Settings as the code that sets them: an ``AgentSession(...)`` for livekit-agents 1.8."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.settings import Settings, Value

_HANDLING: dict[str, dict[str, str]] = {
    "endpointing": {
        "mode": "endpointing.mode",
        "min_delay": "endpointing.min_delay_s",
        "max_delay": "endpointing.max_delay_s",
    },
    "preemptive_generation": {
        "enabled": "preemptive.enabled",
        "preemptive_tts": "preemptive.tts",
    },
    "interruption": {
        "enabled": "interruption.enabled",
        "min_duration": "interruption.min_duration_s",
    },
}
_VAD = {
    "min_silence_duration": "vad.min_silence_s",
    "activation_threshold": "vad.activation_threshold",
}
_FLUX = {
    "eager_eot_threshold": "stt.eager_eot_threshold",
    "eot_threshold": "stt.eot_threshold",
}
_SAID = {
    *(name for names in (*_HANDLING.values(), _VAD, _FLUX) for name in names.values()),
    *("stt.provider", "stt.model", "llm.provider", "llm.model", "tts.model"),
    *("turn_detection", "turn_detector.threshold", "aec_warmup_s", "prewarm.llm", "prewarm.tts"),
}
"""Settings that the code expresses."""
_MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}


def session_code(changes: Mapping[str, object]) -> str:
    """Python code that makes an ``AgentSession`` with these settings as ``session``.

    What is not changed is left to the SDK. Settings that are not the session's (who calls, from how
    far, parameters of an agent file) are named in a comment.

    Raises:
        SettingError: a setting that does not exist or a value it cannot take.
    """
    settings = Settings(changes)
    p = settings.changes
    stt, stt_plugin = _recogniser(settings)
    llm_plugin = settings.text("llm.provider")
    llm = f"{llm_plugin}.LLM(model={settings.value('llm.model') or _MODELS[llm_plugin]!r})"
    tts = f"cartesia.TTS(model={settings.text('tts.model')!r})"
    before = []
    for name, made in (("llm", llm), ("tts", tts)):
        if p.get(f"prewarm.{name}") is False:
            before += [f"{name} = {made}", f"{name}.prewarm = lambda **_: None"]
    arguments = [f"stt={stt}"]
    arguments += [
        f"{name}={name if p.get(f'prewarm.{name}') is False else made}"
        for name, made in (("llm", llm), ("tts", tts))
    ]
    vad = _chosen(_VAD, p)
    if vad:
        words = ", ".join(f"{k}={v!r}" for k, v in vad.items())
        arguments.append(f'vad=inference.VAD(model="silero", {words})')
    handling = _handling(p)
    if handling:
        lines = "".join(f"        {key!r}: {value},\n" for key, value in handling.items())
        arguments.append(f"turn_handling={{\n{lines}    }}")
    if "aec_warmup_s" in p:
        arguments.append(f"aec_warmup_duration={p['aec_warmup_s']!r}")
    inference = any("inference." in a for a in arguments)
    plugins = sorted({"cartesia", llm_plugin, stt_plugin})
    return "\n".join([
        f"from livekit.agents import AgentSession{', inference' if inference else ''}",
        f"from livekit.plugins import {', '.join(plugins)}",
        "",
        *before,
        "session = AgentSession(",
        *(f"    {argument}," for argument in arguments),
        ")",
        *_others(settings),
        "",
    ]).replace("'", '"')  # fmt: skip


def _recogniser(settings: Settings) -> tuple[str, str]:
    if settings.text("stt.provider") == "deepgram-flux":
        words = ", ".join(f"{k}={v!r}" for k, v in _chosen(_FLUX, settings.changes).items())
        return f"deepgram.STTv2({words})", "deepgram"
    return f"deepgram.STT(model={settings.text('stt.model')!r})", "deepgram"


def _handling(p: Mapping[str, Value]) -> dict[str, str]:
    """The ``turn_handling`` options as code."""
    options = {group: repr(_chosen(names, p)) for group, names in _HANDLING.items()}
    options = {group: code for group, code in options.items() if code != "{}"}
    detector = p.get("turn_detection")
    if detector not in (None, "detector"):
        options["turn_detection"] = repr(detector)
    elif "turn_detector.threshold" in p:
        threshold = p["turn_detector.threshold"]
        options["turn_detection"] = f"inference.TurnDetector(unlikely_threshold={threshold!r})"
    return options


def _chosen(names: Mapping[str, str], p: Mapping[str, Value]) -> dict[str, Value]:
    return {key: p[name] for key, name in names.items() if name in p}


def _others(settings: Settings) -> list[str]:
    rest = {k: v for k, v in settings.as_dict().items() if k not in _SAID}
    lines = [f"# {name}={value}" for name, value in rest.items()]
    return ["", "# set elsewhere, not in the session:", *lines] if lines else []
