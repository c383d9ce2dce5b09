"""The emulated OpenAI service: chat completions, models and embeddings.

Request and response bodies, error forms, headers and caching follow OpenAI's API reference and
guides (2025 and 2026); speed and prices come from ``data/providers/openai.toml``.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from aiohttp import web

from labkit.providers.block_cache import BreakpointCache, BreakpointRules
from labkit.providers.embeddings import Embedder, encoded
from labkit.providers.generation import Generation
from labkit.providers.llm import ChatEmulator, read_object
from labkit.providers.openai.requests import KEEPS_S, Prompt, check, parse
from labkit.providers.openai.responses import streamed, usage_of, whole
from labkit.providers.prompt_cache import Lookup, PrefixCache, PrefixRules
from labkit.providers.server import RequestError


class OpenAIEmulator(ChatEmulator):
    """Speaks as ``api.openai.com`` does."""

    name = "openai"
    host = "api.openai.com"
    base_path = "/v1"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

        def figures(rules: str) -> dict[str, Any]:
            names = self.profile.names("cache", rules)
            return {name: self.profile.value("cache", rules, name) for name in names}

        self.prefixes = PrefixCache(PrefixRules(**figures("prefix")))
        self.breakpoints = BreakpointCache(BreakpointRules(**figures("breakpoint")))
        self._embedder = Embedder()

    def routes(self) -> list[web.RouteDef]:
        """The routes of the service that agents use."""
        return [
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/embeddings", self._embeddings),
            web.get("/v1/models", self._list_models),
            web.get("/v1/models/{model}", self._one_model),
            web.get("/v1/", self._root),
            web.get("/v1", self._root),
        ]

    def reset(self) -> None:
        """Forgets all state between two calls, the prompt caches included."""
        super().reset()
        self.prefixes.reset()
        self.breakpoints.reset()

    def finish_reason(self, generation: Generation) -> str:
        """``length``, ``tool_calls`` or ``stop``."""
        if generation.cut:
            return "length"
        return "tool_calls" if generation.answer.tool_calls else "stop"

    # -- errors ---------------------------------------------------------------------------------

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        fields = {"type": "invalid_request_error", "param": None, "code": error.code} | error.fields
        headers = {"x-request-id": self.new_id("req_", "error")} | error.headers
        body = {"error": {"message": error.message, **fields}}
        return web.json_response(body, status=error.status, headers=headers)

    def _key(self, request: web.Request) -> str:
        """The caller's API key.

        Raises:
            RequestError: what the service answers before it reads the body, if it refuses.
        """
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            text = (
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
            raise RequestError(401, text)
        if not self.authorized(key):
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
            text = (
                f"Incorrect API key provided: {shown}. You can find your API key at "
                "https://platform.openai.com/account/api-keys."
            )
            raise RequestError(401, text, "invalid_api_key")
        if self.failures:
            raise _failure(self.failures.popleft())
        return key

    # -- models ---------------------------------------------------------------------------------

    async def _root(self, request: web.Request) -> web.Response:
        raise RequestError(404, f"Invalid URL (GET {request.path})")

    async def _list_models(self, request: web.Request) -> web.Response:
        self._key(request)
        self.nth_on_connection(request)
        models = [self._model(name) for name in self.profile.names("models")]
        return web.json_response({"object": "list", "data": models})

    async def _one_model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        if self.known_model(name) is None:
            raise _no_model(name)
        return web.json_response(self._model(name))

    @staticmethod
    def _model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}

    # -- chat -----------------------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        key = self._key(request)
        body = await read_object(request, "We could not parse the JSON body of your request.")
        if not body.get("model"):
            raise RequestError(400, "you must provide a model parameter")
        model = self.known_model(str(body["model"]))
        if model is None or "first_token" not in self.profile.table["models"][model]:
            raise _no_model(str(body["model"]))
        prompt = parse(body)
        check(body, prompt, model, partial(self.figure, model))
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        headers = self._admit(key, model, prompt.token_count + (limit or 0))
        cache = self._cached(key, model, body, prompt)
        tier = self._tier(model, body)
        fast = tier in ("priority", "fast")
        generation = self.generation(
            model=model,
            messages=prompt.messages,
            tools=prompt.tools,
            prompt_tokens=prompt.token_count,
            cache=cache,
            id_prefix="chatcmpl-",
            max_tokens=limit,
            tool_choice=_tool_choice(body.get("tool_choice", "auto")),
            json_wanted=(body.get("response_format") or {}).get("type", "text") != "text",
            min_tokens_per_s=float(self.figure(model, "priority_tokens_per_s", 0)) if fast else 0,
            think=body.get("reasoning_effort", "medium") not in ("none", "minimal"),
        )
        stream = bool(body.get("stream"))
        self.log_request(
            generation,
            request,
            prompt.messages,
            tools=tuple(tool.name for tool in prompt.tools),
            stream=stream,
            service_tier=tier,
        )
        headers["openai-processing-ms"] = str(round(generation.wait_s * 1000))
        headers["x-request-id"] = self.new_id("req_", "request")
        chunk = {
            "id": generation.id,
            "object": "chat.completion.chunk" if stream else "chat.completion",
            "created": int(time.time()),
            "model": self.figure(model, "snapshot", body["model"]),
            "service_tier": tier,
            "system_fingerprint": "fp_emulated",
        }
        calls = [self.new_id("call_", "call") for _ in generation.answer.tool_calls]
        usage, reason = usage_of(generation), self.finish_reason(generation)
        if stream:
            with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            wire = streamed(generation, chunk, calls, reason, usage, with_usage)
            return await self.stream(request, generation, wire, headers)
        await self.play(generation)
        whole_body = whole(generation, chunk, calls, reason, usage)
        return web.json_response(whole_body, headers=headers)

    def _tier(self, model: str, body: dict[str, Any]) -> str:
        """The service tier really used."""
        asked = body.get("service_tier") or "default"
        if asked in ("priority", "fast") and not self.figure(model, "priority_tokens_per_s"):
            return "default"
        return "default" if asked in ("auto", "scale") else str(asked)

    def _admit(self, key: str, model: str, weight: int) -> dict[str, str]:
        """Takes a request from the minute's allowance; gives the headers that say so.

        Raises:
            RequestError: the allowance is short.
        """
        now_s = asyncio.get_running_loop().time()
        headers, short = {"openai-version": "2020-10-01"}, None
        for kind, name, amount in (("rpm", "requests", 1), ("tpm", "tokens", weight)):
            bucket = self.bucket(kind, key, model)
            wait_s = 0.0 if short else bucket.take(amount, now_s)
            headers[f"x-ratelimit-limit-{name}"] = str(int(bucket.per_minute))
            headers[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining())
            headers[f"x-ratelimit-reset-{name}"] = _span(bucket.full_in_s())
            if wait_s > 0:
                short = (name, kind.upper(), bucket, amount, wait_s)
        if short is None:
            return headers
        name, unit, bucket, amount, wait_s = short
        used = int(bucket.per_minute) - bucket.remaining()
        text = (
            f"Rate limit reached for {model} on {name} per min ({unit}): Limit "
            f"{int(bucket.per_minute)}, Used {used}, Requested {amount}. "
            f"Please try again in {_span(wait_s)}. "
            "Visit https://platform.openai.com/account/rate-limits to learn more."
        )
        headers["retry-after"] = str(max(1, round(wait_s)))
        headers["retry-after-ms"] = str(max(1, round(wait_s * 1000)))
        raise RequestError(429, text, "rate_limit_exceeded", headers=headers, type=name)

    def _cached(self, key: str, model: str, body: dict[str, Any], prompt: Prompt) -> Lookup:
        now_s = asyncio.get_running_loop().time()
        scope, cache_key = f"{key}\0{model}", str(body.get("prompt_cache_key") or "")
        if self.figure(model, "cache") == "breakpoint":
            explicit = (body.get("prompt_cache_options") or {}).get("mode") == "explicit"
            return self.breakpoints.lookup(
                f"{scope}\0{cache_key}", prompt.blocks, now_s, explicit_only=explicit
            )
        keep_s = KEEPS_S[body.get("prompt_cache_retention") or "in_memory"]
        return self.prefixes.lookup(scope, prompt.ids, now_s, key=cache_key, keep_s=keep_s)

    # -- embeddings -----------------------------------------------------------------------------

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        self._key(request)
        return await encoded(self, self._embedder, request)


def _no_model(name: str) -> RequestError:
    text = f"The model `{name}` does not exist or you do not have access to it."
    return RequestError(404, text, "model_not_found")


def _failure(status: int) -> RequestError:
    """An ordered failure, in the words of the service."""
    if status == 429:
        text = "You exceeded your current quota, please check your plan and billing details."
        return RequestError(429, text, "insufficient_quota", type="insufficient_quota")
    text = "The server had an error while processing your request. Sorry about that!"
    if status == 503:
        text = "The engine is currently overloaded, please try again later"
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return RequestError(status, text, type=kind)


def _tool_choice(choice: Any) -> str:
    if isinstance(choice, dict):
        return str((choice.get("function") or {}).get("name", "required"))
    return str(choice or "auto")


def _span(seconds: float) -> str:
    """A time span as OpenAI's headers write it: ``120ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 0)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(seconds // 60)}m{int(seconds % 60)}s"
