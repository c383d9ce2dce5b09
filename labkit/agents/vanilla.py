"""The plain defaults of livekit-agents: Deepgram, OpenAI, Cartesia, and nothing tuned.

The models are the plugins' own defaults: nova-3, gpt-4.1 and sonic-3 in release 1.8.
It runs in production with ``python vanilla.py dev``. Whoever dispatches a job can name options in
its metadata, in the SDK's own structure; what is not named stays the SDK's default::

    {"session": {"turn_handling": {"endpointing": {"min_delay": 0.4}}},
     "stt": {"provider": "deepgram-flux", "eot_threshold": 0.8}}
"""

import importlib
import json
from collections.abc import Iterable
from typing import Any

from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    WorkerOptions,
    cli,
    inference,
    llm,
    stt,
    tts,
)
from livekit.plugins import cartesia, deepgram, openai

PARAMETERS = {"agent.greets": False}
"""This file's own keys of the job's metadata, with their defaults."""

INSTRUCTIONS = (
    "You are a friendly and capable voice assistant. Answer in one to three short spoken "
    "sentences, without lists, markup or emoji."
)


def _later(package: str, name: str) -> Any:
    """A plugin's constructor, which is imported, and need be installed, only where it is used."""

    def make(**options: Any) -> Any:
        try:
            module = importlib.import_module(f"livekit.plugins.{package}")
        except ModuleNotFoundError:
            wanted = f"livekit-plugins-{package}"
            raise RuntimeError(f"{package} needs its plugin: pip install {wanted}") from None
        return getattr(module, name)(**options)

    return make


# by role and provider; the first is the default
PLUGINS: dict[str, dict[str, Any]] = {
    "stt": {
        "deepgram": deepgram.STT,
        "deepgram-flux": deepgram.STTv2,
        "assemblyai": _later("assemblyai", "STT"),
        "openai": openai.STT,
        "elevenlabs": _later("elevenlabs", "STT"),
        "cartesia": cartesia.STT,
    },
    "llm": {
        "openai": openai.LLM,
        "anthropic": _later("anthropic", "LLM"),
        "google": _later("google", "LLM"),
        "groq": _later("groq", "LLM"),
        "cerebras": openai.LLM.with_cerebras,
        "deepseek": openai.LLM.with_deepseek,
        "fireworks": openai.LLM.with_fireworks,
        "openrouter": openai.LLM.with_openrouter,
        "perplexity": openai.LLM.with_perplexity,
        "togetherai": openai.LLM.with_together,
        "xai": openai.LLM.with_x_ai,
    },
    "tts": {
        "cartesia": cartesia.TTS,
        "elevenlabs": _later("elevenlabs", "TTS"),
        "openai": openai.TTS,
        "deepgram": deepgram.TTS,
    },
}


def _plugin(role: str, p: dict[str, Any], more: dict[str, Any]) -> Any:
    options = {**p.get(role, {}), **more}
    provider = options.pop("provider", next(iter(PLUGINS[role])))
    return PLUGINS[role][provider](**options)


def build_stt(p: dict[str, Any], **more: Any) -> stt.STT:
    """The STT that a job's metadata asks for; ``more`` are further options of the plugin."""
    return _plugin("stt", p, more)


def build_llm(p: dict[str, Any], **more: Any) -> llm.LLM:
    return _plugin("llm", p, more)


def build_tts(p: dict[str, Any], **more: Any) -> tts.TTS:
    return _plugin("tts", p, more)


def build_session(p: dict[str, Any], **parts: Any) -> AgentSession:
    """A session as a job's metadata asks for; ``parts`` take the place of its stt, llm or tts."""
    build = {"llm": build_llm, "tts": build_tts, "stt": build_stt}
    parts |= {role: make(p) for role, make in build.items() if role not in parts}
    for role, connects in p.get("prewarm", {}).items():
        if not connects:  # for experiments: what a cold start costs
            parts[role].prewarm = lambda **_: None
    options = dict(p.get("session", {}))
    turns = dict(options.pop("turn_handling", {}))
    if "turn_detector" in p:
        turns.setdefault("turn_detection", inference.TurnDetector(**p["turn_detector"]))
    if "vad" in p:
        parts["vad"] = inference.VAD(model="silero", **p["vad"])
    return AgentSession(**parts, turn_handling=turns, **options)


def choice(p: dict[str, Any], name: str, allowed: Iterable[str]) -> str:
    """A parameter that is one of some names."""
    if p[name] not in allowed:
        raise ValueError(f"{name}={p[name]}: must be one of {', '.join(allowed)}")
    return p[name]


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = build_session(p)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)
    if p["agent.greets"]:
        session.generate_reply(instructions="Greet the caller and offer your help.")


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
