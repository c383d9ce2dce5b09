"""A warm connection to the TTS: who opens it, and when it is lost.

Run it with ``python tts_warmup.py dev``. Two ways to set it up:

as_published  The TTS is built in ``prewarm``. This opens no connection: nothing can, before
              there is a job. The session opens one when it starts, wherever its TTS was built.
done_right    Nothing is built early. A reply that is interrupted while it is synthesized takes
              its connection along, so a new one is opened then, while the caller speaks, and not
              when the next reply is waiting for it.
"""

import json

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
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {"agent.variant": "done_right"}
OPTIONS = ("session", "stt", "llm", "vad", "turn_detector", "prewarm")
VARIANTS = ("as_published", "done_right")


def prewarm(proc: JobProcess) -> None:
    proc.userdata["tts"] = cartesia.TTS(model="sonic-3")


def keep_warm(session: AgentSession, tts: cartesia.TTS) -> None:
    """Opens a connection whenever a reply was interrupted; does nothing if there still is one."""

    @session.on("conversation_item_added")
    def _(event: ConversationItemAddedEvent) -> None:
        if getattr(event.item, "interrupted", False):
            tts.prewarm()


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    variant = choice(p, "agent.variant", VARIANTS)
    early = variant == "as_published"
    tts = ctx.proc.userdata["tts"] if early else cartesia.TTS(model="sonic-3")
    session = build_session(p, tts=tts)
    if variant == "done_right":
        keep_warm(session, tts)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
