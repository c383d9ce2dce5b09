"""The plain defaults of livekit-agents: Deepgram, OpenAI, Cartesia, and nothing tuned.

The baseline of every study. It runs in production with ``python vanilla.py dev``. A study changes
single options by naming them in the job's metadata; what is not named stays the SDK's default.
"""

import json
from typing import Any

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli, inference
from livekit.plugins import cartesia, deepgram, openai

INSTRUCTIONS = (
    "You are a friendly and capable voice assistant. Answer in one to three short spoken "
    "sentences, without lists, markup or emoji."
)


def recogniser(p: dict[str, Any]) -> Any:
    if p.get("stt.provider") == "deepgram-flux":
        names = {
            "eager_eot_threshold": "stt.eager_eot_threshold",
            "eot_threshold": "stt.eot_threshold",
        }
        return deepgram.STTv2(**{k: p[v] for k, v in names.items() if v in p})
    return deepgram.STT(model=p.get("stt.model", "nova-3"))


def language_model(p: dict[str, Any]) -> Any:
    if p.get("llm.provider") == "anthropic":
        from livekit.plugins import anthropic  # takes a second of start-up, so only if it is used

        return anthropic.LLM(model=p.get("llm.model", "claude-haiku-4-5"))
    return openai.LLM(model=p.get("llm.model", "gpt-4o-mini"))


def turn_handling(p: dict[str, Any]) -> dict[str, Any]:
    """The ``turn_handling`` options that differ from the SDK's defaults."""
    groups = {
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
    options: dict[str, Any] = {}
    for group, names in groups.items():
        chosen = {key: p[name] for key, name in names.items() if name in p}
        if chosen:
            options[group] = chosen
    detector = p.get("turn_detection", "detector")
    if detector != "detector":
        options["turn_detection"] = detector
    elif "turn_detector.threshold" in p:
        options["turn_detection"] = inference.TurnDetector(
            unlikely_threshold=p["turn_detector.threshold"]
        )
    return options


def build_session(p: dict[str, Any]) -> AgentSession:
    llm = language_model(p)
    tts = cartesia.TTS(model=p.get("tts.model", "sonic-3"))
    if not p.get("prewarm.llm", True):
        llm.prewarm = lambda **_: None
    if not p.get("prewarm.tts", True):
        tts.prewarm = lambda: None  # type: ignore[method-assign]
    options: dict[str, Any] = {"turn_handling": turn_handling(p)}
    vad = {
        "min_silence_duration": "vad.min_silence_s",
        "activation_threshold": "vad.activation_threshold",
    }
    if any(name in p for name in vad.values()):
        chosen = {key: p[name] for key, name in vad.items() if name in p}
        options["vad"] = inference.VAD(model="silero", **chosen)
    if "aec_warmup_s" in p:
        options["aec_warmup_duration"] = p["aec_warmup_s"]
    return AgentSession(stt=recogniser(p), llm=llm, tts=tts, **options)


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    params = json.loads(ctx.job.metadata or "{}")
    session = build_session(params)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)
    if params.get("agent.greets"):
        session.generate_reply(instructions="Greet the caller and offer your help.")


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
