"""Several techniques in one agent, each as done right in its own study.

``agent.techniques`` names those to use, joined by ``+``; ``none`` leaves the SDK's defaults::

    endpointing     wait less when the turn detector is unsure
    eager_stt       an STT that announces an eager end of turn
    preemptive_tts  preemptive generation by the TTS too, before the turn is committed
    opener          begin the reply with a short sentence of its own
    routing         easy turns to a small LLM, chosen where the request is made
    short_turns     acknowledgements answered with audio that is already there
    cache           known questions answered from a semantic cache, with audio that is there

The default is the stack that the study of how they stack chose, under its default parameters.
"""

import json
from collections.abc import AsyncIterable
from typing import Any

from _answer_cache import AnswerCache
from _spoken_lines import SpokenLines, say_instead
from _turn_rules import words
from livekit.agents import (
    Agent,
    FlushSentinel,
    JobContext,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
)
from model_routing import Router, ask
from semantic_cache import prewarm
from short_turns import CLOSING, GO_ON, WELCOME, ShortTurnRule
from token_streaming import opener, splitting_tts
from vanilla import INSTRUCTIONS, build_llm, build_session

TECHNIQUES = (
    "endpointing",
    "eager_stt",
    "preemptive_tts",
    "opener",
    "routing",
    "short_turns",
    "cache",
)
PARAMETERS = {
    "agent.techniques": "endpointing+eager_stt+preemptive_tts+opener+short_turns+cache",
    "agent.light_model": "gpt-4.1-nano",
    "agent.min_sentence_len": 4,  # with opener
}
SIMILARITY = 0.8
"""From this similarity on a known answer is given, if the details agree too."""


class Stacked(Agent):
    """An agent that answers from what is there, and asks the model that will do for the rest.

    Args:
        tenant: Whose caller this is.
        lines: Sentences whose audio is kept.
        rule: Tells acknowledgements; None leaves them to the model.
        cache: Known questions; None leaves them to the model.
        router: Tells easy turns; None sends all to the session's model.
        light: The small model.
        opens: Whether a reply begins with a short sentence of its own.
    """

    def __init__(
        self,
        tenant: str,
        lines: SpokenLines,
        rule: ShortTurnRule | None,
        cache: AnswerCache | None,
        router: Router | None,
        light: llm.LLM,
        opens: bool,
    ) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.tenant, self.lines, self.rule, self.cache = tenant, lines, rule, cache
        self.router, self.light, self.opens = router, light, opens

    async def known_line(self, said: str, history: llm.ChatContext) -> str | None:
        """What can be said without asking a model."""
        if self.rule is not None and await self.rule.applies(said, history):
            return WELCOME if CLOSING & set(words(said)) else GO_ON
        found = await self.cache.find(said, self.tenant) if self.cache is not None else None
        sure = found is not None and found.agrees and found.similarity >= SIMILARITY
        return found.entry.answer if found is not None and sure else None

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        line = await self.known_line(new_message.text_content or "", turn_ctx)
        if line is not None:
            await say_instead(self, line, self.lines, new_message)

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[llm.ChatChunk | str | FlushSentinel]:
        said = [m.text_content or "" for m in chat_ctx.messages() if m.role == "user"]
        easy = self.router is not None and bool(said) and await self.router.is_light(said[-1])
        model = self.light if easy else self.session.llm
        assert isinstance(model, llm.LLM)
        async with ask(self, model, chat_ctx, tools, model_settings) as stream:
            async for chunk in opener(stream) if self.opens else stream:
                yield chunk


CHANGES: dict[str, dict[str, Any]] = {
    "endpointing": {"session": {"turn_handling": {"endpointing": {"max_delay": 1.0}}}},
    "eager_stt": {"stt": {"provider": "deepgram-flux", "eager_eot_threshold": 0.4}},
    "preemptive_tts": {
        "session": {"turn_handling": {"preemptive_generation": {"preemptive_tts": True}}}
    },
}
"""The options that a technique sets."""


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Nested options, those of ``over`` in the place of others."""
    both = {k: merged(base[k], v) for k, v in over.items() if isinstance(base.get(k), dict)}
    return base | over | both


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    named = p["agent.techniques"]
    techniques = [] if named == "none" else named.split("+")
    for name in techniques:
        if name not in TECHNIQUES:
            raise ValueError(f"agent.techniques: {name!r} must be one of {', '.join(TECHNIQUES)}")
    options: dict[str, Any] = {}
    for name in techniques:
        options = merged(options, CHANGES.get(name, {}))
    p = merged(options, p)  # what the job asks for comes first
    opens = "opener" in techniques
    parts = {"tts": splitting_tts(p, p["agent.min_sentence_len"])} if opens else {}
    session = build_session(p, **parts)
    tenant = json.loads(ctx.job.room.metadata or "{}").get("tenant", "")
    embedder, known = ctx.proc.userdata["embedder"], ctx.proc.userdata["known"]
    own = [e for e in known if e.tenant == tenant] if "cache" in techniques else []
    lines = SpokenLines()
    canned = (WELCOME, GO_ON) if "short_turns" in techniques else ()
    assert session.tts is not None
    await lines.learn(session.tts, [*canned, *(e.answer for e in own)])
    light = build_llm(p, model=p["agent.light_model"])
    if "routing" in techniques:
        light.prewarm()  # the session connects only to the model that it knows of
    agent = Stacked(
        tenant,
        lines,
        ShortTurnRule(embedder) if "short_turns" in techniques else None,
        AnswerCache(embedder, own) if own else None,
        Router(embedder) if "routing" in techniques else None,
        light,
        opens,
    )
    await session.start(agent=agent, room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
