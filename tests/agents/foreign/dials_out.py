"""An outbound agent: it dials the number in its metadata, talks, and hangs up for all."""

import json

from livekit import api
from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.plugins import cartesia, deepgram, openai, silero


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    number = json.loads(ctx.job.metadata)["phone_number"]
    await ctx.api.egress.start_room_composite_egress(
        api.RoomCompositeEgressRequest(room_name=ctx.room.name, audio_only=True)
    )
    await ctx.api.sip.create_sip_participant(
        api.CreateSIPParticipantRequest(
            room_name=ctx.room.name,
            sip_trunk_id="ST_mine",
            sip_call_to=number,
            participant_identity=number,
            wait_until_answered=True,
        )
    )
    callee = await ctx.wait_for_participant(identity=number)
    session = AgentSession(
        vad=silero.VAD.load(),
        stt=deepgram.STT(model="nova-3"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(),
    )
    await session.start(
        agent=Agent(instructions="You call on behalf of a dental practice."), room=ctx.room
    )
    session.room_io.set_participant(callee.identity)

    async def hang_up() -> None:
        await ctx.delete_room()

    ctx.add_shutdown_callback(hang_up)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, agent_name="outbound-caller"))
