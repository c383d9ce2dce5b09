"""What a chat request may ask of the answer: more of them, a form, an end, likelihoods, tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from llm_stage import POLICY, POLICY_REPLY, openai_stage, overlaid, rows, say

from labkit.providers.profile import Profile
from labkit.world.events import Completed, Request

Run = Callable[[Any], Any]
MINI = "gpt-4o-mini"


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["openai"]


def asked(run: Run, profile: Profile, **change: Any) -> Any:
    """The answer to a request."""

    async def main() -> Any:
        async with openai_stage(profile) as stage, stage.client() as client:
            request = {"model": MINI, "messages": say(), **change}
            return await client.chat.completions.create(**request)

    return run(main())


def refusal(run: Run, profile: Profile, **change: Any) -> dict[str, Any]:
    """The error that a request gets."""
    with pytest.raises(openai.BadRequestError) as caught:
        asked(run, profile, **change)
    body: Any = caught.value.body
    return dict(body)


def test_several_answers_are_billed_several_times(run: Run, profile: Profile) -> None:
    one, three = asked(run, profile), asked(run, profile, n=3)
    assert [c.index for c in three.choices] == [0, 1, 2]
    assert {c.message.content for c in three.choices} == {POLICY_REPLY}
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


def test_several_answers_are_streamed_side_by_side(run: Run, profile: Profile) -> None:
    async def main() -> list[str]:
        texts = ["", ""]
        async with openai_stage(profile) as stage, stage.client() as client:
            stream = await client.chat.completions.create(
                model=MINI, messages=say(), n=2, stream=True  # type: ignore[arg-type]
            )  # fmt: skip
            async for chunk in stream:
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
        return texts

    assert run(main()) == [POLICY_REPLY] * 2


@pytest.mark.parametrize("stop", ["Returns", ["zzz", "Returns", "pay"]])
def test_an_answer_ends_before_a_stop_sequence(run: Run, profile: Profile, stop: Any) -> None:
    (choice,) = asked(run, profile, stop=stop).choices
    assert choice.message.content == POLICY_REPLY.partition("Returns")[0]
    assert choice.finish_reason == "stop"


def test_likelihoods_cover_the_answer(run: Run, profile: Profile) -> None:
    (choice,) = asked(run, profile, logprobs=True, top_logprobs=1).choices
    assert "".join(t.token for t in choice.logprobs.content) == POLICY_REPLY
    assert all(len(t.top_logprobs) == 1 for t in choice.logprobs.content)


def test_an_answer_follows_a_schema(run: Run, profile: Profile) -> None:
    schema = {
        "type": "object",
        "properties": {
            "mood": {"enum": ["calm", "angry"]},
            "reply": {"$ref": "#/$defs/words"},
            "sure": {"type": "number", "minimum": 3},
        },
        "$defs": {"words": {"type": "string"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "r", "schema": schema}}
    (choice,) = asked(run, profile, response_format=form).choices
    assert json.loads(choice.message.content) == {
        "mood": "calm",
        "reply": POLICY_REPLY,
        "sure": 3.0,
    }


def test_without_a_schema_it_is_json_all_the_same(run: Run, profile: Profile) -> None:
    messages = say(system="You are the phone assistant of Acme Home. Answer in JSON.")
    form = {"type": "json_object"}
    (choice,) = asked(run, profile, response_format=form, messages=messages).choices
    assert json.loads(choice.message.content) == {"response": POLICY_REPLY}


def tool(name: str) -> dict[str, Any]:
    place = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "parameters": place}}


BOTH = "What is the weather in Paris and the traffic in London?"
TOOLS = [tool("get_weather"), tool("get_traffic")]


def test_two_tools_are_called_at_once_unless_that_is_forbidden(run: Run, profile: Profile) -> None:
    messages = [{"role": "user", "content": BOTH}]
    (choice,) = asked(run, profile, messages=messages, tools=TOOLS).choices
    calls = [(c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls]
    assert calls == [("get_weather", {"city": "Paris"}), ("get_traffic", {"city": "London"})]
    told = [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"found": i})}
        for i, call in enumerate(choice.message.tool_calls)
    ]
    history = [*messages, choice.message.model_dump(exclude_none=True), *told]
    (then,) = asked(run, profile, messages=history, tools=TOOLS).choices
    assert "found 0" in then.message.content and "found 1" in then.message.content
    single = asked(run, profile, messages=messages, tools=TOOLS, parallel_tool_calls=False)
    assert len(single.choices[0].message.tool_calls) == 1


def _function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **fields}}


@pytest.mark.parametrize(
    ("change", "param", "code", "text"),
    [
        ({"n": "2"}, "n", "invalid_type", "expected an integer, but got a string instead"),
        ({"n": 64}, "n", "integer_above_max_value", "Expected a value <= 8, but got 64 instead"),
        ({"seed": 1.5}, "seed", "invalid_type", "but got a decimal number instead"),
        ({"stop": ["x"] * 5}, "stop", "array_above_max_length", "maximum length 4"),
        ({"top_logprobs": 1}, "top_logprobs", None, "only allowed when 'logprobs' is enabled"),
        (
            {"logprobs": True, "top_logprobs": 21},
            "top_logprobs",
            "integer_above_max_value",
            "<= 20",
        ),
        (
            {"response_format": "json"},
            "response_format",
            "invalid_type",
            "expected an object, but got a string instead",
        ),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
            "Missing required parameter: 'response_format.json_schema'.",
        ),
        ({"response_format": {"type": "json_object"}}, "messages", None, "the word 'json'"),
        ({"stream_options": 1}, "stream_options", "invalid_type", "expected an object"),
        (
            {"messages": [{"role": "user", "content": 7}]},
            "messages[0].content",
            "invalid_type",
            "expected one of a string or array of objects, but got an integer instead",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": "x"}]},
            "messages[0].tool_calls",
            "invalid_type",
            "expected an array of objects",
        ),
        (
            {"tools": [_function(parameters="x")]},
            "tools[0].function.parameters",
            "invalid_type",
            "expected an object",
        ),
        (
            {"tools": [_function(parameters={"properties": {"a": 1}})]},
            "tools[0].function.parameters",
            "invalid_function_parameters",
            "1 is not of type 'object', 'boolean'",
        ),
        ({"tool_choice": 7, "tools": TOOLS}, "tool_choice", "invalid_type", "or object"),
        (
            {"messages": [*say(), {"role": "assistant", "tool_calls": [
                {"id": "call_9", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ]}]},
            "messages.[3].role",
            None,
            "did not have response messages: call_9",
        ),
        ({"max_tokens": 10**9}, "max_tokens", "invalid_value", "supports at most 16384 completion"),
        ({"zzz": 1, "n": "x"}, "zzz", "unknown_parameter", "Unknown parameter: 'zzz'."),
    ],
)  # fmt: skip
def test_refusals_name_the_place(
    run: Run, profile: Profile, change: dict[str, Any], param: str, code: str | None, text: str
) -> None:
    error = refusal(run, profile, extra_body=change)
    assert (error["param"], error["code"]) == (param, code)
    assert text in error["message"]


def test_a_prompt_longer_than_the_window_is_refused(run: Run, profile: Profile) -> None:
    error = refusal(run, profile, messages=say("word " * 130_000))
    assert error["code"] == "context_length_exceeded"
    assert "maximum context length is 128000 tokens" in error["message"]


def test_a_refused_request_takes_nothing(run: Run, tmp_path: Path) -> None:
    tight = overlaid("openai", tmp_path, f'models."{MINI}".limits | tpm = value = 1000')

    async def main() -> None:
        async with openai_stage(tight) as stage, stage.client() as client:
            create: Any = client.chat.completions.create
            for _ in range(20):
                with pytest.raises(openai.RateLimitError, match="Request too large"):
                    await create(model=MINI, messages=say(), max_completion_tokens=16_000)
            done = await create(model=MINI, messages=say(), max_completion_tokens=900)
            assert done.choices[0].message.content == POLICY_REPLY
            with pytest.raises(openai.RateLimitError, match="Please try again in") as caught:
                await create(model=MINI, messages=say(), max_completion_tokens=900)
            assert int(caught.value.response.headers["x-ratelimit-remaining-tokens"]) >= 0
            assert int(caught.value.response.headers["x-ratelimit-remaining-requests"]) >= 4999
            assert len(rows(stage.scene, Request)) == len(rows(stage.scene, Completed)) == 1

    run(main())


def test_embeddings_have_the_limits_of_the_model(run: Run, profile: Profile) -> None:
    small = "text-embedding-3-small"

    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            create: Any = client.embeddings.create
            vector = (await create(model=small, input=POLICY, dimensions=64)).data[0].embedding
            ids = [3923, 374]
            assert len(vector) == 64
            assert len((await create(model=small, input=[ids, ids])).data) == 2
            for change, text in (
                ({"dimensions": 10**8}, "less than or equal to 1536"),
                ({"input": ["x"] * 2049}, "'\\$.input' is invalid"),
                ({"input": "word " * 9000}, "maximum context length is 8192 tokens"),
                ({"input": ["word " * 8000] * 40}, "300000 tokens per request"),
                ({"input": []}, "empty array"),
                ({"input": 7}, "Invalid type for 'input'"),
                ({"input": [1.5]}, "Invalid type for 'input"),
            ):
                with pytest.raises(openai.BadRequestError, match=text):
                    await create(**{"model": small, "input": "x", **change})

    run(main())
