"""Long instructions, and where a text that changes every turn is put among them.

A provider's prompt cache holds the beginning of a prompt up to its first changed byte. So what
changes goes last: ``end`` adds the time after the caller's words, ``head`` puts it before the
instructions and loses the cache. OpenAI caches by itself. Anthropic caches what is marked, which
the plugin does with ``caching="ephemeral"``; the published ``cache_control=`` does not exist.
"""

import json
import time
from collections.abc import AsyncIterable
from typing import Any

from _handbook import handbook
from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
)
from livekit.plugins import anthropic, cartesia, deepgram, openai
from vanilla import INSTRUCTIONS, turn_handling


def language_model(p: dict[str, Any]) -> llm.LLM:
    caching = p.get("agent.caching", "off")
    if p.get("llm.provider") != "anthropic":
        return openai.LLM(model=p.get("llm.model", "gpt-4o-mini"))
    model = p.get("llm.model", "claude-haiku-4-5")
    if caching == "as_published":  # TypeError
        return anthropic.LLM(model=model, cache_control={"type": "ephemeral"})
    if caching == "ephemeral":
        return anthropic.LLM(model=model, caching="ephemeral")
    return anthropic.LLM(model=model)


class Clerk(Agent):
    def __init__(self, p: dict[str, Any]) -> None:
        rules = handbook(int(p.get("agent.prompt_tokens", 0)))
        super().__init__(instructions=f"{INSTRUCTIONS}\n{rules}".strip())
        self._clock = p.get("agent.clock", "none")

    def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[Any]:
        # here, and not in on_user_turn_completed, where an edit would void the early reply
        now = time.strftime("It is %A, %H:%M:%S.", time.localtime(time.time()))
        chat_ctx = chat_ctx.copy()
        if self._clock == "head":
            changing = f"{now}\n{self.instructions}"
            chat_ctx.items[0] = llm.ChatMessage(role="system", content=[changing])
        elif self._clock == "end":
            chat_ctx.add_message(role="system", content=now)
        return Agent.default.llm_node(self, chat_ctx, tools, model_settings)


async def warm_up(model: llm.LLM, agent: Agent) -> None:
    """Has the instructions cached before the caller's first words, for the price of a call."""
    chat_ctx = llm.ChatContext.empty()
    chat_ctx.add_message(role="system", content=agent.instructions)
    chat_ctx.add_message(role="user", content="Hello.")
    async with model.chat(chat_ctx=chat_ctx) as stream:
        async for _ in stream:
            break


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = json.loads(ctx.job.metadata or "{}")
    agent, model = Clerk(p), language_model(p)
    session = AgentSession(
        stt=deepgram.STT(model="nova-3"),
        llm=model,
        tts=cartesia.TTS(model="sonic-3"),
        turn_handling=turn_handling(p),
    )
    await session.start(agent=agent, room=ctx.room)
    if p.get("agent.warm_up"):
        await warm_up(model, agent)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
