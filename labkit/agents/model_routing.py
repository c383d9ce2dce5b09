"""Easy turns go to a small LLM, hard ones to a large one; three places to decide which.

``llm_node`` is the one that works: it is where the request is made, whether the turn has been
committed or the reply is generated preemptively. ``on_user_turn_completed`` comes too late for
that: with preemptive generation, the SDK's default, the reply under way is the previous model's.
"""

import json
import logging
from collections.abc import AsyncIterable
from typing import Any

from _embedder import Embedder
from _handbook import handbook
from _turn_rules import HEAVY, TurnClassifier, is_acknowledgement, is_short
from livekit.agents import (
    Agent,
    JobContext,
    JobProcess,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
)
from livekit.agents.metrics import LLMMetrics
from vanilla import INSTRUCTIONS, build_llm, build_session, choice

PARAMETERS = {
    "agent.where": "llm_node",
    "agent.rule": "classifier",
    "agent.threshold": 0.3,
    "agent.max_words": 6,
    "agent.light_model": "gpt-4.1-nano",
    "agent.prompt_tokens": 0,
}
RULES = ("classifier", "length", "phrases", "always", "never")

logger = logging.getLogger("agent")


class Router:
    """Tells which turns the small model may answer.

    Args:
        embedder: For the classifier.
        p: ``agent.rule`` is ``classifier`` (the large model's probability stays below
            ``agent.threshold``), ``length`` (at most ``agent.max_words`` words), ``phrases``
            (listed acknowledgements), ``always`` or ``never``.
    """

    def __init__(self, embedder: Embedder, p: dict[str, Any] = PARAMETERS) -> None:
        self.rule = choice(p, "agent.rule", RULES)
        self._threshold, self._max_words = p["agent.threshold"], p["agent.max_words"]
        self._classifier = TurnClassifier(embedder)

    async def is_light(self, text: str) -> bool:
        if self.rule in ("always", "never"):
            return self.rule == "always"
        if self.rule == "length":
            return is_short(text, self._max_words)
        if self.rule == "phrases":
            return is_acknowledgement(text)
        return (await self._classifier.probabilities(text))[HEAVY] < self._threshold


def ask(
    agent: Agent,
    model: llm.LLM,
    chat_ctx: llm.ChatContext,
    tools: list[llm.Tool],
    model_settings: ModelSettings,
) -> llm.LLMStream:
    """The request that ``Agent.default.llm_node`` makes, to a model of one's choice."""
    return model.chat(
        chat_ctx=chat_ctx,
        tools=tools,
        tool_choice=model_settings.tool_choice,
        conn_options=agent.session.conn_options.llm_conn_options,
    )


class RoutingAgent(Agent):
    """An agent with two models.

    Args:
        router: Says which turns are easy.
        light: The small model.
        heavy: The large one; also the session's.
        instructions: The prompt.
    """

    def __init__(
        self, router: Router, light: llm.LLM, heavy: llm.LLM, instructions: str = INSTRUCTIONS
    ) -> None:
        super().__init__(instructions=instructions)
        self.router, self.light, self.heavy = router, light, heavy
        for model in {light, heavy}:
            model.on("metrics_collected", self._served)

    @staticmethod
    def _served(metrics: LLMMetrics) -> None:
        if metrics.metadata:
            logger.info("served", extra={"turn": {"served_model": metrics.metadata.model_name}})

    async def choose(self, text: str) -> llm.LLM:
        chosen = self.light if await self.router.is_light(text) else self.heavy
        logger.info("routed", extra={"turn": {"wanted_model": chosen.model}})
        return chosen


class RoutedInNode(RoutingAgent):
    """Done right: the model is chosen where the request is made, for the turn that is asked."""

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[llm.ChatChunk]:
        said = [m.text_content or "" for m in chat_ctx.messages() if m.role == "user"]
        chosen = await self.choose(said[-1]) if said else self.heavy
        async with ask(self, chosen, chat_ctx, tools, model_settings) as stream:
            async for chunk in stream:
                yield chunk


class RoutedByUpdate(RoutingAgent):
    """Swaps the model with the public ``update_options``: the next request uses it."""

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        self.update_options(llm=await self.choose(new_message.text_content or ""))


class RoutedAsPublished(RoutingAgent):
    """As published: ``Agent.llm`` has no setter, so the hook fails and the turn is dropped."""

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        self.llm = await self.choose(new_message.text_content or "")  # type: ignore[misc]


WHERE: dict[str, type[RoutingAgent]] = {
    "llm_node": RoutedInNode,
    "update_options": RoutedByUpdate,
    "as_published": RoutedAsPublished,
}


def prewarm(proc: JobProcess) -> None:
    proc.userdata["embedder"] = Embedder()


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    where = choice(p, "agent.where", WHERE)
    session = build_session(p)
    heavy = session.llm
    light = build_llm(p, model=p["agent.light_model"])
    if where == "llm_node":
        light.prewarm()  # the session connects only to the model that it knows of
    rules = handbook(int(p["agent.prompt_tokens"]))
    instructions = f"{INSTRUCTIONS}\n{rules}".strip()
    router = Router(ctx.proc.userdata["embedder"], p)
    agent = WHERE[where](router, light, heavy, instructions)
    await session.start(agent=agent, room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
