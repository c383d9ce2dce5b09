"""An agent that works with the caller's app: events, data, text, RPC, and a background sound."""

import asyncio
import json

import numpy as np
from livekit import rtc
from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    RunContext,
    cli,
    function_tool,
    get_job_context,
)
from livekit.plugins import cartesia, deepgram, openai, silero

server = AgentServer()


class Helper(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are the phone assistant of a dental practice.")

    @function_tool
    async def where_am_i(self, context: RunContext) -> str:
        """Asks the caller's app where the caller is."""
        return await ask_app(get_job_context().room)


async def ask_app(room: rtc.Room) -> str:
    who = next(iter(room.remote_participants))
    return await room.local_participant.perform_rpc(
        destination_identity=who, method="getUserLocation", payload="{}", response_timeout=5.0
    )


async def hum(room: rtc.Room) -> None:
    source = rtc.AudioSource(48000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("hum", source)
    await room.local_participant.publish_track(
        track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    )
    frame = rtc.AudioFrame(np.ones(4800, dtype=np.int16).tobytes(), 48000, 1, 4800)
    for _ in range(20):
        await source.capture_frame(frame)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    seen: list[str] = []
    tasks: set[asyncio.Task] = set()

    @ctx.room.on("participant_connected")
    def came(participant: rtc.RemoteParticipant) -> None:
        seen.append(f"came {participant.identity}")

    @ctx.room.on("track_subscribed")
    def track(
        track: rtc.Track, pub: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
    ) -> None:
        seen.append(f"track {who.identity}")

    @ctx.room.on("data_received")
    def data(packet: rtc.DataPacket) -> None:
        seen.append(f"data {packet.topic} {packet.data.decode()}")

    @ctx.room.on("participant_disconnected")
    def left(participant: rtc.RemoteParticipant) -> None:
        seen.append(f"left {participant.identity}")

    async def goodbye(reason: str) -> None:
        stats["seen"] = seen

    stats: dict = {}
    ctx.add_shutdown_callback(goodbye)
    await ctx.connect()
    await ctx.wait_for_participant()
    session = AgentSession(
        vad=silero.VAD.load(),
        stt=deepgram.STT(model="nova-3"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(),
    )
    await session.start(agent=Helper(), room=ctx.room)
    tasks.add(asyncio.create_task(hum(ctx.room)))
    ctx.room.local_participant.register_rpc_method("mute", lambda data: "muted")

    @session.on("close")
    def closed(event: object) -> None:
        seen.append("closed")
        task = asyncio.create_task(
            ctx.room.local_participant.send_text(json.dumps(seen), topic="seen")
        )
        tasks.add(task)

    await ctx.room.local_participant.send_text(await ask_app(ctx.room), topic="location")
    await ctx.room.get_rtc_stats()


if __name__ == "__main__":
    cli.run_app(server)
