"""The emulated Anthropic service: messages and models.

Request and response bodies, error forms, headers and caching follow Anthropic's API reference and
guides (2025 and 2026); speed and prices come from ``data/providers/anthropic.toml``.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.allowance import Bucket, admitted
from labkit.providers.anthropic.prompt import Prompt, check, check_length, parse, scaled, texts_of
from labkit.providers.anthropic.requests import (
    COUNT,
    MESSAGES,
    Choice,
    CountBody,
    MessagesBody,
    not_json,
    page_size,
    refusal_of,
    refused,
)
from labkit.providers.anthropic.responses import content, streamed, usage_of
from labkit.providers.block_cache import BlockCache
from labkit.providers.bodies import NotJson, checked, decoded, read_body
from labkit.providers.generation import Generation, Wishes, last_user
from labkit.providers.llm import ChatEmulator
from labkit.providers.occasion import digest, messages_digest
from labkit.providers.server import RequestError, shown
from labkit.randomness import uniform

_MOST_BYTES = 32 << 20  # Anthropic API reference, errors: 413 above 32 MB
_LARGE_BYTES = 200_000
_START_TOKENS = 2
"""What message_start reports as output so far; the true service puts a small number there."""

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicEmulator(ChatEmulator):
    """Speaks as ``api.anthropic.com`` does."""

    name = "anthropic"
    host = "api.anthropic.com"
    client = 'anthropic.Anthropic(base_url="http://{at}", api_key="any")'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for schema in (MESSAGES, COUNT):
            schema.rebuild()  # once in a process, so that no request waits for it
        self.cache = BlockCache()
        self._factor = float(self.profile.value("tokens", "factor"))
        self._weigh = scaled(self._factor)

    def routes(self) -> list[web.RouteDef]:
        """The routes of the service that agents use."""
        return [
            web.post("/v1/messages", self._messages),
            web.post("/v1/messages/count_tokens", self._count),
            *self.model_routes("/v1"),
        ]

    def caches(self) -> tuple[BlockCache]:
        """The prompt cache."""
        return (self.cache,)

    def finish_reason(self, generation: Generation) -> str:
        """``max_tokens``, ``stop_sequence``, ``tool_use`` or ``end_turn``."""
        if generation.cut:
            return "max_tokens"
        if generation.stopped is not None:
            return "stop_sequence"
        return "tool_use" if generation.answer.tool_calls else "end_turn"

    # -- errors ---------------------------------------------------------------------------------

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        request_id = self.new_id("req_", "error")
        kind = _KINDS.get(error.status, "api_error")
        body = {"type": "error", "error": {"type": kind, "message": error.message}}
        headers = {"request-id": request_id} | error.headers
        body |= {"request_id": request_id}
        return web.json_response(body, status=error.status, headers=headers)

    def key(self, request: web.Request) -> str:
        """The key of an ``x-api-key`` or ``Authorization: Bearer`` header."""
        bearer = request.headers.get("Authorization", "")
        key = request.headers.get("x-api-key") or (bearer[7:] if bearer[:7] == "Bearer " else "")
        if not key:
            raise RequestError(401, "x-api-key header is required")
        if not self.authorized(key):
            raise RequestError(401, "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            raise RequestError(400, "anthropic-version: header is required")
        if self.failures:
            status = self.failures.popleft()
            raise RequestError(status, "Overloaded" if status == 529 else "Internal server error")
        return key

    # -- models ---------------------------------------------------------------------------------

    def no_model(self, name: str) -> RequestError:
        """404 ``not_found_error``."""
        return RequestError(404, f"model: {shown(name)}")

    def model_body(self, name: str) -> dict[str, Any]:
        """A model object."""
        title = name.replace("-", " ").title()
        created = "2025-10-01T00:00:00Z"
        return {"type": "model", "id": name, "display_name": title, "created_at": created}

    def models_body(self, models: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
        """A page of the list."""
        page = models[: page_size(request.query.get("limit", "20"))]
        return {
            "data": page,
            "has_more": len(page) < len(models),
            "first_id": page[0]["id"],
            "last_id": page[-1]["id"],
        }

    # -- messages -------------------------------------------------------------------------------

    async def _read(self, request: web.Request) -> tuple[str, dict[str, Any], bool]:
        """Key and body of a request, and whether the body is large.

        Raises:
            RequestError: the key or the JSON is refused.
        """
        key = self.key(request)
        too_large = RequestError(413, "Request exceeds the maximum size")
        raw = await read_body(request, _MOST_BYTES, too_large)
        try:
            body = decoded(raw)
        except NotJson as error:
            raise not_json(error) from None
        if not isinstance(body, dict):
            raise refused("Input should be an object")
        return key, body, len(raw) > _LARGE_BYTES

    async def _prompt(self, body: CountBody, large: bool) -> tuple[str, Prompt]:
        """Model and prompt of a request.

        Raises:
            RequestError: the model is unknown, or the prompt is refused.
        """
        model = self.known_model(body["model"])
        if model is None:
            raise self.no_model(body["model"])
        most = int(self.figure(model, "context_tokens"))
        if large:
            counted = await tokens.weighed(texts_of(body), int(most / self._factor))
            check_length(round(counted * self._factor), most)
        prompt = parse(body, self._weigh, int(self.profile.value("tokens", "tool_prompt")))
        check_length(prompt.token_count, most)
        return model, prompt

    async def _count(self, request: web.Request) -> web.Response:
        _, raw, large = await self._read(request)
        body = checked(COUNT, raw, refusal_of, tagged=True)
        _, prompt = await self._prompt(body, large)
        return web.json_response({"input_tokens": prompt.token_count})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        key, raw, large = await self._read(request)
        body: MessagesBody = checked(MESSAGES, raw, refusal_of, tagged=True)
        model, prompt = await self._prompt(body, large)
        check(body, body["model"], int(self.figure(model, "max_output_tokens")))
        if self._overloaded(prompt):
            raise RequestError(529, "Overloaded")
        now_s = asyncio.get_running_loop().time()
        least = int(self.profile.value("models", model, "min_cache_tokens"))
        cache = self.cache.lookup(f"{key}\0{model}", prompt.blocks, now_s, least)
        uncached = prompt.token_count - cache.read
        headers = self._admit(key, model, uncached, body["max_tokens"], now_s)
        choice, thinking = body.get("tool_choice"), body.get("thinking")
        kind = thinking["type"] if thinking else ""
        config = body.get("output_config")
        form = body.get("output_format") or (config.get("format") if config else None)
        generation = self.generation(
            model=model,
            messages=prompt.messages,
            tools=prompt.tools,
            prompt_tokens=prompt.token_count,
            cache=cache,
            id_prefix="msg_",
            wishes=Wishes(
                max_tokens=body["max_tokens"],
                tool_choice=_tool_choice(choice),
                parallel=not (choice and choice.get("disable_parallel_tool_use")),
                schema=form["schema"] if form else None,
                stops=body.get("stop_sequences") or (),
                think=kind != "disabled",
                show_thought=kind in ("enabled", "adaptive"),
            ),
            tokens_per_piece=self._factor,
        )
        stream = bool(body.get("stream"))
        self.log_request(
            generation,
            request,
            prompt.messages,
            tools=tuple(tool.name for tool in prompt.tools),
            stream=stream,
            service_tier="standard",
        )
        headers["request-id"] = self.new_id("req_", "request")
        # The allowance of output tokens is charged at admission and settled with the answer.
        self.bucket("otpm", key, model).give(body["max_tokens"] - generation.output_tokens())
        message: dict[str, Any] = {
            "id": generation.id,
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(generation, _START_TOKENS),
        }
        calls = [self.new_id("toolu_", "call") for _ in generation.answer.tool_calls]
        reason = self.finish_reason(generation)
        billed = generation.output_tokens() + generation.thought_tokens
        if stream:
            wire = streamed(generation, message, calls, reason, billed)
            return await self.stream(request, generation, wire, headers)
        await self.play(generation)
        message |= {
            "content": content(generation, calls),
            "stop_reason": reason,
            "stop_sequence": generation.stopped,
            "usage": usage_of(generation, billed),
        }
        return web.json_response(message, headers=headers)

    def _overloaded(self, prompt: Prompt) -> bool:
        prob, scene = float(self.profile.value("overload", "prob")), self.scene()
        if prob <= 0:
            return False
        about = digest(repr(last_user(prompt.messages)))  # not its order among other requests
        tried = self.nth("overload", about, messages_digest(prompt.messages))
        key = (scene.call, scene.turn, about, tried)
        return uniform(scene.seed, "anthropic.overload", *key) < prob

    def _admit(
        self, key: str, model: str, uncached: int, max_tokens: int, now_s: float
    ) -> dict[str, str]:
        """Takes a request from the minute's allowances; cached tokens are not counted.

        Raises:
            RequestError: one of them is short.
        """
        charges: dict[str, tuple[Bucket, float]] = {
            "requests": (self.bucket("rpm", key, model), 1),
            "input-tokens": (self.bucket("itpm", key, model), uncached),
            "output-tokens": (self.bucket("otpm", key, model), max_tokens),
        }
        short = admitted(charges, now_s)
        headers: dict[str, str] = {}
        for name, (bucket, _) in charges.items():
            prefix = f"anthropic-ratelimit-{name}-"
            headers[prefix + "limit"] = str(int(bucket.per_minute))
            headers[prefix + "remaining"] = str(bucket.remaining())
            full = datetime.fromtimestamp(time.time() + bucket.full_in_s(), UTC)
            headers[prefix + "reset"] = full.strftime("%Y-%m-%dT%H:%M:%SZ")
        if short is None:
            return headers
        name, wait_s = short
        bucket = charges[name][0]
        headers["retry-after"] = str(max(1, round(min(wait_s, 60.0))))
        text = (
            "This request would exceed your organization's rate limit of "
            f"{int(bucket.per_minute):,} {name.replace('-', ' ')} per minute (model: {model})."
        )
        raise RequestError(429, text, headers=headers)


def _tool_choice(choice: Choice | None) -> str:
    if choice is None:
        return "auto"
    if choice["type"] == "tool":
        return choice["name"]
    return "required" if choice["type"] == "any" else choice["type"]
