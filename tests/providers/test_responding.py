"""OpenAI's Responses API, seen by the LiveKit plugin on a WebSocket and by the official client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from livekit.agents import APIStatusError
from livekit.agents.llm import FunctionCall, FunctionCallOutput
from livekit.agents.utils import http_context
from livekit.plugins.openai import responses
from llm_stage import (
    ACME,
    POLICY,
    POLICY_REPLY,
    OpenAIStage,
    context,
    listen,
    lookup_order,
    openai_stage,
    rows,
)

from labkit.providers.profile import Profile
from labkit.world.events import Cancelled, Completed, FirstToken, Request

Run = Callable[[Any], Any]
ORDER = "It's order four five seven one."


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["openai"]


def over_socket(stage: OpenAIStage, model: str = "gpt-4.1", **options: Any) -> responses.LLM:
    url = f"{stage.url}/responses"
    return responses.LLM(model=model, api_key="any", base_url=url, **options)


def in_session(main: Callable[[], Any]) -> Any:
    async def run() -> None:
        http_context._new_session_ctx()
        try:
            await main()
        finally:
            await http_context._close_http_ctx()

    return run()


def test_the_plugin_goes_on_from_its_last_response(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage:
            model = over_socket(stage)
            chat = context(("system", ACME), ("user", POLICY))
            heard = await listen(model, chat)
            assert heard.text == POLICY_REPLY
            assert heard.usage is not None and heard.usage.completion_tokens == 23
            (request,), (first,), (done,) = (
                rows(stage.scene, e) for e in (Request, FirstToken, Completed)
            )
            assert first.t_s - request.t_s == pytest.approx(heard.times_s[0], abs=1e-6)
            assert len(heard.times_s) == 23 and done.text == POLICY_REPLY
            chat.add_message(role="assistant", content=heard.text)
            chat.add_message(role="user", content=ORDER)
            (call,) = (await listen(model, chat, [lookup_order])).calls
            assert (call.name, json.loads(call.arguments)) == ("lookup_order", {"order_id": "4571"})
            last = rows(stage.scene, Request)[-1]
            assert last.prompt_tokens > request.prompt_tokens  # what came before is counted
            chat.insert(FunctionCall(call_id=call.call_id, name=call.name, arguments="{}"))
            output = '{"status": "late"}'
            chat.insert(
                FunctionCallOutput(
                    call_id=call.call_id, name=call.name, output=output, is_error=False
                )
            )
            heard = await listen(model, chat, [lookup_order])
            assert heard.text == "Here is what I found: status late."
            await model.aclose()

    run(in_session(main))


def test_an_interrupted_answer_ends_and_the_next_gets_a_new_socket(
    run: Run, profile: Profile
) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage:
            model = over_socket(stage)
            chat = context(("system", ACME), ("user", POLICY))
            await listen(model, chat, stop_after=3)  # the plugin closes the socket with the next
            assert (await listen(model, chat)).text == POLICY_REPLY
            (cancelled,) = rows(stage.scene, Cancelled)
            assert 3 <= cancelled.output_tokens < 23
            await model.aclose()

    run(in_session(main))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gpt-9", {}, "The requested model 'gpt-9' does not exist"),
        ("gpt-4.1", {"temperature": 3.0}, "Invalid 'temperature'"),
    ],
)
def test_a_socket_tells_errors_in_a_message(
    run: Run, profile: Profile, name: str, options: dict[str, Any], words: str
) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage:
            model = over_socket(stage, name, **options)
            with pytest.raises(APIStatusError, match=words):
                await listen(model, context(("user", "Hi")))
            await model.aclose()

    run(in_session(main))


def test_the_official_client_streams_and_reads_whole_responses(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            ask: dict[str, Any] = {"model": "gpt-4.1", "instructions": ACME, "input": POLICY}
            whole = await client.responses.create(**ask)
            assert whole.output_text == POLICY_REPLY
            assert whole.usage is not None and whole.usage.output_tokens == 23
            async with client.responses.stream(**ask) as stream:
                kinds = [event.type async for event in stream]
                final = await stream.get_final_response()
            assert final.output_text == POLICY_REPLY
            assert kinds[:2] == ["response.created", "response.in_progress"]
            assert kinds[-1] == "response.completed"
            short = await client.responses.create(**ask, max_output_tokens=5)
            assert short.status == "incomplete"
            with pytest.raises(openai.BadRequestError, match="Previous response with id 'resp_0'"):
                await client.responses.create(**ask, previous_response_id="resp_0")
            with pytest.raises(openai.BadRequestError, match=r"does not support 0\.5"):
                await client.responses.create(**ask | {"model": "gpt-5-mini"}, temperature=0.5)

    run(main())


def test_effort_and_tools_go_together_here_alone(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage:
            model = over_socket(stage, "gpt-5.6-luna")  # which the plugin asks for effort none
            chat = context(("system", ACME), ("user", ORDER))
            (call,) = (await listen(model, chat, [lookup_order])).calls
            assert call.name == "lookup_order"
            await model.aclose()

    run(in_session(main))
