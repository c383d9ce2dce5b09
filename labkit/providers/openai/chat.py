"""What the services that speak OpenAI's chat protocol share: chat completions and models.

Request and response bodies, error forms, headers and caching follow OpenAI's API reference and
guides (2025 and 2026); speed and prices come from ``data/providers/openai.toml``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.block_cache import BreakpointCache, BreakpointRules
from labkit.providers.bodies import NotJson, checked, decoded, read_body
from labkit.providers.generation import Generation, Wishes
from labkit.providers.llm import ChatEmulator
from labkit.providers.openai.access import bearer, error_response
from labkit.providers.openai.allowances import taken
from labkit.providers.openai.checks import check, check_length
from labkit.providers.openai.prompt import KEEPS_S, Prompt, parse, texts_of
from labkit.providers.openai.refusals import (
    failure_of,
    no_model,
    refusal_of,
    refused,
    wrong_type,
)
from labkit.providers.openai.requests import CHAT, ChatBody, Choice, ResponseFormat
from labkit.providers.openai.responses import streamed, usage_of, whole
from labkit.providers.prompt_cache import Lookup, PrefixCache, PrefixRules
from labkit.providers.server import RequestError

_MOST_BYTES = 32 << 20  # assumption: as Anthropic documents; OpenAI publishes no limit
_LARGE_BYTES = 200_000
CHAT_ID = "chatcmpl-"
"""How the ids of chat answers begin."""


@dataclass
class Admitted:
    """A request that is to be answered.

    Attributes:
        generation: The answer.
        body: The request, checked.
        tier: The service tier really used.
        model: What the answer calls the model.
        headers: Headers of the answer.
    """

    generation: Generation
    body: ChatBody
    tier: str
    model: str
    headers: dict[str, str]


class ChatService(ChatEmulator):
    """Base of the services that speak as OpenAI's chat endpoint does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        CHAT.rebuild()  # once in a process, so that no request waits for it

        def figures(rules: str) -> dict[str, Any]:
            names = self.profile.names("cache", rules)
            return {name: self.profile.value("cache", rules, name) for name in names}

        self.prefixes = PrefixCache(PrefixRules(**figures("prefix")))
        self.breakpoints = BreakpointCache(BreakpointRules(**figures("breakpoint")))

    def routes(self) -> list[web.RouteDef]:
        """Chat and models."""
        chat = web.post(f"{self.base_path}/chat/completions", self._chat)
        return [chat, *self.model_routes(self.base_path)]

    def caches(self) -> tuple[PrefixCache, BreakpointCache]:
        """The prompt caches of the older and of the newer models."""
        return self.prefixes, self.breakpoints

    def finish_reason(self, generation: Generation) -> str:
        """``length``, ``tool_calls`` or ``stop``."""
        if generation.cut:
            return "length"
        return "tool_calls" if generation.answer.tool_calls else "stop"

    # -- errors ---------------------------------------------------------------------------------

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return error_response(error, self.new_id("req_", "error"))

    def key(self, request: web.Request) -> str:
        """The key of an ``Authorization: Bearer`` header, unless a failure was ordered."""
        key = bearer(self, request)
        if self.failures:
            raise self.failure()
        return key

    def failure(self) -> RequestError:
        """The next ordered failure."""
        return failure_of(self.failures.popleft())

    # -- models ---------------------------------------------------------------------------------

    def no_model(self, name: str) -> RequestError:
        """404 ``model_not_found``."""
        return no_model(name)

    def nearest_model(self, asked: str) -> str | None:
        """The model whose figures one without its own is given; ``None`` refuses it."""
        return None

    def model_body(self, name: str) -> dict[str, Any]:
        """A model object."""
        return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}

    def models_body(self, models: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
        """A list object."""
        return {"object": "list", "data": models}

    def unpacked(self, request: web.Request, raw: bytes) -> Any:
        """What a request's body says.

        Raises:
            NotJson: it is in no form that this service reads.
        """
        return decoded(raw)

    async def _read(self, request: web.Request) -> tuple[str, dict[str, Any], str, bool]:
        """Key, body and model of a request, and whether the body is large.

        Raises:
            RequestError: the key, the JSON or the model is refused.
        """
        key = self.key(request)
        too_large = RequestError(413, "Request body is too large.", type="invalid_request_error")
        raw = await read_body(request, _MOST_BYTES, too_large)
        try:
            body = self.unpacked(request, raw)
        except NotJson:
            body = None
        if not isinstance(body, dict):
            raise RequestError(400, "We could not parse the JSON body of your request.")
        asked = body.get("model")
        if asked is None or asked == "":
            raise RequestError(400, "you must provide a model parameter")
        if not isinstance(asked, str):
            raise wrong_type("model", "a string", asked)
        return key, body, asked, len(raw) > _LARGE_BYTES

    # -- chat -----------------------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        key, raw, asked, large = await self._read(request)
        if raw.get("messages") is None:
            text = "Missing required parameter: 'messages'."
            raise refused(text, "messages", "missing_required_parameter")
        got = await self.admit(request, key, raw, asked, large=large)
        generation, body, headers = got.generation, got.body, got.headers
        stream = bool(body.get("stream"))
        chunk = {
            "id": generation.id,
            "object": "chat.completion.chunk" if stream else "chat.completion",
            "created": int(time.time()),
            "model": got.model,
            "service_tier": got.tier,
            "system_fingerprint": "fp_emulated",
        }
        calls = [self.new_id("call_", "call") for _ in generation.answer.tool_calls]
        usage, reason = usage_of(generation), self.finish_reason(generation)
        likely = (body.get("top_logprobs") or 0) if body.get("logprobs") else None
        if stream:
            with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            wire = streamed(generation, chunk, calls, reason, usage, with_usage, likely)
            return await self.stream(request, generation, wire, headers)
        await self.play(generation)
        whole_body = whole(generation, chunk, calls, reason, usage, likely)
        return web.json_response(whole_body, headers=headers)

    async def admit(
        self,
        request: web.Request,
        key: str,
        raw: dict[str, Any],
        asked: str,
        *,
        large: bool,
        id_prefix: str = CHAT_ID,
    ) -> Admitted:
        """Checks a chat request, takes it from the allowance and decides its answer.

        Raises:
            RequestError: the service would refuse it.
        """
        body = checked(CHAT, self.read_body(raw), refusal_of)
        model = self.known_model(asked) or self.nearest_model(asked)
        if model is None or "first_token" not in self.profile.table["models"][model]:
            raise self.no_model(asked)
        if large:
            figure = self.figures_of(model)
            most = int(figure("context_tokens"))
            check_length(body, await tokens.weighed(texts_of(body), most), 0, figure)
        prompt = parse(body)
        self.check(body, prompt, model, chat=id_prefix == CHAT_ID)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        choices = body.get("n") or 1
        headers = self.taken(key, model, prompt.token_count + (limit or 0) * choices)
        cache = self._cached(key, model, body, prompt)
        tier = self._tier(model, body)
        fast = tier in ("priority", "fast")
        form = body.get("response_format") or {"type": "text"}
        stop = body.get("stop") or ()
        parallel = body.get("parallel_tool_calls")
        generation = self.generation(
            model=model,
            messages=prompt.messages,
            tools=prompt.tools,
            prompt_tokens=prompt.token_count,
            cache=cache,
            id_prefix=id_prefix,
            wishes=Wishes(
                max_tokens=limit,
                tool_choice=_tool_choice(body.get("tool_choice")),
                parallel=parallel is not False,
                json_wanted=form["type"] != "text",
                schema=_schema(form),
                stops=[stop] if isinstance(stop, str) else stop,
                choices=choices,
                think=(body.get("reasoning_effort") or self.figure(model, "effort", "medium"))
                not in ("none", "minimal"),
            ),
            min_tokens_per_s=float(self.figure(model, "priority_tokens_per_s", 0)) if fast else 0,
        )
        self.log_request(
            generation,
            request,
            prompt.messages,
            tools=tuple(tool.name for tool in prompt.tools),
            stream=bool(body.get("stream")),
            service_tier=tier,
        )
        headers["openai-processing-ms"] = str(round(generation.wait_s * 1000))
        headers["x-request-id"] = self.new_id("req_", "request")
        name = self.figure(model, "snapshot", asked)
        return Admitted(generation, body, tier, name, headers)

    def taken(self, key: str, model: str, weight: int) -> dict[str, str]:
        """Takes a request from the minute's allowance; gives the headers that say so.

        Args:
            key: The API key.
            model: The model's name in the profile.
            weight: Tokens of the prompt, and of the longest answer if it was limited.

        Raises:
            RequestError: the allowance is short.
        """
        return taken(self, key, model, weight)

    def read_body(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The fields of a request that are checked and used."""
        return raw

    def figures_of(self, model: str) -> Callable[..., Any]:
        """Gives a model's figures by name."""
        return partial(self.figure, model)

    def check(self, body: ChatBody, prompt: Prompt, model: str, *, chat: bool) -> None:
        """Checks what depends on the model.

        Args:
            body: The request.
            prompt: What was made of it.
            model: The model's name in the profile.
            chat: Whether it was asked for on the chat endpoint itself.

        Raises:
            RequestError: the service would answer 400.
        """
        check(body, prompt, model, self.figures_of(model), chat=chat)

    def _tier(self, model: str, body: ChatBody) -> str:
        """The service tier really used."""
        asked = body.get("service_tier") or "default"
        if asked in ("priority", "fast") and not self.figure(model, "priority_tokens_per_s"):
            return "default"
        return "default" if asked in ("auto", "scale") else str(asked)

    def _cached(self, key: str, model: str, body: ChatBody, prompt: Prompt) -> Lookup:
        if self.figure(model, "cache") == "none":
            return Lookup()
        now_s = asyncio.get_running_loop().time()
        scope, cache_key = f"{key}\0{model}", str(body.get("prompt_cache_key") or "")
        if self.figure(model, "cache") == "breakpoint":
            explicit = (body.get("prompt_cache_options") or {}).get("mode") == "explicit"
            return self.breakpoints.lookup(
                f"{scope}\0{cache_key}", prompt.blocks, now_s, explicit_only=explicit
            )
        keep_s = KEEPS_S[body.get("prompt_cache_retention") or "in_memory"]
        return self.prefixes.lookup(scope, prompt.ids, now_s, key=cache_key, keep_s=keep_s)


def _tool_choice(choice: str | Choice | None) -> str:
    return choice["function"]["name"] if isinstance(choice, dict) else choice or "auto"


def _schema(form: ResponseFormat) -> dict[str, Any] | None:
    """The schema that the answer must follow, if one is given."""
    named = form.get("json_schema") if form["type"] == "json_schema" else None
    return (named.get("schema") or {}) if named else None
