"""The agent of a package: run as ``python -m front_desk.agent``. It begins with a BOM."""

from livekit.agents import AgentServer, AgentSession, JobContext, cli, room_io
from livekit.plugins import cartesia, deepgram, openai, silero

from front_desk import words

from .people import Desk

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    session = AgentSession(
        vad=silero.VAD.load(),
        stt=deepgram.STT(model="nova-3", language="en"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(),
    )
    options = room_io.RoomOptions(text_input=True, delete_room_on_close=True)
    await session.start(agent=Desk(words.TASK), room=ctx.room, room_options=options)
    await ctx.connect()


if __name__ == "__main__":
    cli.run_app(server)
