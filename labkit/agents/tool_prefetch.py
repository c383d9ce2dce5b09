"""A tool that runs before the LLM asks for it: as published, or keyed, gated and cancelled.

``agent.prefetch`` chooses: ``none``; ``as_published`` (begun in the hook, arguments ignored, kept
across turns); ``hook`` (done right, begun when the turn is committed); ``interim`` (done right,
begun on the transcript while the caller still speaks). Only look-ups are begun on a guess, never
anything that books. Runs in production with ``python tool_prefetch.py dev``.
"""

import asyncio
import json
import logging
import time
from typing import Any

from _order_desk import Backend, Guess, Guesser
from livekit.agents import Agent, JobContext, WorkerOptions, cli, function_tool, llm
from livekit.agents.voice import UserInputTranscribedEvent
from vanilla import build_session, choice

PARAMETERS = {"agent.prefetch": "interim", "agent.threshold": 0.85, "agent.tool_s": 0.6}

INSTRUCTIONS = (
    "You are a friendly voice assistant of a furniture shop and its parcel service. Answer in one "
    "to three short spoken sentences, without lists, markup or emoji. Write numbers as words."
)
MAX_AGE_S = 5.0
"""An older result is not served: the order may have moved on."""

log = logging.getLogger("agent")


class Desk(Agent):
    """Answers about orders and parcels; runs each tool when the LLM asks for it."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self.backend = backend
        self.begun = self.used = 0
        self._committed_at = 0.0

    @function_tool
    async def lookup_order(self, order_id: str) -> dict[str, Any]:
        """Finds an order by its number and says where it is.

        Args:
            order_id: The order number, four digits.
        """
        return await self._asked("lookup_order", order_id)

    @function_tool
    async def track_parcel(self, tracking: str) -> dict[str, Any]:
        """Says where a parcel is.

        Args:
            tracking: Tracking number, two letters and six digits.
        """
        return await self._asked("track_parcel", tracking)

    @function_tool
    async def start_return(self, order_id: str, item: str) -> dict[str, Any]:
        """Books a return for one item of an order.

        Args:
            order_id: The order number, four digits.
            item: The item to send back.
        """
        booking = {"return": "booked", "pickup": "Friday", "refund_usd": 39}
        return await self.backend.write(order_id=order_id, item=item, **booking)

    @function_tool
    async def redeliver(self, tracking: str, day: str) -> dict[str, Any]:
        """Plans another delivery.

        Args:
            tracking: Tracking number, two letters and six digits.
            day: Day wanted.
        """
        return await self.backend.write(tracking=tracking, day=day, window="09:00-13:00")

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        self._committed_at = time.perf_counter()

    async def _asked(self, tool: str, number: str) -> dict[str, Any]:
        began = time.perf_counter()
        result = await self.find(tool, number)
        waited = {
            "number": number,
            "room_s": began - self._committed_at,
            "wait_s": time.perf_counter() - began,
        }
        log.info("tool", extra={"turn": {"tool": tool, **waited}})
        return result

    async def find(self, tool: str, number: str) -> dict[str, Any]:
        return await self.backend.find(number)

    async def on_exit(self) -> None:
        self.tell()

    def tell(self, **facts: Any) -> None:
        """Logs the call's totals so far."""
        totals = {"begun": self.begun, "used": self.used, "backend_calls": self.backend.n_calls}
        log.info("prefetch", extra={"turn": {**totals, **facts}})


class AsPublished(Desk):
    """One task for whatever comes: no confidence, no arguments, no cancellation."""

    task: asyncio.Task[dict[str, Any]] | None = None

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        await super().on_user_turn_completed(turn_ctx, new_message)
        text = (new_message.text_content or "").lower()
        if "order" in text or "parcel" in text:
            self.task = asyncio.create_task(self.backend.find(text))
            self.begun += 1
            self.tell()

    async def find(self, tool: str, number: str) -> dict[str, Any]:
        if self.task is None:
            return await super().find(tool, number)
        self.used += 1
        self.tell()
        return await self.task

    async def on_exit(self) -> None:
        self.tell(leaked=int(self.task is not None and not self.task.done()))


class Prefetching(Desk):
    """Results begun on a guess, kept by tool and number for the turn they were begun in."""

    def __init__(self, backend: Backend, threshold: float, on_interim: bool) -> None:
        super().__init__(backend)
        self.threshold, self.on_interim = threshold, on_interim
        self._guess, self._said = Guesser(), ""
        self._tasks: dict[tuple[str, str], tuple[float, asyncio.Task[dict[str, Any]]]] = {}

    async def on_enter(self) -> None:
        if self.on_interim:
            self.session.on("user_input_transcribed", self._heard)

    def _heard(self, ev: UserInputTranscribedEvent) -> None:
        # a turn may come in several final pieces; what follows them is not final yet
        said = f"{self._said} {ev.transcript}"
        if ev.is_final:
            self._said = said
        self._begin(self._guess(said))

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        await super().on_user_turn_completed(turn_ctx, new_message)
        self._said = ""
        guess = self._guess(new_message.text_content or "")
        wanted = (guess.tool, guess.number) if guess else None
        for key, (began, _) in list(self._tasks.items()):
            if key != wanted or time.perf_counter() - began > MAX_AGE_S:
                self._drop(key)
        self._begin(guess)
        self.tell(confidence=guess.confidence if guess else 0.0)

    def _begin(self, guess: Guess | None) -> None:
        if guess is None or guess.confidence < self.threshold:
            return
        key = (guess.tool, guess.number)
        if key not in self._tasks:
            task = asyncio.create_task(self.backend.find(guess.number))
            self._tasks[key] = (time.perf_counter(), task)
            self.begun += 1
            self.tell()

    async def find(self, tool: str, number: str) -> dict[str, Any]:
        began, task = self._tasks.pop((tool, number), (0.0, None))
        if task is None or time.perf_counter() - began > MAX_AGE_S:
            return await super().find(tool, number)
        self.used += 1
        self.tell()
        return await task

    def _drop(self, key: tuple[str, str]) -> None:
        _, task = self._tasks.pop(key)
        task.cancel()

    async def on_exit(self) -> None:
        if self.on_interim:
            self.session.off("user_input_transcribed", self._heard)
        tasks = [task for _, task in self._tasks.values()]
        for key in list(self._tasks):
            self._drop(key)
        await asyncio.gather(*tasks, return_exceptions=True)
        self.tell(leaked=sum(not task.done() for task in tasks))


def build_agent(p: dict[str, Any]) -> Desk:
    backend = Backend(float(p["agent.tool_s"]))
    how = choice(p, "agent.prefetch", ("none", "as_published", "hook", "interim"))
    if how == "none":
        return Desk(backend)
    if how == "as_published":
        return AsPublished(backend)
    return Prefetching(backend, float(p["agent.threshold"]), how == "interim")


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = build_session(p)
    await session.start(agent=build_agent(p), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
