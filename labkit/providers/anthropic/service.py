"""The emulated Anthropic service: messages and models.

Request and response bodies, error forms, headers and caching follow Anthropic's API reference and
guides (2025 and 2026); speed and prices come from ``data/providers/anthropic.toml``.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from labkit.providers.anthropic.requests import Prompt, RequestError, parse, scaled
from labkit.providers.anthropic.responses import content, streamed
from labkit.providers.block_cache import BlockCache
from labkit.providers.jobs import Job
from labkit.providers.llm import ChatEmulator
from labkit.providers.pacing import Bucket
from labkit.randomness import uniform
from labkit.world.events import Refused

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

    def finish_reason(self, job: Job) -> str:
        """``max_tokens``, ``tool_use`` or ``end_turn``."""
        if job.cut:
            return "max_tokens"
        return "tool_use" if job.answer.tool_calls else "end_turn"

    # -- errors ---------------------------------------------------------------------------------

    def _error(
        self, status: int, message: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        kind = _KINDS.get(status, "api_error")
        self.log(Refused(status=status, code=kind, message=message))
        request_id = self.new_id("req_", "error")
        body = {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": request_id,
        }
        return web.json_response(
            body, status=status, headers={"request-id": request_id, **(headers or {})}
        )

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What the service answers before it reads the body, if it refuses."""
        key = request.headers.get("x-api-key", "")
        if not key and request.headers.get("Authorization", "").startswith("Bearer "):
            key = request.headers["Authorization"][7:]
        if not key:
            return self._error(401, "x-api-key header is required")
        if not self.authorized(key):
            return self._error(401, "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            return self._error(400, "anthropic-version: header is required")
        if self.failures:
            status = self.failures.popleft()
            return self._error(status, "Overloaded" if status == 529 else "Internal server error")
        return None

    # -- models ---------------------------------------------------------------------------------

    async def _list_models(self, request: web.Request) -> web.Response:
        refused = self._refusal(request)
        if refused is not None:
            return refused
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
            return self._error(404, f"model: {name}")
        return web.json_response(self._model(name))

    @staticmethod
    def _model(name: str) -> dict[str, str]:
        shown = name.replace("-", " ").title()
        created = "2025-10-01T00:00:00Z"
        return {"type": "model", "id": name, "display_name": shown, "created_at": created}

    # -- messages -------------------------------------------------------------------------------

    async def _read(
        self, request: web.Request, *, counting: bool = False
    ) -> tuple[dict[str, Any], str, Prompt] | web.Response:
        refused = self._refusal(request)
        if refused is not None:
            return refused
        try:
            body = json.loads(await request.read())
            if not isinstance(body, dict):
                raise ValueError
        except ValueError:
            return self._error(400, "The request body is not valid JSON")
        if not body.get("model"):
            return self._error(400, "model: Field required")
        model = self.known_model(str(body["model"]))
        if model is None:
            return self._error(404, f"model: {body['model']}")
        checked = {"max_tokens": 1, **body} if counting else body
        try:
            tool_prompt = int(self.profile.value("tokens", "tool_prompt"))
            return body, model, parse(checked, self._weigh, tool_prompt)
        except RequestError as e:
            return self._error(400, str(e))

    async def _count(self, request: web.Request) -> web.Response:
        read = await self._read(request, counting=True)
        if isinstance(read, web.Response):
            return read
        return web.json_response({"input_tokens": read[2].token_count})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        body, model, prompt = read
        key = request.headers.get("x-api-key") or request.headers["Authorization"]
        if self._overloaded():
            return self._error(529, "Overloaded")
        now_s = asyncio.get_running_loop().time()
        least = int(self.profile.value("models", model, "min_cache_tokens"))
        cache = self.cache.lookup(f"{key}\0{model}", prompt.blocks, now_s, least)
        uncached = prompt.token_count - cache.read
        headers, refused = self._admit(key, model, uncached, body["max_tokens"], now_s)
        if refused is not None:
            return refused
        choice = body.get("tool_choice") or {}
        job = self.job(
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
            job,
            request,
            prompt.messages,
            tools=tuple(tool.name for tool in prompt.tools),
            stream=stream,
            service_tier="standard",
        )
        headers["request-id"] = self.new_id("req_", "request")
        # The allowance of output tokens is charged at admission and settled with the answer.
        self.bucket("otpm", key, model).give(body["max_tokens"] - job.output_tokens())
        message = {
            "id": job.id,
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(job, _START_TOKENS),
        }
        calls = [self.new_id("toolu_", "call") for _ in job.answer.tool_calls]
        billed, reason = self._billed(job), self.finish_reason(job)
        if stream:
            wire = streamed(job, message, calls, reason, billed)
            return await self.stream(request, job, wire, headers)
        await self.play(job, _unsent)
        message |= {
            "content": content(job, calls),
            "stop_reason": reason,
            "usage": self._usage(job, billed),
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
    ) -> tuple[dict[str, str], web.Response | None]:
        """Takes a request from the minute's allowances; cached tokens are not counted."""
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
            return headers, None
        name, bucket, wait_s = short
        headers["retry-after"] = str(max(1, round(wait_s)))
        text = (
            "This request would exceed your organization's rate limit of "
            f"{int(bucket.per_minute):,} {name.replace('-', ' ')} per minute (model: {model})."
        )
        return headers, self._error(429, text, headers)

    # -- answers --------------------------------------------------------------------------------

    def _billed(self, job: Job) -> int:
        thought = job.thinking_s * float(self.profile.value("models", job.model, "tokens_per_s"))
        return job.output_tokens() + round(thought)

    def _usage(self, job: Job, output_tokens: int) -> dict[str, Any]:
        cache = job.cache
        return {
            "input_tokens": job.prompt_tokens - cache.read - cache.written,
            "cache_creation_input_tokens": cache.written,
            "cache_read_input_tokens": cache.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": cache.written - cache.written_1h,
                "ephemeral_1h_input_tokens": cache.written_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


async def _unsent(start: int, end: int) -> None:
    """Writes nothing: an answer that is not streamed goes out when it is complete."""


def _tool_choice(choice: dict[str, Any]) -> str:
    kind = choice.get("type", "auto")
    if kind == "tool":
        return str(choice.get("name", "required"))
    return {"any": "required"}.get(kind, str(kind))
