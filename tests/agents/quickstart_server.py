"""An agent in the way of LiveKit's newer examples: ``AgentServer``, ``rtc_session``, one tool.

Nothing here knows of a tunnel. What it did is written to the file named by QUICKSTART_LOG.
"""

import os

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    JobProcess,
    RunContext,
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

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the user and offer your assistance.")

    @function_tool
    async def open_times(self, context: RunContext, treatment: str, week: str) -> dict[str, str]:
        """Lists open times for a treatment in a week.

        Args:
            treatment: checkup, cleaning or pain.
            week: this week or next week.
        """
        note(f"open_times {treatment}, {week}")
        return {"treatment": treatment, "open": "today 16:30, tomorrow 09:00"}


server = AgentServer()


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()
    note("prewarm")


server.setup_fnc = prewarm


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    ctx.log_context_fields = {"room": ctx.room.name}

    async def goodbye() -> None:
        note("shutdown")

    ctx.add_shutdown_callback(goodbye)

    session = AgentSession(
        vad=ctx.proc.userdata["vad"],
        stt=deepgram.STT(model="nova-3"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(model="sonic-3"),
    )
    await session.start(agent=Assistant(), room=ctx.room)
    await ctx.connect()


if __name__ == "__main__":
    cli.run_app(server)
