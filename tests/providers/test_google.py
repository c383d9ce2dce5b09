"""The emulated Gemini API, seen by the LiveKit plugin, google-genai and on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from llm_stage import ACME, POLICY, POLICY_REPLY, context, listen, lookup_order, rows

from labkit.providers.google.service import GoogleEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.world.events import Cancelled, Completed, FirstToken, Request
from labkit.world.scene import Scene

pytest.importorskip("livekit.plugins.google")
from google import genai
from google.genai import errors
from livekit.agents import APIStatusError
from livekit.agents.types import APIConnectOptions
from livekit.plugins import google

Run = Callable[[Any], Any]
ORDER = "It's order four five seven one."


class Stage:
    def __init__(self, emulator: GoogleEmulator, scene: Scene, port: int) -> None:
        self.emulator, self.scene = emulator, scene
        self.url = f"http://127.0.0.1:{port}"

    def llm(self, model: str = "gemini-2.5-flash", **options: Any) -> google.LLM:
        at = genai.types.HttpOptions(base_url=self.url)
        made = google.LLM(model=model, api_key="any", http_options=at, **options)
        made._client = genai.Client(api_key="any", http_options=at)
        return made

    def client(self, key: str = "any") -> genai.Client:
        return genai.Client(api_key=key, http_options={"base_url": self.url})


@asynccontextmanager
async def staged(profile: Profile, **options: Any) -> AsyncIterator[Stage]:
    scene = Scene(seed=1, turn=0)
    emulator = GoogleEmulator(profile, lambda: scene, **options)
    async with listening(emulator) as port:
        yield Stage(emulator, scene, port)


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["google"]


async def closed(model: google.LLM) -> None:
    await model._client.aio.aclose()
    await asyncio.sleep(0.1)


def test_the_plugin_gets_the_answer(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with staged(profile) as stage:
            model = stage.llm(temperature=0.4, max_output_tokens=500)
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            assert heard.text == POLICY_REPLY
            (request,), (first,), (done,) = (
                rows(stage.scene, e) for e in (Request, FirstToken, Completed)
            )
            assert heard.usage is not None
            assert heard.usage.completion_tokens == 23
            assert heard.usage.prompt_tokens == request.prompt_tokens
            assert first.t_s - request.t_s == pytest.approx(heard.times_s[0], abs=1e-6)
            assert done.text == POLICY_REPLY
            assert done.usd == pytest.approx((request.prompt_tokens * 0.3 + 23 * 2.5) / 1e6)
            assert len(heard.times_s) == len(set(heard.times_s)) < 23  # a chunk holds a phrase
            await closed(model)

    run(main())


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "gemini-3-flash-preview"])
def test_a_tool_is_called_and_its_result_answered(run: Run, profile: Profile, name: str) -> None:
    async def main() -> None:
        async with staged(profile) as stage:
            model = stage.llm(name)
            chat = context(("system", ACME), ("user", ORDER))
            heard = await listen(model, chat, [lookup_order])
            (call,) = heard.calls
            assert (call.name, json.loads(call.arguments)) == ("lookup_order", {"order_id": "4571"})
            chat.insert(_called(call))
            chat.insert(_returned(call))
            told = (await listen(model, chat, [lookup_order])).text
            assert told.startswith("Here is what I found: status on its way")
            await closed(model)

    run(main())


def _called(call: Any) -> Any:
    from livekit.agents.llm import FunctionCall

    return FunctionCall(call_id=call.call_id, name=call.name, arguments=call.arguments)


def _returned(call: Any) -> Any:
    from livekit.agents.llm import FunctionCallOutput

    result = '{"status": "on its way", "item": "oak bookcase", "day": "Thursday"}'
    return FunctionCallOutput(call_id=call.call_id, name=call.name, output=result, is_error=False)


def test_a_newer_model_wants_its_signature_back(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with staged(profile) as stage:
            model = stage.llm("gemini-3-flash-preview")
            chat = context(("system", ACME), ("user", ORDER))
            (call,) = (await listen(model, chat, [lookup_order])).calls
            chat.insert(_called(call))
            chat.insert(_returned(call))
            model._thought_signatures.clear()
            with pytest.raises(APIStatusError, match="client error") as e:
                await _once(model, chat)
            assert "missing a thought_signature" in str(e.value.body)
            await closed(model)

    run(main())


async def _once(model: google.LLM, chat: Any) -> None:
    options = APIConnectOptions(max_retry=0)
    async with model.chat(chat_ctx=chat, tools=[lookup_order], conn_options=options) as stream:
        async for _ in stream:
            pass


def test_an_interruption_is_logged_and_the_next_request_served(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with staged(profile) as stage:
            model = stage.llm()
            chat = context(("system", ACME), ("user", POLICY))
            await listen(model, chat, stop_after=1)
            await asyncio.sleep(1.0)
            (cancelled,) = rows(stage.scene, Cancelled)
            assert 0 < cancelled.output_tokens < 23
            assert (await listen(model, chat)).text == POLICY_REPLY
            await closed(model)

    run(main())


def test_errors_have_googles_form(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with staged(profile, api_keys=frozenset({"any"})) as stage:
            client = stage.client()
            ask = client.aio.models.generate_content
            with pytest.raises(errors.ClientError) as e:
                await ask(model="gemini-9", contents="Hi")
            assert (e.value.code, e.value.status) == (404, "NOT_FOUND")
            assert "models/gemini-9 is not found" in e.value.message
            stage.emulator.failures.append(503)
            with pytest.raises(errors.ServerError) as e:
                await ask(model="gemini-2.5-flash", contents="Hi")
            assert (e.value.code, e.value.status) == (503, "UNAVAILABLE")
            wrong = stage.client("wrong")
            with pytest.raises(errors.ClientError, match="API key not valid"):
                await wrong.aio.models.generate_content(model="gemini-2.5-flash", contents="Hi")
            whole = await ask(model="gemini-2.5-flash-001", contents=POLICY)
            assert whole.text.startswith("You can return items")
            names = [m.name async for m in await client.aio.models.list()]
            assert "models/gemini-2.5-flash" in names
            for one in (client, wrong):
                await one.aio.aclose()
            await asyncio.sleep(0.1)

    run(main())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "contents is not specified"),
        ({"contents": [{"parts": []}]}, "parts field must not be empty"),
        ({"contents": [{"parts": [{"text": "Hi"}], "role": "robot"}]}, "valid role"),
        (
            {"contents": [{"parts": [{"txt": "Hi"}]}]},
            'Unknown name "txt" at \'contents[0].parts[0]',
        ),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
            "number of function response parts",
        ),
    ],
)
def test_wrong_requests_are_refused(run: Run, profile: Profile, body: Any, words: str) -> None:
    async def main() -> None:
        async with staged(profile) as stage, aiohttp.ClientSession() as session:
            url = f"{stage.url}/v1beta/models/gemini-2.5-flash:generateContent?key=any"
            async with session.post(url, json=body) as response:
                error = (await response.json())["error"]
                assert (response.status, error["status"]) == (400, "INVALID_ARGUMENT")
                assert words in error["message"]

    run(main())
