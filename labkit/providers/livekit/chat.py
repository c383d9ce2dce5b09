"""The gateway's ``/v1/chat/completions`` and ``/v1/models``: OpenAI's protocol, many models."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from labkit.providers.allowance import Bucket
from labkit.providers.livekit.gateway import REQUEST_ID, GatewayPart
from labkit.providers.openai.chat import ChatService
from labkit.providers.server import RequestError


class GatewayChat(GatewayPart, ChatService):
    """Language models.

    The profile holds ``rpm`` and ``tpm`` under ``limits``, which are a project's, not a model's.
    """

    draws_as = "openai"

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return ChatService.refusal(self, request, error)

    def key(self, request: web.Request) -> str:
        """The project that asks."""
        project = self.enter(request)
        if self.failures:
            raise self.failure()
        return project

    def known_model(self, asked: str) -> str | None:
        """The profile's name of the model that answers.

        Raises:
            RequestError: the gateway knows no such provider, or the model is set to fail.
        """
        try:
            return self.first_of([asked])[1]
        except RequestError as error:
            if error.status == 404:
                raise RequestError(404, error.message, "model_not_found") from None
            raise

    def bucket(self, kind: str, key: str, model: str) -> Bucket:
        def full() -> Bucket:
            return Bucket(float(self.profile.value("limits", kind)))

        return self._buckets.made((kind, key), full)

    def taken(self, key: str, model: str, weight: int) -> dict[str, str]:
        try:
            super().taken(key, model, weight)
        except RequestError as error:
            error.headers = {n: v for n, v in error.headers.items() if n.startswith("retry")}
            error.headers |= self._quota(key, model)
            raise
        return {REQUEST_ID: self.new_id("req_", "gateway")} | self._quota(key, model)

    def _quota(self, key: str, model: str) -> dict[str, str]:
        """How much of the minute's allowance is used."""
        found: dict[str, Any] = {}
        for kind in ("rpm", "tpm"):
            bucket = self.bucket(kind, key, model)
            limit = int(bucket.per_minute)
            name = f"X-LiveKit-Inference-{kind.upper()}"
            found |= {f"{name}-Limit": str(limit), f"{name}-Used": str(limit - bucket.remaining())}
        return found
