"""The emulated Gemini API: answers, streamed and whole, token counts and models.

Paths, bodies, error forms and the stream of server-sent events follow the Gemini API reference
(v1beta, 2026) and google-genai 3.6; speed and prices come from ``data/providers/google.toml``.
Gemini counts tokens with a tokenizer that is not public; here they are counted as OpenAI does.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.allowance import admitted
from labkit.providers.bodies import NotJson, checked, decoded, read_body
from labkit.providers.generation import Generation, Wishes
from labkit.providers.google.prompt import (
    Prompt,
    parse,
    parts_of,
    streamed,
    texts_of,
    usage_of,
)
from labkit.providers.google.requests import (
    GENERATE,
    GenerateBody,
    Generating,
    body_of,
    failure_of,
    in_camel_case,
    key_of,
    no_model,
    refusal_of,
    refused,
)
from labkit.providers.llm import ChatEmulator
from labkit.providers.prompt_cache import PrefixCache, PrefixRules
from labkit.providers.server import RequestError

_MOST_BYTES = 20 << 20  # Gemini API, files guide: requests of at most 20 MB
_LARGE_BYTES = 200_000
_VERSION = re.compile(r"(-preview)?-(\d{2}-\d{2}|\d{2}-\d{4}|\d{3})$|-latest$|-preview$")
_CHAT = "(?:(?!-tts)[^:/])+"  # the others speak, see speech.py
_VERBS = "generateContent|streamGenerateContent|countTokens"


class GoogleEmulator(ChatEmulator):
    """Speaks as ``generativelanguage.googleapis.com`` does."""

    name = "google"
    host = "generativelanguage.googleapis.com"
    client = 'google.genai.Client(api_key="any", http_options={{"base_url": "http://{at}"}})'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        GENERATE.rebuild()  # once in a process, so that no request waits for it
        names = self.profile.names("cache", "prefix")
        rules = {name: self.profile.value("cache", "prefix", name) for name in names}
        self.prefixes = PrefixCache(PrefixRules(**rules))

    def routes(self) -> list[web.RouteDef]:
        """The routes of the service that agents use."""
        return [
            route
            for version in ("/v1", "/v1beta")
            for route in (
                web.post(f"{version}/models/{{model:{_CHAT}}}:{{verb:{_VERBS}}}", self._generate),
                *self.model_routes(version),
            )
        ]

    def caches(self) -> tuple[PrefixCache]:
        """The implicit cache."""
        return (self.prefixes,)

    def finish_reason(self, generation: Generation) -> str:
        """``MAX_TOKENS`` or ``STOP``."""
        return "MAX_TOKENS" if generation.cut else "STOP"

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return body_of(error)

    def key(self, request: web.Request) -> str:
        """The request's key, unless a failure was ordered."""
        key = key_of(self, request)
        if self.failures:
            raise failure_of(self.failures.popleft())
        return key

    # -- models ---------------------------------------------------------------------------------

    def known_model(self, asked: str) -> str | None:
        """The profile's name of a model, also for a numbered or dated version of it."""
        return super().known_model(asked) or super().known_model(_VERSION.sub("", asked[-200:]))

    def no_model(self, name: str) -> RequestError:
        """404 ``NOT_FOUND``."""
        return no_model(name)

    def model_body(self, name: str) -> dict[str, Any]:
        """A model object."""
        return {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name.replace("-", " ").title(),
            "inputTokenLimit": int(self.figure(name, "context_tokens")),
            "outputTokenLimit": int(self.figure(name, "max_output_tokens")),
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }

    def models_body(self, models: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
        """The first page of the list."""
        size = request.query.get("pageSize", "50")
        page = models[: int(size) if size.isascii() and size.isdigit() else 50]
        return {"models": page} | ({"nextPageToken": "1"} if len(page) < len(models) else {})

    # -- answers --------------------------------------------------------------------------------

    async def _read(self, request: web.Request) -> tuple[str, str, GenerateBody, bool]:
        """Key, model and body of a request, and whether the body is large.

        Raises:
            RequestError: the key, the JSON, a field or the model is refused.
        """
        key = self.key(request)
        too_large = RequestError(400, "Request payload size exceeds the limit: 20971520 bytes.")
        raw = await read_body(request, _MOST_BYTES, too_large)
        try:
            body = decoded(raw)
        except NotJson as error:
            raise refused(f"Invalid JSON payload received. {error}") from None
        if not isinstance(body, dict):
            raise refused("Invalid JSON payload received. Expected an object.")
        asked = request.match_info["model"]
        model = self.known_model(asked)
        if model is None:
            raise self.no_model(asked)
        return (
            key,
            model,
            checked(GENERATE, in_camel_case(body), refusal_of),
            len(raw) > _LARGE_BYTES,
        )

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        key, model, body, large = await self._read(request)
        most = int(self.figure(model, "context_tokens"))
        if large:
            _check_length(await tokens.weighed(texts_of(body), most), most)
        prompt = parse(body, signed=bool(self.figure(model, "signed_calls", False)))
        _check_length(prompt.token_count, most)
        if request.match_info["verb"] == "countTokens":
            return web.json_response({"totalTokens": prompt.token_count})
        self._admit(key, model, prompt.token_count)
        how = body.get("generationConfig") or Generating()
        generation = self.generation(
            model=model,
            messages=prompt.messages,
            tools=prompt.tools,
            prompt_tokens=prompt.token_count,
            cache=self.prefixes.lookup(
                f"{key}\0{model}", prompt.ids, asyncio.get_running_loop().time()
            ),
            id_prefix="",
            wishes=self._wishes(model, body, how, prompt),
        )
        stream = request.match_info["verb"] == "streamGenerateContent"
        self.log_request(
            generation,
            request,
            prompt.messages,
            tools=tuple(tool.name for tool in prompt.tools),
            stream=stream,
            service_tier="standard",
        )
        calls = [self.new_id("", "call") for _ in generation.answer.tool_calls]
        head = {"modelVersion": model, "responseId": generation.id}
        usage, reason = usage_of(generation), self.finish_reason(generation)
        if stream:
            if request.query.get("alt") != "sse":
                raise refused("Only streams of server-sent events are emulated: add ?alt=sse.")
            wire = streamed(generation, calls, reason, usage, head)
            return await self.stream(request, generation, wire, {})
        await self.play(generation)
        content = {"parts": parts_of(generation, calls), "role": "model"}
        candidate = {"content": content, "finishReason": reason, "index": 0}
        return web.json_response({"candidates": [candidate], "usageMetadata": usage, **head})

    def _wishes(self, model: str, body: GenerateBody, how: Generating, prompt: Prompt) -> Wishes:
        longest = int(self.figure(model, "max_output_tokens"))
        limit = how.get("maxOutputTokens")
        if limit is not None and limit > longest:
            raise refused(
                f"Unable to submit request because it has a maxOutputTokens value of {limit} but "
                f"the supported range is from 1 (inclusive) to {longest + 1} (exclusive)."
            )
        calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        named = calling.get("allowedFunctionNames") or []
        known = [tool.name for tool in prompt.tools]
        if any(name not in known for name in named):
            raise refused("Invalid allowed_function_names: no such function declaration.")
        must = named[0] if len(named) == 1 else "required"
        choice = {"ANY": must, "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")
        thinking = how.get("thinkingConfig") or {}
        if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
            raise refused("You can only set only one of thinking budget and thinking level.")
        level = thinking.get("thinkingLevel", "").lower()
        return Wishes(
            max_tokens=limit,
            tool_choice=choice if prompt.tools else "auto",
            json_wanted=how.get("responseMimeType") == "application/json",
            schema=how.get("responseJsonSchema") or how.get("responseSchema"),
            stops=how.get("stopSequences", ()),
            think=thinking.get("thinkingBudget", -1) != 0 and level != "minimal",
            show_thought=bool(thinking.get("includeThoughts")),
        )

    def _admit(self, key: str, model: str, weight: int) -> None:
        """Takes a request from the minute's allowance.

        Raises:
            RequestError: the allowance is short.
        """
        charges = {
            "requests": (self.bucket("rpm", key, model), 1.0),
            "tokens": (self.bucket("tpm", key, model), float(weight)),
        }
        if admitted(charges, asyncio.get_running_loop().time()) is not None:
            raise RequestError(
                429,
                "You exceeded your current quota, please check your plan and billing details. For "
                "more information on this error, head to: "
                "https://ai.google.dev/gemini-api/docs/rate-limits.",
            )


def _check_length(count: int, most: int) -> None:
    if count > most:
        raise refused(
            f"The input token count ({count}) exceeds the maximum number of tokens allowed "
            f"({most})."
        )
