"""The plain defaults, with each provider's own plugin or through LiveKit Inference.

The three models are the same either way, those of ``vanilla.py``. ``direct`` takes the plugins,
each with its own key and connection; ``inference`` names the models, and the SDK reaches them
all through LiveKit's gateway with one key.
"""

import json
from typing import Any

from livekit.agents import Agent, JobContext, WorkerOptions, cli, inference
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {"agent.variant": "direct"}
OPTIONS = ("session", "vad", "turn_detector", "prewarm")


def direct(p: dict[str, Any]) -> dict[str, Any]:
    return {}  # as build_session has them: the plugins


def through_inference(p: dict[str, Any]) -> dict[str, Any]:
    return {
        "stt": inference.STT("deepgram/nova-3", language="en"),
        "llm": inference.LLM("openai/gpt-4.1"),
        "tts": inference.TTS("cartesia/sonic-3"),
    }


VARIANTS = {"direct": direct, "inference": through_inference}


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    parts = VARIANTS[choice(p, "agent.variant", VARIANTS)](p)
    session = build_session(p, **parts)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
