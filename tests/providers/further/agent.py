"""An agent whose TTS is the further one, through the client of an OpenAI-compatible server."""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import deepgram, openai

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    session = AgentSession(
        stt=deepgram.STT(),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=openai.TTS(
            model="further-1",
            base_url="https://tts.further.example/v1",
            api_key=os.environ["FURTHER_API_KEY"],
            response_format="pcm",
        ),
    )
    agent = Agent(instructions="You are the phone assistant of Acme Home, a furniture shop.")
    await session.start(agent=agent, room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
