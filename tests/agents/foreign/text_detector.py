"""An agent that ends turns with the text turn detector's plugin."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import cartesia, deepgram, openai, silero
from livekit.plugins.turn_detector.english import EnglishModel
from livekit.plugins.turn_detector.multilingual import MultilingualModel

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    EnglishModel()  # its languages are found, too
    session = AgentSession(
        vad=silero.VAD.load(),
        stt=deepgram.STT(model="nova-3", language="en"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(),
        turn_detection=MultilingualModel(),
    )
    await session.start(agent=Agent(instructions="You help a dental practice."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
