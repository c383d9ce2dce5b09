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

from labkit.providers import tokens
from labkit.providers.allowance import Bucket, admitted
from labkit.providers.block_cache import BreakpointCache, BreakpointRules
from labkit.providers.bodies import NotJson, checked, decoded, read_body
from labkit.providers.embeddings import Embedder
from labkit.providers.generation import Generation, Wishes
from labkit.providers.llm import ChatEmulator
from labkit.providers.openai.checks import check, check_length
from labkit.providers.openai.embeddings import encoded
from labkit.providers.openai.prompt import KEEPS_S, Prompt, parse, texts_of
from labkit.providers.openai.refusals import (
    failure_of,
    no_model,
    refusal_of,
    refused,
    span_text,
    wrong_type,
)
from labkit.providers.openai.requests import CHAT, EMBEDDINGS, ChatBody, Choice, ResponseFormat
from labkit.providers.openai.responses import streamed, usage_of, whole
from labkit.providers.prompt_cache import Lookup, PrefixCache, PrefixRules
from labkit.providers.server import RequestError

_MOST_BYTES = 32 << 20  # assumption: as Anthropic documents; OpenAI publishes no limit
_LARGE_BYTES = 200_000


class OpenAIEmulator(ChatEmulator):
    """Speaks as ``api.openai.com`` does."""

    name = "openai"
    host = "api.openai.com"
    base_path = "/v1"
    client = 'openai.OpenAI(base_url="http://{at}/v1", api_key="any")'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for schema in (CHAT, EMBEDDINGS):
            schema.rebuild()  # once in a process, so that no request waits for it

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
            *self.model_routes(),
        ]

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
        fields = {"type": "invalid_request_error", "param": None, "code": error.code} | error.fields
        headers = {"x-request-id": self.new_id("req_", "error")} | error.headers
        body = {"error": {"message": error.message, **fields}}
        return web.json_response(body, status=error.status, headers=headers)

    def key(self, request: web.Request) -> str:
        """The key of an ``Authorization: Bearer`` header."""
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
            raise failure_of(self.failures.popleft())
        return key

    # -- models ---------------------------------------------------------------------------------

    def no_model(self, name: str) -> RequestError:
        """404 ``model_not_found``."""
        return no_model(name)

    def model_body(self, name: str) -> dict[str, Any]:
        """A model object."""
        return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}

    def models_body(self, models: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
        """A list object."""
        return {"object": "list", "data": models}

    async def _read(self, request: web.Request) -> tuple[str, dict[str, Any], str, bool]:
        """Key, body and model of a request, and whether the body is large.

        Raises:
            RequestError: the key, the JSON or the model is refused.
        """
        key = self.key(request)
        too_large = RequestError(413, "Request body is too large.", type="invalid_request_error")
        raw = await read_body(request, _MOST_BYTES, too_large)
        try:
            body = decoded(raw)
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
        body = checked(CHAT, raw, refusal_of)
        model = self.known_model(asked)
        if model is None or "first_token" not in self.profile.table["models"][model]:
            raise self.no_model(asked)
        figure = partial(self.figure, model)
        if large:
            most = int(figure("context_tokens"))
            check_length(body, await tokens.weighed(texts_of(body), most), 0, figure)
        prompt = parse(body)
        check(body, prompt, model, figure)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        choices = body.get("n") or 1
        headers = self._admit(key, model, prompt.token_count + (limit or 0) * choices)
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
            id_prefix="chatcmpl-",
            wishes=Wishes(
                max_tokens=limit,
                tool_choice=_tool_choice(body.get("tool_choice")),
                parallel=parallel is not False,
                json_wanted=form["type"] != "text",
                schema=_schema(form),
                stops=[stop] if isinstance(stop, str) else stop,
                choices=choices,
                think=body.get("reasoning_effort", "medium") not in ("none", "minimal"),
            ),
            min_tokens_per_s=float(self.figure(model, "priority_tokens_per_s", 0)) if fast else 0,
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
            "model": self.figure(model, "snapshot", asked),
            "service_tier": tier,
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

    def _tier(self, model: str, body: ChatBody) -> str:
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
        charges: dict[str, tuple[Bucket, float]] = {
            "requests": (self.bucket("rpm", key, model), 1),
            "tokens": (self.bucket("tpm", key, model), weight),
        }
        short = admitted(charges, now_s)
        headers = {"openai-version": "2020-10-01"}
        for name, (bucket, _) in charges.items():
            headers[f"x-ratelimit-limit-{name}"] = str(int(bucket.per_minute))
            headers[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining())
            headers[f"x-ratelimit-reset-{name}"] = span_text(bucket.full_in_s())
        if short is None:
            return headers
        name, wait_s = short
        bucket, amount = charges[name]
        limit, unit = int(bucket.per_minute), "RPM" if name == "requests" else "TPM"
        if wait_s == float("inf"):
            text = (
                f"Request too large for {model} on {name} per min ({unit}): Limit {limit}, "
                f"Requested {amount:.0f}. The input or output tokens must be reduced in order to "
                "run successfully."
            )
            raise RequestError(429, text, "rate_limit_exceeded", headers=headers, type=name)
        text = (
            f"Rate limit reached for {model} on {name} per min ({unit}): Limit {limit}, "
            f"Used {limit - bucket.remaining()}, Requested {amount:.0f}. "
            f"Please try again in {span_text(wait_s)}. "
        )
        text += "Visit https://platform.openai.com/account/rate-limits to learn more."
        headers["retry-after"] = str(max(1, round(wait_s)))
        headers["retry-after-ms"] = str(max(1, round(wait_s * 1000)))
        raise RequestError(429, text, "rate_limit_exceeded", headers=headers, type=name)

    def _cached(self, key: str, model: str, body: ChatBody, prompt: Prompt) -> Lookup:
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
        _, raw, asked, _ = await self._read(request)
        body = checked(EMBEDDINGS, raw, refusal_of)
        model = self.known_model(asked)
        if model is None or "dimensions" not in self.profile.table["models"][model]:
            raise self.no_model(asked)
        return await encoded(self, self._embedder, model, body)


def _tool_choice(choice: str | Choice | None) -> str:
    return choice["function"]["name"] if isinstance(choice, dict) else choice or "auto"


def _schema(form: ResponseFormat) -> dict[str, Any] | None:
    """The schema that the answer must follow, if one is given."""
    named = form.get("json_schema") if form["type"] == "json_schema" else None
    return (named.get("schema") or {}) if named else None
