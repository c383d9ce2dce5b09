"""LLM tokens streamed into the TTS: what is sent first, and how early.

Run it with ``python token_streaming.py dev``. The SDK streams by default and splits the text into
sentences; the TTS gets a sentence when it is complete. ``agent.variant`` chooses what the LLM's
text goes through on its way:

buffered  The whole reply is collected first; what streaming is compared with.
streamed  Nothing is done: the default.
opener    The reply begins with a word or two of its own sentence.
flushed   The same, and the opener is spoken at once, as a segment of its own.

``agent.min_sentence_len`` is the shortest sentence that is spoken on its own; shorter ones wait for
the next. With the SDK's 20 characters an opener waits too.
"""

import json
from collections.abc import AsyncIterable
from typing import Any

from livekit.agents import (
    Agent,
    FlushSentinel,
    JobContext,
    ModelSettings,
    WorkerOptions,
    cli,
    llm,
    tokenize,
    tts,
)
from vanilla import INSTRUCTIONS, build_session, build_tts, choice

PARAMETERS = {"agent.variant": "streamed", "agent.min_sentence_len": 20}

OPENER = "Okay."

Chunks = AsyncIterable[llm.ChatChunk | str | FlushSentinel]


def has_words(chunk: llm.ChatChunk | str | FlushSentinel) -> bool:
    """Whether a chunk holds text to be spoken, rather than a tool call or usage figures."""
    if isinstance(chunk, llm.ChatChunk):
        return bool(chunk.delta and chunk.delta.content)
    return isinstance(chunk, str) and bool(chunk)


async def buffered(chunks: Chunks) -> Chunks:
    held = [chunk async for chunk in chunks]
    for chunk in held:
        yield chunk


async def streamed(chunks: Chunks) -> Chunks:
    async for chunk in chunks:
        yield chunk


async def opener(chunks: Chunks, flush: bool = False) -> Chunks:
    # not before the LLM's first word: until then it may still call a tool, or fail
    begun = False
    async for chunk in chunks:
        if not begun and has_words(chunk):
            begun = True
            yield f"{OPENER} "
            if flush:
                yield FlushSentinel()
        yield chunk


async def flushed(chunks: Chunks) -> Chunks:
    async for chunk in opener(chunks, flush=True):
        yield chunk


VARIANTS = {f.__name__: f for f in (buffered, streamed, opener, flushed)}


class Assistant(Agent):
    def __init__(self, variant: str) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self._shape = VARIANTS[variant]

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> Chunks:
        chunks = Agent.default.llm_node(self, chat_ctx, tools, model_settings)
        async for chunk in self._shape(chunks):
            yield chunk


def splitting_tts(p: dict[str, Any], shortest: float) -> tts.TTS:
    """A TTS that speaks sentences from so many characters on by themselves."""
    split = tokenize.blingfire.SentenceTokenizer(min_sentence_len=int(shortest))
    return build_tts(p, tokenizer=split)


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = build_session(p, tts=splitting_tts(p, p["agent.min_sentence_len"]))
    variant = choice(p, "agent.variant", VARIANTS)
    await session.start(agent=Assistant(variant), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
