"""Two agents in one file, each with a server of its own and a word on who it is."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest
from livekit.plugins import cartesia, deepgram, openai, silero

sales = AgentServer(num_idle_processes=1, load_threshold=0.8)
support = AgentServer()


async def answer(ctx: JobContext, task: str) -> None:
    session = AgentSession(
        vad=silero.VAD.load(),
        stt=deepgram.STT(),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(),
    )
    await session.start(agent=Agent(instructions=f"You do {task} for a dentist."), room=ctx.room)


@sales.rtc_session(agent_name="sales-agent")
async def sell(ctx: JobContext) -> None:
    await answer(ctx, "sales")


async def accept(request: JobRequest) -> None:
    await request.accept(name="Help", identity="helper", attributes={"team": "support"})


async def ended(ctx: JobContext) -> None:
    assert ctx.room.isconnected()


@support.rtc_session(agent_name="support-agent", on_request=accept, on_session_end=ended)
async def help_out(ctx: JobContext) -> None:
    me = {}
    ctx.log_context_fields = {"room": ctx.room.name}
    await answer(ctx, "support")
    me.update(ctx.agent.attributes, name=ctx.agent.name, identity=ctx.agent.identity)
    await ctx.agent.set_attributes({"me": f"{me['identity']} {me['name']} {me['team']}"})
