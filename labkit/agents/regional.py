"""Pins the STT and the LLM to hosts of a region, and shows two pins that do not work.

``done_right`` gives each plugin its ``base_url``, which is all that the plugins have. Deepgram's is
the whole address of its listening service, path included. ``as_published`` asks for
``region=``, which neither plugin takes, and ``no_path`` drops the path of Deepgram's address.
"""

import json
from typing import Any

from livekit.agents import Agent, JobContext, WorkerOptions, cli
from livekit.plugins import cartesia, deepgram, openai
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {
    "agent.variant": "done_right",
    "agent.region": "",
    "agent.stt_host": "api.deepgram.com",
    "agent.llm_host": "api.openai.com",
}
OPTIONS = ("session", "vad", "turn_detector", "prewarm")


def as_published(p: dict[str, Any]) -> dict[str, Any]:
    """Raises TypeError: there is no such argument."""
    region = p["agent.region"]
    return {
        "stt": deepgram.STT(model="nova-3", region=region),
        "tts": cartesia.TTS(model="sonic-3", region=region),
    }


def no_path(p: dict[str, Any]) -> dict[str, Any]:
    """Connects to ``/`` of the host, where Deepgram has nothing to offer a WebSocket."""
    return {"stt": deepgram.STT(model="nova-3", base_url=f"https://{p['agent.stt_host']}")}


def done_right(p: dict[str, Any]) -> dict[str, Any]:
    """Cartesia's one public host leads to the nearest site by itself, so it is left alone."""
    return {
        "stt": deepgram.STT(model="nova-3", base_url=f"https://{p['agent.stt_host']}/v1/listen"),
        "llm": openai.LLM(base_url=f"https://{p['agent.llm_host']}/v1"),
    }


VARIANTS = {f.__name__: f for f in (as_published, no_path, done_right)}


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    pinned = VARIANTS[choice(p, "agent.variant", VARIANTS)](p)
    session = build_session(p, **pinned)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
