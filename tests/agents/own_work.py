"""An agent whose own hook, node and tools take time, each in the way that a parameter names."""

import asyncio
import json
import logging
import time
from typing import Any

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli, function_tool, llm
from livekit.plugins import cartesia, deepgram, openai

PARAMETERS = {"agent.does": "nothing", "agent.sleep_s": 0.4}
OPTIONS = ("session.turn_handling.preemptive_generation",)

log = logging.getLogger("agent")


async def judged(session: AgentSession) -> None:
    """Waits for the whole of an LLM's ruling, at most nine seconds."""
    question = llm.ChatContext.empty()
    question.add_message(role="user", content="Is this fine?")

    async def ask() -> None:
        async with session.llm.chat(chat_ctx=question) as stream:
            async for _ in stream:
                pass

    await asyncio.wait_for(ask(), 9)


class Busy(Agent):
    def __init__(self, does: str, sleep_s: float) -> None:
        super().__init__(instructions="You are the phone assistant of a furniture shop.")
        self.does, self.sleep_s = does, sleep_s

    @function_tool
    async def lookup_order(self, order_id: str) -> dict[str, Any]:
        """Finds an order by its number and says where it is.

        Args:
            order_id: The order number, four digits.
        """
        if self.does == "tool":
            await asyncio.sleep(self.sleep_s)
            time.sleep(0.2)  # noqa: ASYNC251
        return {"status": "on its way"}

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        began = time.perf_counter()
        if self.does == "sleep":
            await asyncio.sleep(self.sleep_s)
        elif self.does == "block":
            time.sleep(0.25)  # noqa: ASYNC251
            await asyncio.gather(asyncio.to_thread(time.sleep, 0.15), asyncio.sleep(0.1))
        elif self.does == "judge":
            await judged(self.session)
        elif self.does == "wait":
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.2)
        elif self.does == "say":
            await self.session.say("One moment, please.")
        elif self.does == "poll":
            while time.perf_counter() - began < 0.2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        elif self.does == "leave":
            self.left = asyncio.create_task(self._later())
        log.info("hook", extra={"turn": {"hook_s": time.perf_counter() - began}})

    async def _later(self) -> None:
        began = time.perf_counter()
        await asyncio.sleep(0.3)
        log.info("later", extra={"turn": {"later_s": time.perf_counter() - began}})

    async def llm_node(self, chat_ctx: Any, tools: Any, model_settings: Any) -> Any:
        if self.does == "node":
            await asyncio.sleep(0.3)
        async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
            yield chunk


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = AgentSession(
        stt=deepgram.STT(model="nova-3"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=cartesia.TTS(model="sonic-3"),
        **p.get("session", {}),
    )
    await session.start(agent=Busy(p["agent.does"], p["agent.sleep_s"]), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
