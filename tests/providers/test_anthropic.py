"""The emulated Anthropic service, seen by the LiveKit plugin and the official client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from llm_stage import (
    ACME,
    POLICY,
    POLICY_REPLY,
    anthropic_stage,
    ask,
    context,
    listen,
    lookup_order,
    rows,
)

from labkit.providers.profile import Profile
from labkit.world.events import Cancelled, Completed, FirstToken, Request

Run = Callable[[Any], Any]
SONNET = "claude-sonnet-4-5"
HAIKU = "claude-haiku-4-5"
CACHING = "ephemeral"
MARK = {"type": "ephemeral"}
LONG = ACME + " Be kind to everyone who calls." * 300


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["anthropic"]


def test_the_plugin_gets_the_answer_and_overcounts_as_it_does(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.llm() as model:
            model.prewarm()
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            assert heard.text == POLICY_REPLY
            (request,), (done,) = rows(stage.scene, Request), rows(stage.scene, Completed)
            assert heard.usage is not None
            assert heard.usage.prompt_tokens == request.prompt_tokens
            # The plugin adds the start's small count to the final one.
            assert heard.usage.completion_tokens == done.output_tokens + 2
            assert done.output_tokens == round(23 * 1.16)
            assert done.finish_reason == "end_turn"

    run(main())


def test_a_tool_is_called_and_its_result_answered(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.llm() as model:
            chat = context(("system", ACME), ("user", "It's order four five seven one."))
            (call,) = (await listen(model, chat, [lookup_order])).calls
            assert (call.name, json.loads(call.arguments)) == ("lookup_order", {"order_id": "4571"})
            assert rows(stage.scene, Completed)[0].finish_reason == "tool_use"

    run(main())


def test_tool_results_inside_user_messages_are_understood(run: Run, profile: Profile) -> None:
    result = {"order_id": "4571", "status": "shipped", "left": "Monday", "due": "Thursday"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "lookup_order", "input": {}}
    back = {"type": "tool_result", "tool_use_id": "toolu_1", "content": json.dumps(result)}
    tool = {"name": "lookup_order", "input_schema": {"type": "object", "properties": {}}}
    talk = [
        {"role": "user", "content": "It's order four five seven one."},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [back]},
    ]

    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            got = await client.messages.create(**ask(messages=talk, tools=[tool]))
            assert got.content[0].text.startswith("Thanks, I found order")
            assert got.stop_reason == "end_turn"

    run(main())


def test_the_marks_of_the_plugin_are_cached(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with (
            anthropic_stage(profile) as stage,
            stage.llm(SONNET, caching=CACHING) as model,
        ):
            chat = context(("system", LONG), ("user", POLICY))
            first = (await listen(model, chat)).usage
            chat.add_message(role="assistant", content=POLICY_REPLY)
            chat.add_message(role="user", content="Thanks.")
            second = (await listen(model, chat)).usage
            assert first
            assert second
            assert first.cache_creation_tokens > 1024
            assert first.cache_read_tokens == 0
            assert second.cache_read_tokens == first.cache_creation_tokens
            # Now the reply and the question before it are marked too, the new question is not.
            assert 0 < second.cache_creation_tokens < 60
            assert second.prompt_tokens > second.cache_read_tokens + second.cache_creation_tokens

    run(main())


def test_haiku_needs_four_thousand_tokens(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with (
            anthropic_stage(profile) as stage,
            stage.llm(HAIKU, caching=CACHING) as model,
        ):
            usage = (await listen(model, context(("system", LONG), ("user", POLICY)))).usage
            assert usage
            assert 2000 < usage.prompt_tokens < 4096
            assert usage.cache_creation_tokens == usage.cache_read_tokens == 0

    run(main())


def test_usage_adds_up_and_splits_by_lifetime(run: Run, profile: Profile) -> None:
    hour = {"type": "text", "text": LONG, "cache_control": {**MARK, "ttl": "1h"}}
    user = {"type": "text", "text": POLICY, "cache_control": MARK}
    request = ask(model=SONNET, system=[hour], messages=[{"role": "user", "content": [user]}])

    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            total = (
                await client.messages.count_tokens(
                    model=SONNET, system=request["system"], messages=request["messages"]
                )
            ).input_tokens
            cold = (await client.messages.create(**request)).usage
            assert cold.cache_creation is not None
            split = cold.cache_creation
            assert split.ephemeral_1h_input_tokens > 1500
            assert 0 < split.ephemeral_5m_input_tokens < 30
            assert cold.input_tokens == 0  # nothing follows the last mark
            assert cold.input_tokens + (cold.cache_creation_input_tokens or 0) == total
            warm = (await client.messages.create(**request)).usage
            assert warm.cache_read_input_tokens == total
            await asyncio.sleep(400)
            later = (await client.messages.create(**request)).usage
            assert later.cache_read_input_tokens == split.ephemeral_1h_input_tokens
            assert later.cache_creation_input_tokens == split.ephemeral_5m_input_tokens

    run(main())


def test_a_changed_tool_choice_voids_the_messages_only(run: Run, profile: Profile) -> None:
    system = [{"type": "text", "text": LONG, "cache_control": MARK}]
    content = [{"type": "text", "text": POLICY, "cache_control": MARK}]
    tool = {"name": "lookup_order", "input_schema": {"type": "object", "properties": {}}}
    request = ask(
        model=SONNET, system=system, tools=[tool], messages=[{"role": "user", "content": content}]
    )

    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            await client.messages.create(**request)
            whole = (await client.messages.create(**request)).usage
            part = (await client.messages.create(**request, tool_choice={"type": "none"})).usage
            assert 0 < (part.cache_read_input_tokens or 0) < (whole.cache_read_input_tokens or 0)

    run(main())


def test_cancelling_closes_the_connection_and_is_logged(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.llm() as model:
            chat = context(("system", ACME), ("user", POLICY))
            await listen(model, chat, stop_after=4)
            await asyncio.sleep(0.2)
            await listen(model, chat)
            (cancelled,) = rows(stage.scene, Cancelled)
            assert 4 <= cancelled.output_tokens < 27
            assert [r.connection_requests for r in rows(stage.scene, Request)] == [1, 1]

    run(main())


def test_events_come_in_the_documented_order(run: Run, profile: Profile) -> None:
    async def main() -> None:
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        async with (
            anthropic_stage(profile) as stage,
            aiohttp.ClientSession(headers=headers) as session,
            session.post(stage.url + "/v1/messages", json=ask(stream=True)) as response,
        ):
            events = [e.split("\n") for e in (await response.text()).split("\n\n") if e]
            names = [event[0].removeprefix("event: ") for event in events]
            data = [json.loads(event[1].removeprefix("data: ")) for event in events]
            assert [d["type"] for d in data] == names
            assert names[:3] == ["message_start", "content_block_start", "ping"]
            assert set(names[3:-3]) == {"content_block_delta"}
            assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
            assert data[0]["message"]["usage"]["output_tokens"] == 2
            assert data[-2]["usage"]["output_tokens"] == round(23 * 1.16)
            assert "".join(d["delta"]["text"] for d in data[3:-3]) == POLICY_REPLY

    run(main())


def test_thinking_delays_the_first_token_unless_disabled(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            for thinking in ({}, {"thinking": {"type": "disabled"}}):
                stage.emulator.reset()
                await client.messages.create(**ask(model="claude-sonnet-5", **thinking))
            starts = [row.t_s for row in rows(stage.scene, Request)]
            firsts = [row.t_s for row in rows(stage.scene, FirstToken)]
            assert firsts[0] - starts[0] > firsts[1] - starts[1] + 0.1
            thought, plain = (row.usd for row in rows(stage.scene, Completed))
            assert thought > plain

    run(main())
