"""Playing a language model's answer: each burst when it is due, and what the log says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from labkit.providers.generation import Generation, Wire
from labkit.providers.server import Emulator
from labkit.world.events import Cancelled, Completed, FirstToken


class AnswerPlayer(Emulator):
    """Base of the emulated chat services: what happens once an answer is decided."""

    async def stream(
        self, request: web.Request, generation: Generation, wire: Wire, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Sends an answer as server-sent events, each burst in one write."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", **headers}
        )

        async def write(start: int, end: int) -> None:
            body = b"".join(wire.pieces[start:end])
            if start == 0:
                await response.prepare(request)
                body = wire.begin + body
            if end == len(wire.pieces):
                # Clients wait for the end of the body after the last event, so it follows at once.
                body += wire.end
            if body:
                await response.write(body)

        try:
            await self.play(generation, write)
        except ConnectionError:
            return response  # the client is gone; the log says so
        await response.write_eof()
        return response

    async def play(
        self, generation: Generation, write: Callable[[int, int], Awaitable[None]] | None = None
    ) -> None:
        """Plays an answer on time and logs it.

        Args:
            generation: What to play.
            write: Called at each burst with the numbers of its first piece and of the piece after
                its last; an answer that is not streamed goes out when it is complete.
        """
        loop = asyncio.get_running_loop()
        first_s = generation.arrived_s + generation.wait_s
        try:
            for i, burst in enumerate(generation.bursts):
                await _sleep_until(loop, first_s + burst.after_s)
                if i == 0:
                    generation.cache.commit(loop.time())
                    pace = generation.pace()
                    self.log(FirstToken(id=generation.id, tokens=burst.tokens, pace=pace))
                if write is not None:
                    await write(generation.sent, generation.sent + burst.tokens)
                generation.sent += burst.tokens
        except (asyncio.CancelledError, ConnectionError):
            generated = generation.output_tokens(generation.sent)
            usd = self.usd(generation, generated)
            self.log(Cancelled(id=generation.id, output_tokens=generated, usd=usd))
            raise
        calls = [
            {"name": c.name, "arguments": dict(c.arguments)} for c in generation.answer.tool_calls
        ]
        self.log(
            Completed(
                id=generation.id,
                output_tokens=generation.output_tokens(),
                finish_reason=self.finish_reason(generation),
                text="" if calls else "".join(generation.said[0]),
                tool_calls=tuple(calls),
                usd=self.usd(generation, generation.output_tokens()),
            )
        )

    def finish_reason(self, generation: Generation) -> str:
        """Why the answer ends, in the provider's words."""
        raise NotImplementedError

    def usd(self, generation: Generation, output_tokens: int) -> float:
        """What the provider charges for a request that produced ``output_tokens`` so far."""

        def price(name: str) -> float:
            prices = self.profile.table["models"][generation.model]["price"]
            other = "input" if name not in prices else name
            return float(self.profile.value("models", generation.model, "price", other))

        cache = generation.cache
        plain = max(generation.prompt_tokens - cache.read - cache.written, 0)
        total = plain * price("input") + cache.read * price("cached")
        total += (cache.written - cache.written_1h) * price("cache_write")
        total += cache.written_1h * price("cache_write_1h")
        return (total + (output_tokens + generation.thought_tokens) * price("output")) / 1e6


async def _sleep_until(loop: asyncio.AbstractEventLoop, due_s: float) -> None:
    if due_s > loop.time():
        await asyncio.sleep(due_s - loop.time())
