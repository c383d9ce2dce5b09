"""An agent that greets its callers: what they say meanwhile, and before it has joined.

The session's ``aec_warmup_duration`` is how long the agent hears nothing at the start of its first
speech; 0 turns it off, as None does in code. The session starts before the room is joined, so
that audio which the caller's app recorded before is received. Runs in production with
``python greeting.py dev``.
"""

import json
import logging

from livekit.agents import Agent, AgentFalseInterruptionEvent, JobContext, WorkerOptions, cli
from vanilla import INSTRUCTIONS, build_session

GREETING = (
    "Hello and thank you for calling. This is the voice assistant of our company, and I can help "
    "you with orders, bookings, bills and appointments. What can I do for you today?"
)

PARAMETERS = {"agent.greets": False}

log = logging.getLogger("agent")


async def entrypoint(ctx: JobContext) -> None:
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = build_session(p)
    paused = 0

    def stopped_for_nothing(ev: AgentFalseInterruptionEvent) -> None:
        nonlocal paused
        paused += 1

    async def tell() -> None:
        log.info("greeting", extra={"turn": {"paused": paused}})

    session.on("agent_false_interruption", stopped_for_nothing)
    ctx.add_shutdown_callback(tell)
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)
    await ctx.connect()
    if p["agent.greets"]:
        session.say(GREETING)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
