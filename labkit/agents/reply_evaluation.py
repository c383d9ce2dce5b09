"""Judging replies: awaited in the turn or in the background, and spans sent to a collector.

``agent.judge`` is ``none``, ``inline`` (the judge of the last reply is awaited in the turn's hook)
or ``background``. ``agent.spans`` is ``none``, ``batch`` (sent by a thread, some at a time) or
``simple`` (each span sent, and waited for, where it ends: on the event loop). ``agent.mapping``
names a span mapping: ``traceai`` needs the package ``traceai-livekit``. Runs in production with
``python reply_evaluation.py dev``.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Sequence

from livekit.agents import (
    Agent,
    ConversationItemAddedEvent,
    JobContext,
    WorkerOptions,
    cli,
    llm,
    telemetry,
)
from livekit.plugins import openai
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from vanilla import INSTRUCTIONS, build_session, choice

PARAMETERS = {"agent.judge": "none", "agent.spans": "none", "agent.mapping": "none"}

COLLECTOR = "https://otlp.example.com/v1/traces"
JUDGE = (
    "You judge the replies of a voice agent: correct, polite, brief. Respond with JSON only, "
    'like {"score": 1.0}, from 0 to 1.'
)
FLUSH_S = 3.0
"""How long the end of a call waits for its spans; the job process may take 10 s to end."""

log = logging.getLogger("agent")


class Judge:
    """Scores replies with an LLM."""

    def __init__(self) -> None:
        self.model = openai.LLM(model="gpt-4o-mini")
        self.n_scored = 0

    async def score(self, reply: str) -> float:
        ctx = llm.ChatContext()
        ctx.add_message(role="system", content=JUDGE)
        ctx.add_message(role="user", content=f"The reply: {reply}")
        text = (await self.model.chat(chat_ctx=ctx).collect()).text
        self.n_scored += 1
        return float(json.loads(text)["score"])


class Judged(Agent):
    """Has each of its replies judged."""

    def __init__(self, how: str) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.how, self.judge = how, Judge()
        self._tasks: set[asyncio.Task[float]] = set()

    async def on_enter(self) -> None:
        if self.how == "background":
            self.session.on("conversation_item_added", self._added)

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        replies = [m for m in turn_ctx.messages() if m.role == "assistant"]
        if self.how == "inline" and replies:
            await self.judge.score(replies[-1].text_content or "")

    def _added(self, ev: ConversationItemAddedEvent) -> None:
        item = ev.item
        if isinstance(item, llm.ChatMessage) and item.role == "assistant":
            task = asyncio.create_task(self.judge.score(item.text_content or ""))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def on_exit(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FLUSH_S)
        for task in self._tasks:
            task.cancel()
        log.info("judge", extra={"turn": {"scored": self.judge.n_scored}})


class Ended(SpanProcessor):
    """Counts spans as they end."""

    count = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.count += 1


class Sent(SpanExporter):
    """Counts spans as the collector takes them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter, self.count = exporter, 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self.exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.count += len(spans)
        return result

    def shutdown(self) -> None:
        self.exporter.shutdown()


def span_exporter(mapping: str) -> SpanExporter:
    if mapping == "traceai":
        from traceai_livekit import MappedHTTPSpanExporter

        return MappedHTTPSpanExporter(endpoint=COLLECTOR, headers={"x-api-key": "none"})
    return OTLPSpanExporter(endpoint=COLLECTOR)


def trace_to_collector(ctx: JobContext, how: str, mapping: str) -> None:
    """Sends the session's spans to the collector; those still queued go out as the call ends."""
    processors = {"batch": BatchSpanProcessor, "simple": SimpleSpanProcessor}
    ended, sent = Ended(), Sent(span_exporter(mapping))
    provider = TracerProvider()
    provider.add_span_processor(ended)
    provider.add_span_processor(processors[how](sent))
    telemetry.set_tracer_provider(provider)

    async def flush() -> None:
        n_sent = sent.count
        try:
            # not on the event loop: this waits for the collector
            await asyncio.wait_for(asyncio.to_thread(provider.force_flush), FLUSH_S)
            n_sent = sent.count
        except TimeoutError:
            log.warning("the collector did not take the last spans in time")
        facts = {"spans": ended.count, "spans_lost": ended.count - n_sent}
        log.info("spans", extra={"turn": facts})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(provider.shutdown), FLUSH_S)

    ctx.add_shutdown_callback(flush)


async def watch_loop(tick_s: float = 0.05) -> None:
    """Logs how long the event loop stood still so far, in all and at most."""
    total = longest = 0.0
    while True:
        began = time.perf_counter()
        await asyncio.sleep(tick_s)
        late = time.perf_counter() - began - tick_s
        if late > 0.01:
            total, longest = total + late, max(longest, late)
            log.info("stall", extra={"turn": {"stalled_s": total, "longest_stall_s": longest}})


async def entrypoint(ctx: JobContext) -> None:
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    spans = choice(p, "agent.spans", ("none", "batch", "simple"))
    how = choice(p, "agent.judge", ("none", "inline", "background"))
    if spans != "none":
        trace_to_collector(ctx, spans, p["agent.mapping"])
    await ctx.connect()
    session = build_session(p)
    await session.start(agent=Judged(how), room=ctx.room)
    watch = asyncio.create_task(watch_loop())

    async def stop_watching() -> None:
        watch.cancel()

    ctx.add_shutdown_callback(stop_watching)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
