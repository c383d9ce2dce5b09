"""What a messages request may ask of the answer, and which histories it may not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import anthropic
import pytest
from llm_stage import POLICY_REPLY, anthropic_stage, ask

from labkit.providers.profile import Profile

Run = Callable[[Any], Any]
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["anthropic"]


def asked(run: Run, profile: Profile, **change: Any) -> Any:
    """The answer to a request."""

    async def main() -> Any:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            return await client.messages.create(**ask(**change))

    return run(main())


def test_thinking_is_shown_before_the_answer(run: Run, profile: Profile) -> None:
    whole = asked(run, profile, max_tokens=2000, thinking=THINKING)
    assert [b.type for b in whole.content] == ["thinking", "text"]
    assert whole.content[0].thinking and whole.content[0].signature
    assert whole.content[1].text == POLICY_REPLY

    async def main() -> Any:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            request = ask(max_tokens=2000, thinking=THINKING)
            async with client.messages.stream(**request) as stream:
                return await stream.get_final_message()

    streamed = run(main())
    assert [b.model_dump() for b in streamed.content] == [b.model_dump() for b in whole.content]
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    plain = asked(run, profile)
    assert whole.usage.output_tokens > plain.usage.output_tokens
    history = [
        *ask()["messages"],
        {"role": "assistant", "content": [b.model_dump() for b in whole.content[:1]]},
        {"role": "user", "content": "What's your return policy?"},
    ]
    for block in history[1]["content"]:
        assert set(block) == {"type", "thinking", "signature"}
    assert asked(run, profile, messages=history).content[0].text == POLICY_REPLY


def test_a_stop_sequence_is_named(run: Run, profile: Profile) -> None:
    answer = asked(run, profile, stop_sequences=["nothing", "Returns"])
    assert answer.content[0].text == POLICY_REPLY.partition("Returns")[0]
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "Returns")


USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
ASKED, CALLED = {"role": "user", "content": "x"}, {"role": "assistant", "content": [USE]}
TOLD = {"role": "user", "content": [RESULT]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"messages": [TOLD]}, "messages.0.content.0: unexpected `tool_use_id` found in"),
        ({"messages": [ASKED, CALLED, ASKED, TOLD, TOLD, CALLED]}, "messages.5: `tool_use`"),
        ({"messages": [ASKED, CALLED]}, "messages.1: `tool_use` ids were found without"),
        ({"messages": [ASKED, {**CALLED, "content": [USE, USE]}]}, "ids must be unique"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content: Input should be a"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text.text: Field required",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "poem"}]}]},
            "messages.0.content.0: Input tag 'poem' found using 'type' does not match any of",
        ),
        ({"system": 7}, "system: Input should be a valid array"),
        ({"tools": 7}, "tools: Input should be a valid array"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "string"}}]},
            "tools.0.custom.input_schema.type: Input should be 'object'",
        ),
        ({"tool_choice": "auto"}, "tool_choice: Input should be"),
        ({"thinking": "much"}, "thinking: Input should be"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "greater than or equal to 1024"),
        ({"thinking": THINKING}, "`max_tokens` must be greater than `thinking.budget_tokens`"),
        ({"cache_control": "x"}, "cache_control: Input should be"),
        ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid array"),
        ({"stop_sequences": [" "]}, "must contain non-whitespace"),
        ({"max_tokens": 10**9}, "1000000000 > 64000, which is the maximum allowed number"),
        ({"messages": [{"role": "user", "content": "word " * 180_000}]}, "> 200000 maximum"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id: Input should be a valid string"),
    ],
)  # fmt: skip
def test_refusals_name_the_place(
    run: Run, profile: Profile, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        asked(run, profile, extra_body=change)
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert text in body["error"]["message"]


def test_a_result_may_stand_in_the_second_of_two_user_messages(run: Run, profile: Profile) -> None:
    history = [ASKED, CALLED, ASKED, TOLD]
    assert asked(run, profile, messages=history).content[0].type == "text"


def test_a_body_that_is_no_json_is_refused_with_its_place(run: Run, profile: Profile) -> None:
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}

    async def main() -> None:
        async with anthropic_stage(profile) as stage, aiohttp.ClientSession() as session:
            for body, text in (
                (b'{"model": "\\ud800"}', "The request body is not valid JSON: "),
                (b"{", " line 1 column 1 (char 0)"),
                (b"[]", "Input should be an object"),
                (b"[" * 300, "recursion limit exceeded"),
            ):
                url = f"{stage.url}/v1/messages"
                async with session.post(url, data=body, headers=headers) as answer:
                    assert answer.status == 400
                    assert text in (await answer.json())["error"]["message"]
            url = f"{stage.url}/v1/models?limit=abc"
            async with session.get(url, headers=headers) as answer:
                assert "limit: Input should be" in (await answer.json())["error"]["message"]
            big = b" " * (33 << 20)
            url = f"{stage.url}/v1/messages"
            async with session.post(url, data=big, headers=headers) as answer:
                assert (await answer.json())["error"]["type"] == "request_too_large"

    run(main())
