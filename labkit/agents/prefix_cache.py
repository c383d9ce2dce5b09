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
from livekit.agents import Agent, JobContext, ModelSettings, WorkerOptions, cli, llm
from vanilla import INSTRUCTIONS, build_llm, build_session, choice

PARAMETERS = {
    "agent.caching": "off",
    "agent.clock": "none",
    "agent.prompt_tokens": 0,
    "agent.warm_up": False,
}
CACHING: dict[str, dict[str, Any]] = {
    "off": {},
    "ephemeral": {"caching": "ephemeral"},
    "as_published": {"cache_control": {"type": "ephemeral"}},  # TypeError
}


def caching_llm(p: dict[str, Any]) -> llm.LLM:
    marks = CACHING[choice(p, "agent.caching", CACHING)]
    marked = p.get("llm", {}).get("provider") == "anthropic"
    return build_llm(p, **marks) if marked else build_llm(p)


class Clerk(Agent):
    def __init__(self, p: dict[str, Any]) -> None:
        rules = handbook(int(p["agent.prompt_tokens"]))
        super().__init__(instructions=f"{INSTRUCTIONS}\n{rules}".strip())
        self._clock = p["agent.clock"]

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
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    agent, model = Clerk(p), caching_llm(p)
    session = build_session(p, llm=model)
    await session.start(agent=agent, room=ctx.room)
    if p["agent.warm_up"]:
        await warm_up(model, agent)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
