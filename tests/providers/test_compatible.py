"""The hosts that speak OpenAI's chat protocol, seen by the plugins that talk to them."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgpack
import openai
import pytest
from livekit.agents import APIStatusError, llm
from livekit.plugins import openai as plugin
from llm_stage import ACME, POLICY, POLICY_REPLY, context, listen, lookup_order, rows

from labkit.providers.compatible.hosts import HOSTS
from labkit.providers.compatible.service import of
from labkit.providers.profile import Profile, ProfileError, load_profiles
from labkit.providers.registry import PROVIDERS, emulators, key_variables
from labkit.providers.server import listening
from labkit.world.events import Assumed, Cancelled, Completed, Request
from labkit.world.scene import Scene

Run = Callable[[Any], Any]
HELPERS: dict[str, Callable[..., llm.LLM]] = {
    "cerebras": plugin.LLM.with_cerebras,
    "deepseek": plugin.LLM.with_deepseek,
    "fireworks": plugin.LLM.with_fireworks,
    "openrouter": plugin.LLM.with_openrouter,
    "perplexity": plugin.LLM.with_perplexity,
    "togetherai": plugin.LLM.with_together,
    "xai": plugin.LLM.with_x_ai,
}


@asynccontextmanager
async def staged(name: str, **options: Any) -> AsyncIterator[tuple[Any, Scene, str]]:
    scene = Scene(seed=1, turn=0)
    emulator = of(name)(load_profiles()[name], lambda: scene, **options)
    async with listening(emulator) as port:
        yield emulator, scene, f"http://127.0.0.1:{port}{HOSTS[name].base_path}"


@pytest.mark.parametrize("name", HELPERS)
def test_each_helper_of_the_plugin_streams_from_its_host(run: Run, name: str) -> None:
    async def main() -> None:
        async with staged(name) as (_, scene, url):
            model = HELPERS[name](api_key="any", base_url=url)  # with the helper's own model
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            assert heard.text == POLICY_REPLY
            assert heard.usage is not None and heard.usage.completion_tokens == 23
            (request,) = rows(scene, Request)
            assert request.provider == name
            await model.aclose()

    run(main())


def test_groq_calls_tools_is_interrupted_and_goes_on(run: Run) -> None:
    groq = pytest.importorskip("livekit.plugins.groq")

    async def main() -> None:
        async with staged("groq") as (_, scene, url):
            model = groq.LLM(model="openai/gpt-oss-120b", api_key="any", base_url=url)
            chat = context(("system", ACME), ("user", "It's order four five seven one."))
            (call,) = (await listen(model, chat, [lookup_order])).calls
            assert json.loads(call.arguments) == {"order_id": "4571"}
            chat = context(("system", ACME), ("user", POLICY))
            await listen(model, chat, stop_after=2)
            await asyncio.sleep(0.5)
            assert len(rows(scene, Cancelled)) == 1
            assert (await listen(model, chat)).text == POLICY_REPLY
            assert len(rows(scene, Completed)) == 2
            await model.aclose()

    run(main())


def test_azure_takes_its_own_path_and_header_and_any_deployment(run: Run) -> None:
    async def main() -> None:
        async with staged("azure", api_keys=frozenset({"mine"})) as (_, _, url):
            where: dict[str, Any] = {
                "azure_endpoint": url.removesuffix("/openai"),
                "api_version": "2024-10-21",
                "azure_deployment": "my-own-name",
            }
            model = plugin.LLM.with_azure(model="gpt-4o", api_key="mine", **where)
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            assert heard.text == POLICY_REPLY
            await model.aclose()
            wrong = plugin.LLM.with_azure(model="gpt-4o", api_key="other", **where)
            with pytest.raises(APIStatusError, match="Invalid API Key"):
                await listen(wrong, context(("user", "Hi")))
            await wrong.aclose()

    run(main())


@pytest.mark.parametrize("name", ["groq", "togetherai"])
def test_an_unknown_model_is_answered_and_told_where_another_stands_in(run: Run, name: str) -> None:
    async def main() -> None:
        async with staged(name) as (emulator, scene, url):
            client = openai.AsyncOpenAI(api_key="any", base_url=url, max_retries=0)
            reply = await client.chat.completions.create(
                model="openai/gpt-oss-121b", messages=[{"role": "user", "content": POLICY}]
            )
            assert reply.model == "openai/gpt-oss-121b"
            told = [e.text for e in rows(scene, Assumed)]
            assert told == (
                ["openai/gpt-oss-121b of groq has no figures of its own here: "
                 "it has openai/gpt-oss-120b's"]
                if name == "groq" else []
            )  # fmt: skip
            if name == "groq":  # nor is it in the list
                with pytest.raises(openai.NotFoundError):
                    await client.models.retrieve("someone/new")
            emulator.failures.append(503)
            with pytest.raises(openai.InternalServerError):
                await client.models.list()
            await client.models.list()
            await client.close()

    run(main())


@pytest.mark.parametrize("squeezed", [False, True])
def test_cerebras_takes_message_pack(run: Run, squeezed: bool) -> None:
    """As its plugin sends it, squeezed by default."""
    body = msgpack.packb(
        {"model": "gpt-oss-120b", "messages": [{"role": "user", "content": POLICY}]}
    )
    headers = {"Authorization": "Bearer any", "Content-Type": "application/vnd.msgpack"}
    if squeezed:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}

    async def main() -> None:
        async with staged("cerebras") as (_, _, url), aiohttp.ClientSession() as session:
            path = f"{url}/chat/completions"
            async with session.post(path, data=body, headers=headers) as answer:
                assert answer.status == 200
                assert (await answer.json())["choices"][0]["message"]["content"]
            async with session.post(path, data=b"\xc1", headers=headers) as answer:
                assert answer.status == 400

    run(main())


def test_fields_of_their_own_are_let_through(run: Run) -> None:
    async def main() -> None:
        async with staged("openrouter") as (_, _, url):
            client = openai.AsyncOpenAI(api_key="any", base_url=url, max_retries=0)
            got = await client.chat.completions.create(
                model="openai/gpt-5",
                messages=[{"role": "system", "content": ACME}, {"role": "user", "content": POLICY}],
                temperature=0.4,
                extra_body={"provider": {"order": ["x"]}, "plugins": [], "models": ["y"]},
            )
            assert got.choices[0].message.content == POLICY_REPLY
            await client.close()

    run(main())


def test_each_host_has_a_profile_keys_and_a_name_of_its_own() -> None:
    assert len({kind.host for kind in emulators().values()}) == len(PROVIDERS)
    for name, row in HOSTS.items():
        assert key_variables(name) == (row.key_variable,)
        assert load_profiles()[name].names("models")


def test_a_figure_of_one_host_is_set_alone(profiles: dict[str, Profile]) -> None:
    name = "groq.models.openai/gpt-oss-120b.first_token"
    changed = load_profiles(None, {name: 0.2})
    at = ("models", "openai/gpt-oss-120b", "first_token")
    assert changed["groq"].delay(*at).quantile(0.9) == 0.2
    assert profiles["groq"].delay(*at).quantile(0.5) == pytest.approx(0.058)
    assert changed["togetherai"].digest == profiles["togetherai"].digest
    with pytest.raises(ProfileError, match="no 'openai/gpt-oss-12'"):
        load_profiles(None, {"groq.models.openai/gpt-oss-12": 0.2})
