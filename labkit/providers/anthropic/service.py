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

from labkit.providers.anthropic.requests import Prompt, parse, scaled
from labkit.providers.anthropic.responses import content, streamed
from labkit.providers.block_cache import BlockCache
from labkit.providers.generation import Generation
from labkit.providers.llm import ChatEmulator, read_object
from labkit.providers.pacing import Bucket
from labkit.providers.server import RequestError
from labkit.randomness import uniform

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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cache = BlockCache()
        self._factor = float(self.profile.value("tokens", "factor"))
        self._weigh = scaled(self._factor)

    def routes(self) -> list[web.RouteDef]:
        """The routes of the service that agents use."""
        return [
            web.post("/v1/messages", self._messages),
            web.post("/v1/messages/count_tokens", self._count),
            web.get("/v1/models", self._list_models),
            web.get("/v1/models/{model}", self._one_model),
        ]

    def reset(self) -> None:
        """Forgets all state between two calls, the prompt cache included."""
        super().reset()
        self.cache.reset()

    def finish_reason(self, generation: Generation) -> str:
        """``max_tokens``, ``tool_use`` or ``end_turn``."""
        if generation.cut:
            return "max_tokens"
        return "tool_use" if generation.answer.tool_calls else "end_turn"

    # -- errors ---------------------------------------------------------------------------------

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        request_id = self.new_id("req_", "error")
        kind = _KINDS.get(error.status, "api_error")
        body = {"type": "error", "error": {"type": kind, "message": error.message}}
        headers = {"request-id": request_id} | error.headers
        body |= {"request_id": request_id}
        return web.json_response(body, status=error.status, headers=headers)

    def _key(self, request: web.Request) -> str:
        """The caller's API key.

        Raises:
            RequestError: what the service answers before it reads the body, if it refuses.
        """
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

    async def _list_models(self, request: web.Request) -> web.Response:
        self._key(request)
        self.nth_on_connection(request)
        names = self.profile.names("models")
        shown = names[: int(request.query.get("limit", "20"))]
        body = {
            "data": [self._model(name) for name in shown],
            "has_more": len(shown) < len(names),
            "first_id": shown[0] if shown else None,
            "last_id": shown[-1] if shown else None,
        }
        return web.json_response(body)

    async def _one_model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        if self.known_model(name) is None:
            raise RequestError(404, f"model: {name}")
        return web.json_response(self._model(name))

    @staticmethod
    def _model(name: str) -> dict[str, str]:
        shown = name.replace("-", " ").title()
        created = "2025-10-01T00:00:00Z"
        return {"type": "model", "id": name, "display_name": shown, "created_at": created}

    # -- messages -------------------------------------------------------------------------------

    async def _read(
        self, request: web.Request, *, counting: bool = False
    ) -> tuple[str, dict[str, Any], str, Prompt]:
        """Key, body, model and prompt of a request."""
        key = self._key(request)
        body = await read_object(request, "The request body is not valid JSON")
        if not body.get("model"):
            raise RequestError(400, "model: Field required")
        model = self.known_model(str(body["model"]))
        if model is None:
            raise RequestError(404, f"model: {body['model']}")
        checked = {"max_tokens": 1, **body} if counting else body
        tool_prompt = int(self.profile.value("tokens", "tool_prompt"))
        return key, body, model, parse(checked, self._weigh, tool_prompt)

    async def _count(self, request: web.Request) -> web.Response:
        *_, prompt = await self._read(request, counting=True)
        return web.json_response({"input_tokens": prompt.token_count})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        key, body, model, prompt = await self._read(request)
        if self._overloaded():
            raise RequestError(529, "Overloaded")
        now_s = asyncio.get_running_loop().time()
        least = int(self.profile.value("models", model, "min_cache_tokens"))
        cache = self.cache.lookup(f"{key}\0{model}", prompt.blocks, now_s, least)
        uncached = prompt.token_count - cache.read
        headers = self._admit(key, model, uncached, body["max_tokens"], now_s)
        choice = body.get("tool_choice") or {}
        generation = self.generation(
            model=model,
            messages=prompt.messages,
            tools=prompt.tools,
            prompt_tokens=prompt.token_count,
            cache=cache,
            id_prefix="msg_",
            max_tokens=body["max_tokens"],
            tool_choice=_tool_choice(choice),
            tokens_per_piece=self._factor,
            think=(body.get("thinking") or {}).get("type") != "disabled",
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
        message = {
            "id": generation.id,
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(generation, _START_TOKENS),
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
            "usage": self._usage(generation, billed),
        }
        return web.json_response(message, headers=headers)

    def _overloaded(self) -> bool:
        prob, scene = float(self.profile.value("overload", "prob")), self.scene()
        if prob <= 0:
            return False
        key = (scene.call, scene.turn, self.nth("overload"))
        return uniform(scene.seed, "anthropic.overload", *key) < prob

    def _admit(
        self, key: str, model: str, uncached: int, max_tokens: int, now_s: float
    ) -> dict[str, str]:
        """Takes a request from the minute's allowances; cached tokens are not counted.

        Raises:
            RequestError: one of them is short.
        """
        headers: dict[str, str] = {}
        short: tuple[str, Bucket, float] | None = None
        for kind, name, amount in (
            ("rpm", "requests", 1),
            ("itpm", "input-tokens", uncached),
            ("otpm", "output-tokens", max_tokens),
        ):
            bucket = self.bucket(kind, key, model)
            wait_s = 0.0 if short else bucket.take(amount, now_s)
            prefix = f"anthropic-ratelimit-{name}-"
            headers[prefix + "limit"] = str(int(bucket.per_minute))
            headers[prefix + "remaining"] = str(bucket.remaining())
            full = datetime.fromtimestamp(time.time() + bucket.full_in_s(), UTC)
            headers[prefix + "reset"] = full.strftime("%Y-%m-%dT%H:%M:%SZ")
            if wait_s > 0:
                short = (name, bucket, wait_s)
        if short is None:
            return headers
        name, bucket, wait_s = short
        headers["retry-after"] = str(max(1, round(wait_s)))
        text = (
            "This request would exceed your organization's rate limit of "
            f"{int(bucket.per_minute):,} {name.replace('-', ' ')} per minute (model: {model})."
        )
        raise RequestError(429, text, headers=headers)

    # -- answers --------------------------------------------------------------------------------

    def _usage(self, generation: Generation, output_tokens: int) -> dict[str, Any]:
        cache = generation.cache
        return {
            "input_tokens": generation.prompt_tokens - cache.read - cache.written,
            "cache_creation_input_tokens": cache.written,
            "cache_read_input_tokens": cache.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": cache.written - cache.written_1h,
                "ephemeral_1h_input_tokens": cache.written_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


def _tool_choice(choice: dict[str, Any]) -> str:
    kind = choice.get("type", "auto")
    if kind == "tool":
        return str(choice.get("name", "required"))
    return {"any": "required"}.get(kind, str(kind))
