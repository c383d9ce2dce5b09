"""What the emulated chat services share: admission, the first token, pacing, and the log.

The time to the first token is a drawn wait (queueing and everything that does not depend on the
prompt) plus the uncached prompt tokens at the model's prefill rate, so a cache hit shortens it by
exactly what need not be prefilled. The answer then leaves in bursts.

Every request leaves events in the log of the call, with a common ``id``: a ``Request``, then a
``FirstToken``, then ``Completed``, or ``Cancelled`` if the client went away.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.answers import answer, warm_up
from labkit.providers.conversation import Message
from labkit.providers.generation import Generation, Wire, call_pieces, last_user, limited
from labkit.providers.pacing import Bucket, TokenPace, bursts
from labkit.providers.prompt_cache import Lookup
from labkit.providers.server import Emulator, RequestError
from labkit.providers.tool_calls import Tool
from labkit.world.events import Cancelled, Completed, FirstToken, Request, Role

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


class ChatEmulator(Emulator):
    """Base of the emulated chat services.

    Attributes:
        failures: HTTP statuses with which the next requests fail, one after another.
    """

    role = Role.LLM
    stops_with_client = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        warm_up()
        self.failures: deque[int] = deque()
        self._connections: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self._buckets: dict[tuple[str, ...], Bucket] = {}
        self._models: dict[str, str] = {}

    def reset(self) -> None:
        """Forgets rate limits and counters between two calls; pending failures stay."""
        super().reset()
        self._buckets.clear()

    def known_model(self, asked: str) -> str | None:
        """The profile's name of a model, also for a dated snapshot; ``None`` if unknown."""
        if asked not in self._models:
            names = self.profile.names("models")
            plain = _DATED.sub("", asked)
            self._models[asked] = next((n for n in (asked, plain) if n in names), "")
        return self._models[asked] or None

    def figure(self, model: str, name: str, default: Any = None) -> Any:
        """A model's figure, or ``default`` if the profile has none."""
        table = self.profile.table["models"][model]
        return self.profile.value("models", model, name) if name in table else default

    def bucket(self, kind: str, key: str, model: str) -> Bucket:
        """The allowance of one API key and model."""
        name = (kind, key, model)
        if name not in self._buckets:
            limit = float(self.profile.value("models", model, "limits", kind))
            self._buckets[name] = Bucket(limit)
        return self._buckets[name]

    def new_id(self, prefix: str, purpose: str = "response") -> str:
        """An id that is unique in the study and the same in every repetition."""
        return prefix + self.identifier(purpose).replace("-", "")[:24]

    def nth_on_connection(self, request: web.Request) -> int:
        """Which request this is on its TCP connection, from 1."""
        if request.transport is None:
            return 0
        nth = self._connections.get(request.transport, 0) + 1
        self._connections[request.transport] = nth
        return nth

    def generation(
        self,
        *,
        model: str,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        prompt_tokens: int,
        cache: Lookup,
        id_prefix: str,
        max_tokens: int | None,
        tool_choice: str = "auto",
        json_wanted: bool = False,
        tokens_per_piece: float = 1.0,
        min_tokens_per_s: float = 0.0,
        think: bool = False,
    ) -> Generation:
        """Decides what one request gets, and when.

        The draws are named by the turn, the number of tool results since the caller spoke and how
        often the same words were sent before, so they do not depend on other requests.
        """
        arrived_s, scene = asyncio.get_running_loop().time(), self.scene()
        found = answer(
            messages,
            tools,
            dialogues=scene.dialogues,
            tool_choice=tool_choice,
            json_wanted=json_wanted,
        )
        words, step = last_user(messages)
        key = (step, self.nth("request", step, words))
        texts = [call_pieces(call) for call in found.tool_calls] or [tokens.pieces(found.text)]
        pieces, cut = limited(texts, max_tokens, tokens_per_piece)
        wait_s = self.draw("models", model, "first_token", purpose="first_token", key=key)
        rate = float(self.figure(model, "prefill_tokens_per_s"))
        wait_s += max(prompt_tokens - cache.read, 0) / rate
        thinking_s = 0.0
        if think and "thinking" in self.profile.table["models"][model]:
            thinking_s = self.draw("models", model, "thinking", purpose="thinking", key=key)
        pace = self._pace(model, tokens_per_piece, min_tokens_per_s)
        plan = bursts(
            pace,
            sum(map(len, pieces)),
            scene.seed,
            f"{self.name}.pace",
            scene.call,
            scene.turn,
            *key,
        )
        return Generation(
            id=self.new_id(id_prefix),
            model=model,
            prompt_tokens=prompt_tokens,
            cache=cache,
            answer=found,
            pieces=pieces,
            cut=cut,
            tokens_per_piece=tokens_per_piece,
            arrived_s=arrived_s,
            wait_s=wait_s + thinking_s,
            bursts=plan,
            thought_tokens=round(thinking_s * float(self.figure(model, "tokens_per_s"))),
        )

    def _pace(self, model: str, tokens_per_piece: float, min_tokens_per_s: float) -> TokenPace:
        value = self.profile.value
        per_s = max(float(value("models", model, "tokens_per_s")), min_tokens_per_s)
        return TokenPace(
            tokens_per_s=per_s / tokens_per_piece,
            spread=float(value("pace", "spread")),
            burst_tokens=int(value("pace", "burst_tokens")),
            jitter=float(value("pace", "jitter")),
        )

    def log_request(
        self, generation: Generation, request: web.Request, messages: Sequence[Message], **data: Any
    ) -> None:
        """Logs that a request was admitted; ``data`` are further fields of the event."""
        self.log(
            Request(
                id=generation.id,
                model=generation.model,
                prompt_tokens=generation.prompt_tokens,
                cached_tokens=generation.cache.read,
                written_tokens=generation.cache.written,
                last_user=last_user(messages)[0],
                connection_requests=self.nth_on_connection(request),
                kind=generation.answer.kind,
                dialogue=generation.answer.dialogue,
                matched=generation.answer.turn,
                **data,
            )
        )

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
                    self.log(FirstToken(id=generation.id, tokens=burst.tokens))
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
                text="" if calls else "".join(generation.pieces[0]),
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


async def read_object(request: web.Request, complaint: str) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        RequestError: there is none; the service answers 400 with ``complaint``.
    """
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RequestError(400, complaint)
    return body


async def _sleep_until(loop: asyncio.AbstractEventLoop, due_s: float) -> None:
    if due_s > loop.time():
        await asyncio.sleep(due_s - loop.time())
