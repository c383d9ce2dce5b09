"""Questions that were answered before are answered from a cache, without the LLM.

``agent.variant`` chooses the wiring: ``done_right``, or ``as_published``, which says the cached
answer and then the LLM's as well. The tenant comes with the room's metadata, where whoever
dispatches the call puts it: ``{"tenant": "acme"}``.
"""

import json
import logging
from pathlib import Path
from typing import Any

from _answer_cache import AnswerCache, Entry, Found
from _embedder import Embedder
from _spoken_lines import SpokenLines, say_instead
from livekit.agents import (
    Agent,
    JobContext,
    JobProcess,
    WorkerOptions,
    cli,
    llm,
)
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {
    "agent.variant": "done_right",
    "agent.threshold": 0.8,
    "agent.guard": True,
    "agent.by_tenant": True,
    "agent.cached_audio": False,
}

KNOWN = Path(__file__).with_name("known_answers.json")
"""Questions with their answers, tenant by tenant: a list of tables with the keys of ``Entry``."""

logger = logging.getLogger("agent")


class CachingAgent(Agent):
    """An agent with a cache in front of its LLM.

    Args:
        cache: What is known.
        tenant: Whose caller this is.
        p: ``agent.threshold`` is the similarity from which a known answer is given, and
            ``agent.guard`` asks for the same numbers, dates, names and negations as well.
        lines: Answers whose audio is known.
    """

    def __init__(
        self, cache: AnswerCache, tenant: str, p: dict[str, Any], lines: SpokenLines
    ) -> None:
        super().__init__(instructions=f"{INSTRUCTIONS} You answer for {tenant}.")
        self.cache, self.tenant, self.lines = cache, tenant, lines
        self._threshold = p["agent.threshold"]
        self._guard = p["agent.guard"]

    async def find(self, question: str) -> Found | None:
        """The known answer that fits a question, if there is one."""
        found = await self.cache.find(question, self.tenant)
        near = found is not None and found.similarity >= self._threshold
        hit = found if found and near and (found.agrees or not self._guard) else None
        facts: dict[str, Any] = {
            "hit": hit is not None,
            "similarity": found.similarity if found else 0.0,
        }
        if hit:
            facts |= {"hit_tenant": hit.entry.tenant, "hit_question": hit.entry.question}
        logger.info("cache", extra={"turn": facts})
        return hit


class DoneRight(CachingAgent):
    """The cached answer takes the place of the LLM's."""

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        hit = await self.find(new_message.text_content or "")
        if hit is not None:
            await say_instead(self, hit.entry.answer, self.lines, new_message)


class AsPublished(CachingAgent):
    """As published: nothing stops the reply that the turn leads to, so both are spoken."""

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        hit = await self.find(new_message.text_content or "")
        if hit is not None:
            self.session.interrupt()
            await self.session.say(hit.entry.answer)


VARIANTS: dict[str, type[CachingAgent]] = {"done_right": DoneRight, "as_published": AsPublished}


def prewarm(proc: JobProcess) -> None:
    proc.userdata["embedder"] = Embedder()
    proc.userdata["known"] = [Entry(**e) for e in json.loads(KNOWN.read_text(encoding="utf-8"))]


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    tenant = json.loads(ctx.job.room.metadata or "{}").get("tenant", "")
    variant = choice(p, "agent.variant", VARIANTS)
    by_tenant = p["agent.by_tenant"]
    known = [e for e in ctx.proc.userdata["known"] if e.tenant == tenant or not by_tenant]
    cache = AnswerCache(ctx.proc.userdata["embedder"], known, by_tenant=by_tenant)
    session, lines = build_session(p), SpokenLines()
    if p["agent.cached_audio"] and session.tts is not None:
        await lines.learn(session.tts, [e.answer for e in known])
    await session.start(agent=VARIANTS[variant](cache, tenant, p, lines), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
