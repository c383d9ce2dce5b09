"""The official starter's stack on LiveKit Inference, hosted, with nothing tuned.

The models and options are those of livekit-examples/agent-starter-python of October 2026: speech
recognition by AssemblyAI, Gemma, and an expressive voice by Fish Audio, all through one gateway;
the hosted turn detector, adaptive interruption and preemptive generation. It runs in production
with ``python starter.py start``, hosted in LiveKit's cloud; noise cancellation is left out.
"""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, inference

DEPLOYMENT = "hosted"
"""Where it runs: elsewhere the SDK's turn detector is the local one."""

INSTRUCTIONS = (
    "You are a helpful voice assistant. The user talks to you by voice. Your answers are short and "
    "to the point, without markup, emoji or symbols."
)

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    session = AgentSession(
        stt="assemblyai/universal-3-6-pro",
        llm="google/gemma-4-31b-it",
        tts="fishaudio/s2.1-pro",
        expressive=True,
        turn_handling={
            "turn_detection": inference.TurnDetector(),
            "interruption": {"mode": "adaptive"},
            "preemptive_generation": {"enabled": True},
        },
    )
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)
    await ctx.connect()


if __name__ == "__main__":
    cli.run_app(server)
