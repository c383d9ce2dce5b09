"""An agent whose hook and tool take as long as its parameters say."""

import asyncio
import json

from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    WorkerOptions,
    cli,
    function_tool,
    inference,
)
from livekit.plugins import cartesia, deepgram, openai

PARAMETERS = {"agent.hook_s": 0.0, "agent.tool_s": 0.3, "agent.case": ""}


class SlowHook(Agent):
    def __init__(self, p: dict) -> None:
        super().__init__(instructions="You are the voice assistant of a furniture shop.")
        self.p = p

    async def on_user_turn_completed(self, turn_ctx, new_message) -> None:
        if self.p["agent.hook_s"]:
            await asyncio.sleep(self.p["agent.hook_s"])

    @function_tool
    async def lookup_order(self, order_id: str) -> dict:
        """Finds an order by its number and says where it is."""
        await asyncio.sleep(self.p["agent.tool_s"])
        return {"status": "on its way"}


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = AgentSession(
        stt=deepgram.STT(model="nova-3"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(model="sonic-3"),
        vad=inference.VAD(model="silero", **p.get("vad", {})),
        turn_handling=p.get("session", {}).get("turn_handling", {}),
    )
    await session.start(agent=SlowHook(p), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
