"""The emulated hosts that speak OpenAI's chat protocol: Groq, Cerebras, DeepSeek and others.

They take what OpenAI takes, and more: further fields of a request are theirs and are let through,
and no model is refused a parameter. A host that runs whatever model it is asked for has a row
``any-model`` in its table; its figures count for every model that has none of its own. Embeddings
are not served. Speed, limits and prices come from ``data/providers/compatible.toml``.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from labkit.providers.bodies import NotJson
from labkit.providers.compatible.hosts import HOSTS
from labkit.providers.heed import heed
from labkit.providers.nearest import nearest
from labkit.providers.openai.chat import ChatService
from labkit.providers.openai.checks import check_length
from labkit.providers.openai.prompt import Prompt
from labkit.providers.openai.requests import ChatBody
from labkit.providers.server import RequestError, shown

ANY = "any-model"
"""The row of a host's table that counts for every model without one of its own."""
_TAKEN = frozenset(ChatBody.__annotations__)


class CompatibleEmulator(ChatService):
    """Base of the hosts; each is a class of its own, see :func:`of`."""

    def routes(self) -> list[web.RouteDef]:
        """Chat and models; chat also on Azure's path, in which the deployment stands."""
        deployed = f"{self.base_path}/deployments/{{deployment}}/chat/completions"
        return [*super().routes(), web.post(deployed, self._chat)]

    def known_model(self, asked: str) -> str | None:
        """The profile's row of a model: its own, or the one for any."""
        own = super().known_model(asked)
        return ANY if own is None and ANY in self._names else own

    def nearest_model(self, asked: str) -> str:
        """The nearest of the host's models, which is told: hosts add models by the week."""
        models = self.profile.table["models"]
        speaking = sorted(name for name in self._names if "first_token" in models[name])
        return nearest(self, asked, speaking, whose=f" of {self.name}")

    def unpacked(self, request: web.Request, raw: bytes) -> Any:
        """JSON, or MessagePack as the plugin of Cerebras sends it."""
        if request.content_type != "application/vnd.msgpack":
            return super().unpacked(request, raw)
        import msgpack  # comes with the client that sends it

        try:
            return msgpack.unpackb(raw)
        except ValueError as e:
            raise NotJson(str(e)) from None

    def key(self, request: web.Request) -> str:
        """The key of an ``Authorization: Bearer`` or an ``api-key`` header, the latter Azure's."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        key = request.headers.get("api-key") or (token if scheme == "Bearer" else "")
        if not key:
            raise RequestError(401, "No API key was given.", "invalid_api_key")
        if not self.authorized(key):
            raise RequestError(401, "Invalid API Key", "invalid_api_key")
        if self.failures:
            raise self.failure()
        return key

    def no_model(self, name: str) -> RequestError:
        """404 ``model_not_found``, with the models there are."""
        text = f"The model `{shown(name)}` does not exist or you do not have access to it."
        return RequestError(404, text, "model_not_found")

    def read_body(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The request without fields that only these hosts have, which are told of."""
        heed(self, "compatible.chat", {k: v for k, v in raw.items() if k not in _TAKEN})
        return {name: value for name, value in raw.items() if name in _TAKEN}

    def check(self, body: ChatBody, prompt: Prompt, model: str, *, chat: bool) -> None:
        """Checks lengths alone."""
        check_length(body, prompt.token_count, prompt.tool_tokens, self.figures_of(model))


def of(name: str) -> type[CompatibleEmulator]:
    """The emulator of one host."""
    row = HOSTS[name]
    client = f'openai.OpenAI(base_url="http://{{at}}{row.base_path}", api_key="any")'
    own = {"name": name, "host": row.host, "base_path": row.base_path, "client": client}
    return type(f"{name.title()}Emulator", (CompatibleEmulator,), own)


def __getattr__(name: str) -> type[CompatibleEmulator]:
    """The registry names each host's class as if it stood here."""
    if name not in HOSTS:
        raise AttributeError(name)
    return of(name)
