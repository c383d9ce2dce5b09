"""An agent in the way of LiveKit's first examples: ``WorkerOptions``, prewarm, one tool.

Nothing here knows of a tunnel. What it did is written to the file named by QUICKSTART_LOG.
"""

import os

from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    JobProcess,
    RunContext,
    WorkerOptions,
    cli,
    function_tool,
)
from livekit.plugins import cartesia, deepgram, openai, silero


def note(line: str) -> None:
    with open(os.environ["QUICKSTART_LOG"], "a") as log:
        log.write(line + "\n")


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(
            instructions="You are the phone assistant of a dental practice. Be gentle and brief."
        )

    @function_tool
    async def open_times(self, context: RunContext, treatment: str, week: str) -> str:
        """Lists open times for a treatment in a week.

        Args:
            treatment: checkup, cleaning or pain.
            week: this week or next week.
        """
        note(f"open_times {treatment}, {week}")
        return f"{treatment} {week}: today 16:30, tomorrow 09:00"


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()
    note("prewarm")


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()

    async def goodbye(reason: str) -> None:
        note("shutdown")

    ctx.add_shutdown_callback(goodbye)

    session = AgentSession(
        vad=ctx.proc.userdata["vad"],
        stt=deepgram.STT(model="nova-3", language="multi"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(model="sonic-3"),
    )
    await session.start(room=ctx.room, agent=Assistant())
    participant = await ctx.wait_for_participant()
    note(f"participant {bool(participant.identity)}")
    await session.generate_reply(instructions="Greet the user and offer your assistance.")


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
