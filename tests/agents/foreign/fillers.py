"""Says or plays something before its answer; what, and where, the job's metadata names."""

import asyncio
import math
import struct

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentSession,
    BackgroundAudioPlayer,
    FlushSentinel,
    JobContext,
    RunContext,
    WorkerOptions,
    cli,
    function_tool,
)
from livekit.plugins import cartesia, deepgram, openai

RATE_HZ = 24_000


def tone(level: int, seconds: float) -> rtc.AudioFrame:
    n = round(RATE_HZ * seconds)
    wave = (round(level * math.sin(2 * math.pi * 440 * i / RATE_HZ)) for i in range(n))
    return rtc.AudioFrame(struct.pack(f"<{n}h", *wave), RATE_HZ, 1, n)


async def beep():
    yield tone(9000, 0.5)


async def hum():
    frame = tone(3000, 0.1)
    while True:
        yield frame


class Helper(Agent):
    def __init__(self, kind: str) -> None:
        super().__init__(instructions="Help the caller.")
        self.kind = kind

    async def on_user_turn_completed(self, turn_ctx, new_message) -> None:
        if self.kind == "hook":
            await asyncio.sleep(0.7)
            self.session.say("Let me see.")
        elif self.kind == "recording":
            self.session.say("Beep.", audio=beep(), add_to_chat_ctx=False)

    async def llm_node(self, chat_ctx, tools, model_settings):
        if self.kind in ("node", "flush"):
            yield "Let me see. "
        if self.kind == "flush":
            yield FlushSentinel()
        if self.kind == "slow node":
            await asyncio.sleep(1.0)
        async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
            yield chunk

    @function_tool
    async def look_up(self, context: RunContext) -> str:
        """Looks up what the caller asks for."""
        if self.kind == "tool":
            context.session.say("Let me check that for you.")
        elif self.kind == "model in tool":
            context.session.generate_reply(instructions='Say: "One moment."', tool_choice="none")
        await asyncio.sleep(2)
        return "It is there."


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession(stt=deepgram.STT(), llm=openai.LLM(), tts=cartesia.TTS())
    await session.start(Helper(ctx.job.metadata), room=ctx.room)
    if ctx.job.metadata == "background":
        player = BackgroundAudioPlayer(ambient_sound=hum(), thinking_sound=beep())
        await player.start(room=ctx.room, agent_session=session)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
