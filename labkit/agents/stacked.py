"""Several techniques in one agent, each as the study of its own does it right.

``agent.techniques`` names those to use, joined by ``+``; ``none`` leaves the SDK's defaults::

    endpointing     wait less when the turn detector doubts
    eager_stt       a recogniser that announces the probable end of a turn
    preemptive_tts  synthesize the prepared reply before the turn is committed
    opener          begin the reply with a short sentence of its own
    routing         easy turns to a small model, chosen where the request is made
    short_turns     acknowledgements answered with audio that is already there
    cache           known questions answered from a semantic cache, with audio that is there

The default is what the study of how they stack recommends, under its default parameters.
"""

import json
from collections.abc import AsyncIterable, Iterable
from typing import Any

from _answer_cache import AnswerCache, Entry
from _embedder import Embedder
from _spoken_lines import SpokenLines
from _turn_rules import words
from livekit.agents import (
    NOT_GIVEN,
    Agent,
    FlushSentinel,
    JobContext,
    JobProcess,
    ModelSettings,
    StopResponse,
    WorkerOptions,
    cli,
    llm,
)
from model_routing import Router
from semantic_cache import KNOWN
from short_turns import CLOSING, GO_ON, WELCOME, ShortTurnRule
from token_streaming import build_session as build_splitting_session
from token_streaming import opener
from vanilla import INSTRUCTIONS, build_session, language_model

TECHNIQUES = (
    "endpointing",
    "eager_stt",
    "preemptive_tts",
    "opener",
    "routing",
    "short_turns",
    "cache",
)
ADOPTED = "endpointing"
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
        if line is None:
            return
        self.session.interrupt()  # the reply that is being prepared ahead is not wanted
        history = self.chat_ctx.copy()
        history.insert(new_message)  # StopResponse would leave it out
        await self.update_chat_ctx(history)
        self.session.say(line, audio=self.lines.audio(line) or NOT_GIVEN)
        raise StopResponse()

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[llm.ChatChunk | str | FlushSentinel]:
        said = [m.text_content or "" for m in chat_ctx.messages() if m.role == "user"]
        easy = self.router is not None and bool(said) and await self.router.is_light(said[-1])
        model = self.light if easy else self.session.llm
        assert isinstance(model, llm.LLM)
        options = self.session.conn_options.llm_conn_options
        async with model.chat(
            chat_ctx=chat_ctx,
            tools=tools,
            tool_choice=model_settings.tool_choice,
            conn_options=options,
        ) as stream:
            async for chunk in opener(stream) if self.opens else stream:
                yield chunk


def settings_of(techniques: Iterable[str], p: dict[str, Any]) -> dict[str, Any]:
    """The options that the techniques change; what was asked for by name comes first."""
    changes: dict[str, dict[str, Any]] = {
        "endpointing": {"endpointing.max_delay_s": 1.0},
        "eager_stt": {"stt.provider": "deepgram-flux", "stt.eager_eot_threshold": 0.4},
        "preemptive_tts": {"preemptive.tts": True},
        "opener": {"agent.min_sentence_len": 4},
    }
    chosen: dict[str, Any] = {}
    for name in techniques:
        chosen |= changes.get(name, {})
    return chosen | p


def prewarm(proc: JobProcess) -> None:
    proc.userdata["embedder"] = Embedder()
    proc.userdata["known"] = [Entry(**e) for e in json.loads(KNOWN.read_text(encoding="utf-8"))]


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = json.loads(ctx.job.metadata or "{}")
    named = p.get("agent.techniques", ADOPTED)
    techniques = [] if named == "none" else named.split("+")
    for name in techniques:
        if name not in TECHNIQUES:
            raise ValueError(f"agent.techniques: no {name!r}; there are {', '.join(TECHNIQUES)}")
    p = settings_of(techniques, p)
    session = (build_splitting_session if "opener" in techniques else build_session)(p)
    tenant = json.loads(ctx.job.room.metadata or "{}").get("tenant", "")
    embedder, known = ctx.proc.userdata["embedder"], ctx.proc.userdata["known"]
    own = [e for e in known if e.tenant == tenant] if "cache" in techniques else []
    lines = SpokenLines()
    canned = (WELCOME, GO_ON) if "short_turns" in techniques else ()
    assert session.tts is not None
    await lines.learn(session.tts, [*canned, *(e.answer for e in own)])
    light = language_model({**p, "llm.model": p.get("agent.light_model", "gpt-4.1-nano")})
    if "routing" in techniques:
        light.prewarm()  # the session connects only to the model that it knows of
    agent = Stacked(
        tenant,
        lines,
        ShortTurnRule(p, embedder) if "short_turns" in techniques else None,
        AnswerCache(embedder, own) if own else None,
        Router(p, embedder) if "routing" in techniques else None,
        light,
        "opener" in techniques,
    )
    await session.start(agent=agent, room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
