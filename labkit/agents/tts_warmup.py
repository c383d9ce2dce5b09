"""A warm connection to the voice: who opens it, and when it is lost.

Run it with ``python tts_warmup.py dev``. Two ways to set it up:

as_published  The voice is built in ``prewarm``. This opens no connection: nothing can, before
              there is a job. The session opens one when it starts, wherever its voice was built.
done_right    Nothing is built early. A reply that is cut off while it is being synthesized takes
              its connection along, so a new one is opened then, while the caller speaks, and not
              when the next reply is waiting for it.
"""

import json
from typing import Any

from livekit.agents import (
    Agent,
    AgentSession,
    ConversationItemAddedEvent,
    JobContext,
    JobProcess,
    WorkerOptions,
    cli,
)
from livekit.plugins import cartesia
from vanilla import INSTRUCTIONS, language_model, recogniser, turn_handling

VARIANTS = ("as_published", "done_right")


def prewarm(proc: JobProcess) -> None:
    proc.userdata["tts"] = cartesia.TTS(model="sonic-3")


def keep_warm(session: AgentSession, tts: cartesia.TTS) -> None:
    """Opens a connection whenever a reply was cut off; does nothing if there still is one."""

    @session.on("conversation_item_added")
    def _(event: ConversationItemAddedEvent) -> None:
        if getattr(event.item, "interrupted", False):
            tts.prewarm()


def build_session(p: dict[str, Any], tts: cartesia.TTS) -> AgentSession:
    if not p.get("prewarm.tts", True):  # for experiments: what a cold start would cost
        tts.prewarm = lambda: None  # type: ignore[method-assign]
    return AgentSession(
        stt=recogniser(p), llm=language_model(p), tts=tts, turn_handling=turn_handling(p)
    )


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    params = json.loads(ctx.job.metadata or "{}")
    variant = params.get("agent.variant", "done_right")
    if variant not in VARIANTS:
        raise ValueError(f"agent.variant={variant}: allowed are {', '.join(VARIANTS)}")
    early = variant == "as_published"
    tts = ctx.proc.userdata["tts"] if early else cartesia.TTS(model="sonic-3")
    session = build_session(params, tts)
    if variant == "done_right":
        keep_warm(session, tts)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
