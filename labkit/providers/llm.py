"""What the emulated chat services share: models, allowances, the first token, pacing, the log.

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
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.allowance import Bucket
from labkit.providers.answers import answer, warm_up
from labkit.providers.conversation import Answer, Message
from labkit.providers.generation import (
    Generation,
    Wishes,
    call_pieces,
    last_user,
    limited,
    stopped_at,
)
from labkit.providers.occasion import Occasion, messages_digest, occasion
from labkit.providers.pacing import TokenPace, bursts
from labkit.providers.playing import AnswerPlayer
from labkit.providers.prompt_cache import Lookup
from labkit.providers.recent import Recent
from labkit.providers.schemas import instance
from labkit.providers.server import RequestError
from labkit.providers.tool_calls import Tool
from labkit.world.events import Request, Role
from labkit.world.request_role import RequestRole
from labkit.world.scene import Spoken

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
_ACCOUNTS = 10_000
_THOUGHT = "The user said something that calls for a short, friendly answer. I will give it."


class ChatEmulator(AnswerPlayer):
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
        self._askers: Recent[tuple[int, str], int] = Recent(_ACCOUNTS)
        self._buckets: Recent[tuple[str, ...], Bucket] = Recent(_ACCOUNTS)
        self._names = frozenset(self.profile.names("models"))

    def reset(self) -> None:
        """Forgets rate limits, counters and prompts between two calls; pending failures stay."""
        super().reset()
        self._buckets.clear()
        self._askers.clear()
        for cache in self.caches():
            cache.reset()

    # -- what a provider says in its own way ------------------------------------------------------

    def caches(self) -> Sequence[Any]:
        """The service's prompt caches."""
        raise NotImplementedError

    def key(self, request: web.Request) -> str:
        """The caller's API key.

        Raises:
            RequestError: what the service answers before it reads the body, if it refuses.
        """
        raise NotImplementedError

    def model_body(self, name: str) -> dict[str, Any]:
        """What the service says of a model."""
        raise NotImplementedError

    def models_body(self, models: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
        """What the service says of all models."""
        raise NotImplementedError

    def no_model(self, name: str) -> RequestError:
        """The service's error for a model it does not have."""
        raise NotImplementedError

    # -- models ---------------------------------------------------------------------------------

    def model_routes(self, base: str) -> list[web.RouteDef]:
        """The routes that list the models, under a path."""
        return [
            web.get(f"{base}/models", self._list_models),
            web.get(f"{base}/models/{{model:.+}}", self._one_model),
        ]

    async def _list_models(self, request: web.Request) -> web.Response:
        self.key(request)
        self.nth_on_connection(request)
        models = [self.model_body(name) for name in sorted(self._names)]
        return web.json_response(self.models_body(models, request))

    async def _one_model(self, request: web.Request) -> web.Response:
        self.key(request)
        name = request.match_info["model"]
        if self.known_model(name) is None:
            raise self.no_model(name)
        return web.json_response(self.model_body(name))

    def known_model(self, asked: str) -> str | None:
        """The profile's name of a model, also for a dated snapshot; ``None`` if unknown."""
        if asked in self._names:
            return asked
        plain = _DATED.sub("", asked[-200:])
        return plain if plain in self._names else None

    def figure(self, model: str, name: str, default: Any = None) -> Any:
        """A model's figure, or ``default`` if the profile has none."""
        table = self.profile.table["models"][model]
        return self.profile.value("models", model, name) if name in table else default

    def bucket(self, kind: str, key: str, model: str) -> Bucket:
        """The allowance of one API key and model."""

        def full() -> Bucket:
            return Bucket(float(self.profile.value("models", model, "limits", kind)))

        return self._buckets.made((kind, key, model), full)

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
        wishes: Wishes,
        tokens_per_piece: float = 1.0,
        min_tokens_per_s: float = 0.0,
    ) -> Generation:
        """Decides what one request gets, and when.

        The draws are named by the request's role (see :mod:`labkit.providers.occasion`), so they do
        not depend on requests of other roles.
        """
        arrived_s, scene = asyncio.get_running_loop().time(), self.scene()
        found = answer(
            messages,
            tools,
            dialogues=scene.dialogues,
            tool_choice=wishes.tool_choice,
            json_wanted=wishes.json_wanted,
            parallel=wishes.parallel,
        )
        if not found.tool_calls:
            found = replace(found, text=_formed(found, wishes))
        text, stopped = stopped_at(found.text, wishes.stops)
        asked = occasion(messages, found.kind, scene)
        key = self._name(asked, messages)
        if found.text and asked.role not in (RequestRole.JUDGE, RequestRole.GUARD):
            name = key[:-1]  # a retry of the request is spoken as the first try would be
            scene.answers.append(Spoken(found.text, asked.turn, name))
        texts = [call_pieces(call) for call in found.tool_calls] or [tokens.pieces(text)]
        thought = [tokens.pieces(_THOUGHT)] if wishes.show_thought else []
        pieces, cut = limited([*thought, *texts], wishes.max_tokens, tokens_per_piece)
        draw = partial(self.draw, key=key, turn=asked.turn)
        wait_s = draw("models", model, "first_token", purpose="first_token")
        rate = float(self.figure(model, "prefill_tokens_per_s"))
        wait_s += max(prompt_tokens - cache.read, 0) / rate
        thinking_s = 0.0
        if wishes.think and "thinking" in self.profile.table["models"][model]:
            thinking_s = draw("models", model, "thinking", purpose="thinking")
        pace = self._pace(model, tokens_per_piece, min_tokens_per_s)
        plan = bursts(
            pace,
            sum(map(len, pieces)),
            scene.seed,
            f"{self.draws_as or self.name}.pace",
            scene.call,
            asked.turn,
            *key,
        )
        return Generation(
            id=self.new_id(id_prefix),
            role=asked.role,
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
            stopped=stopped,
            choices=wishes.choices,
            thought=len(thought),
        )

    def _name(self, asked: Occasion, messages: Sequence[Message]) -> tuple[int | str, ...]:
        """What names a request's draws within its turn."""
        name = (asked.role.value, *asked.key)
        if not asked.asker:
            return (*name, self.nth("request", *name))
        return (*name, self._asker(asked), self.nth("request", *name, messages_digest(messages)))

    def _asker(self, asked: Occasion) -> int:
        """Which of those who ask about the caller's words, in the order they appeared in a call."""
        if asked.turn < 0:  # a warm-up says nothing of who will ask
            return 0
        call = self.scene().call

        def next_one() -> int:
            return self._askers.put((call, ""), (self._askers.get((call, "")) or 0) + 1) - 1

        return self._askers.made((call, asked.asker), next_one)

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
                last_user=last_user(messages)[0],
                request_role=generation.role,
                connection_requests=self.nth_on_connection(request),
                kind=generation.answer.kind,
                dialogue=generation.answer.dialogue,
                **data,
            )
        )


def _formed(found: Answer, wishes: Wishes) -> str:
    """An answer in the form that the request wants."""
    ruled = found.kind == "ruling"
    if wishes.schema is not None:
        return json.dumps(instance(wishes.schema, "ok" if ruled else found.text))
    if wishes.json_wanted and not ruled:
        return json.dumps({"response": found.text})
    return found.text
