"""The emulated OpenAI service, seen by the LiveKit plugin, the official client and on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import openai
import pytest
from llm_stage import (
    ACME,
    POLICY,
    POLICY_REPLY,
    context,
    listen,
    lookup_order,
    openai_stage,
    rows,
    say,
)

from labkit.providers import tokens
from labkit.providers.occasion import WHOLE
from labkit.providers.profile import Profile
from labkit.world.events import Cancelled, Completed, FirstToken, Request

Run = Callable[[Any], Any]
LONG = ACME + " Be kind to everyone who calls." * 300


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["openai"]


def test_the_plugin_gets_the_answer_token_by_token(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm() as model:
            model.prewarm()
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            assert heard.text == POLICY_REPLY
            assert heard.usage is not None
            assert heard.usage.completion_tokens == len(heard.times_s) == 23
            assert heard.usage.service_tier == "default"
            (request,), (first,), (done,) = (
                rows(stage.scene, e) for e in (Request, FirstToken, Completed)
            )
            assert request.id == first.id == done.id
            assert request.last_user == POLICY
            assert first.t_s - request.t_s == pytest.approx(heard.times_s[0], abs=1e-6)
            assert done.text == POLICY_REPLY
            assert done.usd == pytest.approx(
                (request.prompt_tokens * 0.15 + 23 * 0.6) / 1e6, rel=1e-6
            )

    run(main())


def test_a_tool_is_called_and_its_result_answered(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm() as model:
            chat = context(("system", ACME), ("user", "It's order four five seven one."))
            heard = await listen(model, chat, [lookup_order])
            (call,) = heard.calls
            assert (call.name, json.loads(call.arguments)) == ("lookup_order", {"order_id": "4571"})
            (done,) = rows(stage.scene, Completed)
            assert done.finish_reason == "tool_calls"
            # The name and the markup around the arguments are generated and billed as well.
            assert done.output_tokens == tokens.count(call.arguments) + 2 + 7
            assert heard.usage is not None
            assert heard.usage.completion_tokens == done.output_tokens
            assert (await listen(model, chat)).text.startswith("Thanks, I found order")

    run(main())


def test_turns_share_a_connection_and_a_cancelled_one_is_lost(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm() as model:
            chat = context(("system", ACME), ("user", POLICY))
            await listen(model, chat)
            await listen(model, chat)
            heard = await listen(model, chat, stop_after=3)
            left_s = asyncio.get_running_loop().time()
            await asyncio.sleep(0.5)
            await listen(model, chat)
            requests = [row.connection_requests for row in rows(stage.scene, Request)]
            assert requests == [1, 2, 3, 1]
            (cancelled,) = rows(stage.scene, Cancelled)
            assert cancelled.t_s == pytest.approx(left_s, abs=1e-3)
            assert len(heard.text) < len(POLICY_REPLY)
            assert 3 <= cancelled.output_tokens < 23
            assert cancelled.usd > 0

    run(main())


def test_leaving_before_the_first_token_generates_nothing(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm() as model:
            stream = model.chat(chat_ctx=context(("system", LONG), ("user", POLICY)))
            await asyncio.sleep(0.1)
            await stream.aclose()
            await asyncio.sleep(0.1)
            (cancelled,) = rows(stage.scene, Cancelled)
            assert cancelled.output_tokens == 0
            assert not rows(stage.scene, FirstToken)
            # What was never prefilled cannot be read from the cache either.
            heard = await listen(model, context(("system", LONG), ("user", POLICY)))
            assert heard.usage is not None
            assert heard.usage.prompt_cached_tokens == 0

    run(main())


def test_a_cached_prefix_saves_exactly_its_prefill(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm("gpt-4.1") as model:
            chat = context(("system", LONG), ("user", POLICY))
            cold = await listen(model, chat)
            stage.scene.call += 1  # other draws, the same cache
            key = ("reply", WHOLE, 0, 0)
            warm = await listen(model, chat)
            assert cold.usage
            assert warm.usage
            assert cold.usage.prompt_cached_tokens == 0
            cached = warm.usage.prompt_cached_tokens
            assert cached == 1024 + (cold.usage.prompt_tokens - 1024) // 128 * 128
            rate = profile.value("models", "gpt-4.1", "prefill_tokens_per_s")
            wait_s = stage.emulator.draw(
                "models", "gpt-4.1", "first_token", purpose="first_token", key=key
            )
            expected_s = wait_s + (warm.usage.prompt_tokens - cached) / rate
            assert warm.times_s[0] == pytest.approx(expected_s, abs=1e-3)
            assert stage.scene.log.events[-1].usd < rows(stage.scene, Completed)[0].usd
            stage.emulator.reset()
            assert (await listen(model, chat)).usage.prompt_cached_tokens == 0  # type: ignore[union-attr]

    run(main())


def test_breakpoint_models_write_and_read_at_message_ends(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            ask = client.chat.completions.create
            first = await ask(model="gpt-5.6-luna", messages=say(system=LONG))  # type: ignore[call-overload]
            details = first.usage.prompt_tokens_details
            assert details.cached_tokens == 0
            assert details.cache_write_tokens == first.usage.prompt_tokens - 3
            grown = [
                *say(system=LONG),
                {"role": "assistant", "content": "Yes."},
                *say("Thanks.")[1:],
            ]
            second = await ask(model="gpt-5.6-luna", messages=grown)  # type: ignore[call-overload]
            read = second.usage.prompt_tokens_details.cached_tokens
            assert read == details.cache_write_tokens
            other = await ask(model="gpt-5.6-luna", messages=say("Hi", LONG))  # type: ignore[call-overload]
            assert other.usage.prompt_tokens_details.cached_tokens == 0
            mark = {"type": "text", "text": LONG, "prompt_cache_breakpoint": {"mode": "explicit"}}
            marked = {"role": "system", "content": [mark]}
            user = {"role": "user", "content": "Hi"}
            with pytest.raises(openai.BadRequestError, match="prompt_cache_breakpoint"):
                await ask(model="gpt-4.1", messages=[marked, user])  # type: ignore[list-item]
            await ask(model="gpt-5.6-luna", messages=[marked, user])  # type: ignore[list-item]
            thanks = await ask(model="gpt-5.6-luna", messages=[marked, *say("Thanks.")[1:]])  # type: ignore[list-item]
            assert thanks.usage.prompt_tokens_details.cached_tokens > 1500  # type: ignore[union-attr]

    run(main())


def test_the_wire_carries_several_events_in_one_write(run: Run, profile: Profile) -> None:
    async def main() -> None:
        body = {"model": "gpt-4o", "messages": say(), "stream": True}
        async with (
            openai_stage(profile) as stage,
            aiohttp.ClientSession() as session,
            session.post(
                stage.url + "/chat/completions",
                json=body,
                headers={"Authorization": "Bearer sk-test"},
            ) as response,
        ):
            assert response.headers["Content-Type"].startswith("text/event-stream")
            for name in ("x-request-id", "openai-processing-ms", "x-ratelimit-remaining-tokens"):
                assert response.headers[name]
            writes = [data async for data, _ in response.content.iter_chunks()]
            events = [write.count(b"data: ") for write in writes]
            assert max(events[:-1]) > 1
            assert sum(events) == 1 + 23 + 1 + 1  # role, tokens, finish, [DONE]; no usage asked
            assert writes[-1].endswith(b"data: [DONE]\n\n")
            first = json.loads(writes[0].split(b"\n\n")[0].removeprefix(b"data: "))
            assert first["choices"][0]["delta"]["role"] == "assistant"
            assert "usage" not in first

    run(main())


def test_the_token_limit_cuts_with_length(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            got = await client.chat.completions.create(
                model="gpt-4.1",
                messages=say(),
                max_completion_tokens=5,  # type: ignore[arg-type]
            )
            assert got.choices[0].finish_reason == "length"
            assert got.usage is not None
            assert got.usage.completion_tokens == 5
            assert got.choices[0].message.content == "You can return most items"

    run(main())


def test_priority_is_granted_only_where_it_exists(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            for model, tier in (("gpt-4.1", "priority"), ("gpt-4o-mini", "default")):
                got = await client.chat.completions.create(
                    model=model,
                    messages=say(),
                    service_tier="priority",  # type: ignore[arg-type]
                )
                assert got.service_tier == tier
                assert rows(stage.scene, Request)[-1].service_tier == tier

    run(main())


def test_embeddings_are_unit_vectors_in_both_encodings(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            texts = ["What is your return policy?", "what is your return policy?", "Blue whales"]
            ask = client.embeddings.create
            coded = await ask(model="text-embedding-3-small", input=texts)
            plain = await ask(model="text-embedding-3-small", input=texts, encoding_format="float")
            a, b, c = (item.embedding for item in coded.data)
            assert len(a) == 1536
            assert sum(x * x for x in a) == pytest.approx(1.0, abs=1e-4)
            assert a == pytest.approx(plain.data[0].embedding, abs=1e-6)
            assert a == b
            assert sum(x * y for x, y in zip(a, c, strict=True)) < 0.3
            small = await ask(model="text-embedding-3-small", input="Hi", dimensions=256)
            assert len(small.data[0].embedding) == 256

    run(main())
