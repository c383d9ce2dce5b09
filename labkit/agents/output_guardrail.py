"""A guardrail between the LLM and the TTS: what it costs depends on where it waits.

``agent.guardrail`` is ``none``; ``whole`` (the whole reply is checked before any of it is spoken);
``sentence`` (each sentence is checked before it is spoken); ``early`` (the same, but in the LLM's
node, which runs before the turn is committed); or ``parallel`` (spoken at once, stopped if a check
fails). What is blocked before the TTS is not spoken, but stays in the transcript and the history;
only ``early`` keeps it out of those too. Runs in production with ``python output_guardrail.py
dev``.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentStateChangedEvent,
    JobContext,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
    tokenize,
)
from livekit.plugins import openai
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {"agent.guardrail": "none"}

GUARD = (
    "You are a guardrail for a voice agent. Block insults, advice on health or money, and personal "
    "data of others. Reply with one word only: allow or block."
)
INSTEAD = "I'm sorry, I can't help with that."

log = logging.getLogger("agent")


class Blocked(Exception):
    """A sentence may not be spoken."""


class Guardrail:
    """Asks an LLM whether a text may be spoken."""

    def __init__(self) -> None:
        self.model = openai.LLM(model="gpt-4o-mini")
        self.n_checks = 0

    async def allows(self, text: str) -> bool:
        if text.strip() == INSTEAD:
            return True  # or a strict guard would go round in circles
        self.n_checks += 1
        ctx = llm.ChatContext()
        ctx.add_message(role="system", content=GUARD)
        ctx.add_message(role="user", content=text)
        verdict = (await self.model.chat(chat_ctx=ctx).collect()).text
        return verdict.strip().lower() == "allow"


def split() -> tokenize.SentenceStream:
    """Cuts a streamed reply into sentences, as the TTS does."""
    return tokenize.blingfire.SentenceTokenizer(min_sentence_len=20).stream()


async def sentences(text: AsyncIterable[str]) -> AsyncIterator[str]:
    stream = split()

    async def push() -> None:
        async for piece in text:
            stream.push_text(piece)
        stream.end_input()

    pushing = asyncio.create_task(push())
    try:
        async for sentence in stream:
            yield f"{sentence.token} "
        await pushing
    finally:
        pushing.cancel()
        await stream.aclose()


async def whole(text: AsyncIterable[str]) -> AsyncIterator[str]:
    yield "".join([piece async for piece in text])


class Guarded(Agent):
    """Speaks only what the guardrail allows, or stops speaking it."""

    def __init__(self, how: str) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.how, self.guardrail = how, Guardrail()
        self._speaking_since = 0.0
        self._checks: set[asyncio.Task[None]] = set()

    async def on_enter(self) -> None:
        self.session.on("agent_state_changed", self._state)

    def _state(self, ev: AgentStateChangedEvent) -> None:
        self._speaking_since = time.perf_counter() if ev.new_state == "speaking" else 0.0

    async def _allowed(self, parts: AsyncIterator[str]) -> AsyncIterator[str]:
        """Passes on each part once it is allowed; later ones are checked meanwhile."""
        begun: asyncio.Queue[tuple[str, asyncio.Task[bool]] | None] = asyncio.Queue()

        async def check_all() -> None:
            async with asyncio.TaskGroup() as checks:
                async for part in parts:
                    begun.put_nowait((part, checks.create_task(self.guardrail.allows(part))))
            begun.put_nowait(None)

        checking = asyncio.create_task(check_all())
        checking.add_done_callback(lambda _: begun.put_nowait(None))
        try:
            while (item := await begun.get()) is not None:
                part, check = item
                if not await check:
                    yield INSTEAD
                    return
                yield part
            await checking
        finally:
            checking.cancel()

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterator[llm.ChatChunk | str]:
        chunks = Agent.default.llm_node(self, chat_ctx, tools, model_settings)
        if self.how != "early":
            async for chunk in chunks:
                yield chunk
            return
        others: list[llm.ChatChunk] = []  # tool calls and usage
        async for part in self._allowed(sentences(self._words(chunks, others))):
            yield part
        for chunk in others:
            yield chunk

    @staticmethod
    async def _words(chunks: Any, others: list[llm.ChatChunk]) -> AsyncIterator[str]:
        async for chunk in chunks:
            text = chunk if isinstance(chunk, str) else chunk.delta and chunk.delta.content
            if text:
                yield text
            elif isinstance(chunk, llm.ChatChunk):
                others.append(chunk)

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        if self.how == "whole":
            text = self._allowed(whole(text))
        elif self.how == "sentence":
            text = self._allowed(sentences(text))
        elif self.how == "parallel":
            text = self._checked_meanwhile(text)
        async for frame in Agent.default.tts_node(self, text, model_settings):
            yield frame

    async def _checked_meanwhile(self, text: AsyncIterable[str]) -> AsyncIterator[str]:
        """Passes on everything at once, and stops the reply when a sentence is not allowed."""
        stream = split()
        checking = asyncio.create_task(self._check_all(stream))
        self._checks.add(checking)
        checking.add_done_callback(self._checks.discard)
        try:
            async for piece in text:
                stream.push_text(piece)
                yield piece
        finally:
            stream.end_input()

    async def _check_all(self, stream: tokenize.SentenceStream) -> None:
        try:
            async with asyncio.TaskGroup() as checks:
                async for sentence in stream:
                    checks.create_task(self._check(sentence.token))
        except* Blocked:  # the first one cancels the other checks
            await self.session.interrupt()
            self.session.say(INSTEAD)

    async def _check(self, sentence: str) -> None:
        allowed = await self.guardrail.allows(sentence)
        if self._speaking_since:
            unguarded = time.perf_counter() - self._speaking_since
            log.info("guardrail", extra={"turn": {"unguarded_s": unguarded}})
        if not allowed:
            raise Blocked

    async def on_exit(self) -> None:
        for check in self._checks:
            check.cancel()
        log.info("guardrail", extra={"turn": {"checks": self.guardrail.n_checks}})


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    how = choice(p, "agent.guardrail", ("none", "whole", "sentence", "early", "parallel"))
    session = build_session(p)
    await session.start(agent=Guarded(how), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
