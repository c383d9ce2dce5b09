"""The emulated OpenAI service: chat completions, responses, models and embeddings.

Request and response bodies, error forms, headers and caching follow OpenAI's API reference and
guides (2025 and 2026); speed and prices come from ``data/providers/openai.toml``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from aiohttp import WSMsgType, web

from labkit.providers.bodies import NotJson, checked, decoded
from labkit.providers.embeddings import Embedder
from labkit.providers.generation import Wire
from labkit.providers.openai.chat import ChatService
from labkit.providers.openai.embeddings import encoded
from labkit.providers.openai.refusals import refusal_of, refused
from labkit.providers.openai.requests import EMBEDDINGS
from labkit.providers.openai.responding import (
    RESPONSES,
    Events,
    as_chat,
    as_sse,
    events,
    no_response,
    output_of,
    said_after,
)
from labkit.providers.openai.responding import usage_of as response_usage
from labkit.providers.openai.responses import usage_of
from labkit.providers.recent import Recent
from labkit.providers.server import RequestError, shown, websocket
from labkit.world.events import Refused

_KEPT = 2_000


class OpenAIEmulator(ChatService):
    """Speaks as ``api.openai.com`` does."""

    name = "openai"
    host = "api.openai.com"
    base_path = "/v1"
    client = 'openai.OpenAI(base_url="http://{at}/v1", api_key="any")'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for schema in (EMBEDDINGS, RESPONSES):
            schema.rebuild()  # once in a process, so that no request waits for it
        self._embedder = Embedder()
        self._kept: Recent[str, list[Any]] = Recent(_KEPT)

    def reset(self) -> None:
        super().reset()
        self._kept.clear()

    def routes(self) -> list[web.RouteDef]:
        """The routes of the service that agents use."""
        return [
            *super().routes(),
            web.post("/v1/embeddings", self._embeddings),
            web.post("/v1/responses", self._respond),
            web.get("/v1/responses", self._converse),
        ]

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        _, raw, asked, _ = await self._read(request)
        body = checked(EMBEDDINGS, raw, refusal_of)
        model = self.known_model(asked)
        if model is None or "dimensions" not in self.profile.table["models"][model]:
            raise self.no_model(asked)
        return await encoded(self, self._embedder, model, body)

    # -- responses ------------------------------------------------------------------------------

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        """One response: server-sent events, or whole."""
        key, raw, _, large = await self._read(request)
        generation, answer, response, headers = await self._answered(request, key, raw, large=large)
        if not raw.get("stream"):
            await self.play(generation)
            return web.json_response(response, headers=headers)
        wire = Wire(
            b"".join(map(as_sse, answer.begin)),
            [b"".join(map(as_sse, piece)) for piece in answer.pieces],
            b"".join(map(as_sse, answer.end)),
        )
        return await self.stream(request, generation, wire, headers)

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        """Responses on a WebSocket, one after another; a client that leaves ends its answer."""
        key = self.key(request)
        ws = websocket()
        await ws.prepare(request)
        task: asyncio.Task[None] | None = None
        async for message in ws:
            if message.type != WSMsgType.TEXT:
                break
            if task is not None and not task.done():
                text = "A response is in progress on this connection; only one is emulated."
                await ws.send_json(_error_event(refused(text)))
                continue
            task = asyncio.create_task(self._say(request, ws, key, message.data))
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return ws

    async def _say(
        self, request: web.Request, ws: web.WebSocketResponse, key: str, text: str
    ) -> None:
        """Answers one message of a WebSocket."""
        try:
            try:
                raw = decoded(text)
            except NotJson:
                raw = None
            if not isinstance(raw, dict) or raw.get("type") != "response.create":
                raise refused("Invalid message: expected an event of type 'response.create'.")
            if self.failures:
                raise self.failure()
            with self.around(request):
                got = await self._answered(request, key, raw, large=False)
        except RequestError as error:
            self.log(Refused(status=error.status, code=error.code, message=error.message))
            with contextlib.suppress(ConnectionError):
                await ws.send_json(_error_event(error))
            return
        generation, answer, *_ = got

        async def write(start: int, end: int) -> None:
            due = [event for piece in answer.pieces[start:end] for event in piece]
            before = answer.begin if start == 0 else []
            after = answer.end if end == len(answer.pieces) else []
            for event in (*before, *due, *after):
                await ws.send_str(json.dumps(event, separators=(",", ":")))

        with contextlib.suppress(ConnectionError):
            await self.play(generation, write)

    async def _answered(
        self, request: web.Request, key: str, raw: dict[str, Any], *, large: bool
    ) -> tuple[Any, Events, dict[str, Any], dict[str, str]]:
        """The answer to a request, its events, the complete response, and headers.

        Raises:
            RequestError: the service would refuse it.
        """
        body = checked(RESPONSES, raw, refusal_of)
        earlier = body.get("previous_response_id")
        before = self._kept.get(earlier) if earlier else []
        if before is None:
            raise no_response(str(earlier))
        if self.known_model(body["model"]) is None:
            text = f"The requested model '{shown(body['model'])}' does not exist."
            raise refused(text, "model", "model_not_found")
        chat = as_chat(body, before)
        got = await self.admit(request, key, chat, body["model"], large=large, id_prefix="resp_")
        generation = got.generation
        calls = generation.answer.tool_calls
        ids = [self.new_id("msg_", "item")]
        if calls:
            kinds = [kind for _ in calls for kind in (("fc_", "item"), ("call_", "call"))]
            ids = [self.new_id(*kind) for kind in kinds]
        output = output_of(generation, ids)
        cut = generation.cut
        response: dict[str, Any] = {
            "id": generation.id,
            "object": "response",
            "created_at": int(time.time()),
            "status": "incomplete" if cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.get("instructions"),
            "model": got.model,
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": earlier,
            "service_tier": got.tier,
            "store": body.get("store") is not False,
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "usage": response_usage(usage_of(generation)),
        }
        if body.get("store") is not False:
            asked = chat["messages"][1 if body.get("instructions") else 0 :]  # those are not kept
            self._kept.put(generation.id, said_after(asked, output))
        return generation, events(generation, output, response), response, got.headers


def _error_event(error: RequestError) -> dict[str, Any]:
    """An error as a message on a WebSocket."""
    fields = {"type": "invalid_request_error", "param": None} | error.fields
    told = {"code": error.code, "message": error.message, **fields}
    return {"type": "error", "status": error.status, "error": told}
