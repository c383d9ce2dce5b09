"""Ways to change the history between turns, and their effect on the prompt cache.

``stable`` lets it grow, as the SDK does. ``note_in_hook`` and ``note`` renew a line about the call
before the history on every turn, the one where most examples do it, the other just before the
request. ``truncated`` keeps the last messages, ``summarised`` writes older ones into a digest now
and then, while nobody waits.
"""

import asyncio
import json
from collections.abc import AsyncIterable
from typing import Any

from _handbook import handbook
from livekit.agents import (
    Agent,
    ConversationItemAddedEvent,
    JobContext,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
)
from prefix_cache import caching_llm
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {
    "agent.history": "stable",
    "agent.keep_messages": 6,
    "agent.digest_words": 12,
    "agent.prompt_tokens": 0,
    "agent.caching": "off",
}
HISTORIES = ("stable", "note_in_hook", "note", "truncated", "summarised")
DIGEST = "digest"


def add_note(chat_ctx: llm.ChatContext) -> None:
    """Puts a line that changes every turn between the instructions and the history."""
    said = sum(m.role == "user" for m in chat_ctx.messages())
    note = llm.ChatMessage(role="system", content=[f"The caller has spoken {said} times so far."])
    chat_ctx.items.insert(1, note)


def digested(chat_ctx: llm.ChatContext, keep: int, words: int) -> llm.ChatContext:
    """The history with all but the last messages put into one: the beginnings of what was said."""
    talk = [m for m in chat_ctx.messages() if m.role in ("user", "assistant")]
    older, recent = talk[:-keep], talk[-keep:]
    lines = [m.text_content or "" for m in older if m.id == DIGEST]
    for m in older:
        if m.id != DIGEST:
            who = "Caller" if m.role == "user" else "I"
            lines.append(f"{who}: {' '.join((m.text_content or '').split()[:words])}")
    shorter = llm.ChatContext.empty()
    shorter.add_message(role="assistant", content="\n".join(lines), id=DIGEST)
    shorter.items.extend(recent)
    return shorter


class Desk(Agent):
    def __init__(self, p: dict[str, Any]) -> None:
        rules = handbook(int(p["agent.prompt_tokens"]))
        super().__init__(instructions=f"{INSTRUCTIONS}\n{rules}".strip())
        self._history = choice(p, "agent.history", HISTORIES)
        self._keep = int(p["agent.keep_messages"])
        self._words = int(p["agent.digest_words"])
        self._digesting: asyncio.Task[None] | None = None

    async def on_enter(self) -> None:
        if self._history == "summarised":
            self.session.on("conversation_item_added", self._item_added)

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        if self._history == "note_in_hook":
            add_note(turn_ctx)

    def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[Any]:
        chat_ctx = chat_ctx.copy()
        if self._history == "note":
            add_note(chat_ctx)
        elif self._history == "truncated":
            chat_ctx.truncate(max_items=self._keep)
        return Agent.default.llm_node(self, chat_ctx, tools, model_settings)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        """After a reply, and only every few turns, because each digest voids what was cached."""
        talk = [m for m in self.chat_ctx.messages() if m.role in ("user", "assistant")]
        if getattr(event.item, "role", "") == "assistant" and len(talk) >= 2 * self._keep:
            self._digesting = asyncio.create_task(self._digest())

    async def _digest(self) -> None:
        await self.update_chat_ctx(digested(self.chat_ctx, self._keep, self._words))


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = build_session(p, llm=caching_llm(p))
    await session.start(agent=Desk(p), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
