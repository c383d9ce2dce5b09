"""Acknowledgements ("okay", "thanks") get a pre-recorded answer, or a small model's.

``agent.answer`` chooses: ``canned`` plays one of two lines whose audio is kept, ``light`` asks the
small model, ``as_published`` tries to, in a way that drops the turn. ``agent.rule`` tells what an
acknowledgement is: ``phrases`` (nothing but listed words), ``length`` (at most ``agent.max_words``)
or ``classifier`` (probability from ``agent.threshold``). A "yes" that answers the agent's own
question is none: ``agent.after_question`` lets the rule apply there all the same.
"""

import json
import logging
from collections.abc import AsyncIterable
from typing import Any

from _embedder import Embedder
from _spoken_lines import SpokenLines, say_instead
from _turn_rules import ACKNOWLEDGEMENT, TurnClassifier, is_acknowledgement, is_short, words
from livekit.agents import (
    Agent,
    JobContext,
    JobProcess,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
)
from model_routing import ask
from vanilla import INSTRUCTIONS, build_llm, build_session, choice

PARAMETERS = {
    "agent.answer": "canned",
    "agent.rule": "phrases",
    "agent.max_words": 4,
    "agent.threshold": 0.7,
    "agent.after_question": False,
    "agent.light_model": "gpt-4.1-nano",
}
WELCOME, GO_ON = "You're welcome.", "Is there anything else I can do for you?"
CLOSING = frozenset(("thanks", "thank", "bye", "goodbye"))

logger = logging.getLogger("agent")


class ShortTurnRule:
    """Tells which turns are acknowledgements; see the module's first lines for ``p``."""

    def __init__(self, embedder: Embedder, p: dict[str, Any] = PARAMETERS) -> None:
        self._rule = choice(p, "agent.rule", ("phrases", "length", "classifier"))
        self._max_words, self._threshold = p["agent.max_words"], p["agent.threshold"]
        self._after_question = p["agent.after_question"]
        self._classifier = TurnClassifier(embedder)

    async def applies(self, text: str, history: llm.ChatContext) -> bool:
        replies = [m.text_content or "" for m in history.messages() if m.role == "assistant"]
        if replies and replies[-1].rstrip().endswith("?") and not self._after_question:
            return False
        if self._rule == "phrases":
            return is_acknowledgement(text)
        if self._rule == "length":
            return is_short(text, self._max_words)
        found = await self._classifier.probabilities(text)
        return found[ACKNOWLEDGEMENT] >= self._threshold


class CannedAgent(Agent):
    """Answers acknowledgements with audio that is already there."""

    def __init__(self, rule: ShortTurnRule, lines: SpokenLines) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.rule, self.lines = rule, lines

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        said = new_message.text_content or ""
        short = await self.rule.applies(said, turn_ctx)
        logger.info("rule", extra={"turn": {"short": short}})
        if short:
            line = WELCOME if CLOSING & set(words(said)) else GO_ON
            await say_instead(self, line, self.lines, new_message)


class LightAgent(Agent):
    """Sends acknowledgements to the small model and the rest to the session's own."""

    def __init__(self, rule: ShortTurnRule, light: llm.LLM) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.rule, self.light = rule, light

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[llm.ChatChunk]:
        said = [m.text_content or "" for m in chat_ctx.messages() if m.role == "user"]
        short = bool(said) and await self.rule.applies(said[-1], chat_ctx)
        logger.info("rule", extra={"turn": {"short": short}})
        chosen = self.light if short else self.session.llm
        assert isinstance(chosen, llm.LLM)
        async with ask(self, chosen, chat_ctx, tools, model_settings) as stream:
            async for chunk in stream:
                yield chunk


class AsPublished(Agent):
    """As published: ``Agent.llm`` has no setter, so the hook fails and the turn is dropped."""

    def __init__(self, rule: ShortTurnRule, light: llm.LLM) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.rule, self.light = rule, light

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        short = await self.rule.applies(new_message.text_content or "", turn_ctx)
        logger.info("rule", extra={"turn": {"short": short}})
        if short:
            self.llm = self.light  # type: ignore[misc]


def prewarm(proc: JobProcess) -> None:
    proc.userdata["embedder"] = Embedder()


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    answer = choice(p, "agent.answer", ("canned", "light", "as_published"))
    session = build_session(p)
    rule = ShortTurnRule(ctx.proc.userdata["embedder"], p)
    agent: Agent
    if answer == "canned":
        lines = SpokenLines()
        assert session.tts is not None
        await lines.learn(session.tts, (WELCOME, GO_ON))
        agent = CannedAgent(rule, lines)
    else:
        light = build_llm(p, model=p["agent.light_model"])
        light.prewarm()  # the session connects only to the model that it knows of
        agent = LightAgent(rule, light) if answer == "light" else AsPublished(rule, light)
    await session.start(agent=agent, room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
