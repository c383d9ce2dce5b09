"""An agent that is told whom it serves: job metadata, a telephone number, a key in its code."""

import json
import os

from dotenv import load_dotenv
from livekit.agents import (
    Agent,
    AgentSession,
    AutoSubscribe,
    JobContext,
    JobProcess,
    RoomInputOptions,
    RoomOutputOptions,
    WorkerOptions,
    cli,
)
from livekit.plugins import cartesia, deepgram, openai, silero

load_dotenv(dotenv_path=".env.local")


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()


async def entrypoint(ctx: JobContext) -> None:
    told = json.loads(ctx.job.metadata)
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    participant = await ctx.wait_for_participant()
    number = participant.attributes["sip.phoneNumber"]
    session = AgentSession(
        vad=ctx.proc.userdata["vad"],
        stt=deepgram.STT(model="nova-3", api_key="a key of my own"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(model="sonic-3"),
    )
    await session.start(
        agent=Agent(instructions=f"You are the phone assistant of {told['practice']}."),
        room=ctx.room,
        room_input_options=RoomInputOptions(close_on_disconnect=True),
        room_output_options=RoomOutputOptions(transcription_enabled=True),
    )
    await ctx.room.local_participant.set_attributes(
        {
            "number": number,
            "kind": str(participant.kind),
            "shop": os.environ["SHOP_TOKEN"],
            "linked": session.room_io.linked_participant.identity,
            "room": json.loads(ctx.room.metadata)["floor"],
        }
    )


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
