"""What the emulated OpenAI service refuses, and how."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from livekit.agents import APIStatusError
from llm_stage import (
    ACME,
    POLICY,
    POLICY_REPLY,
    context,
    listen,
    lookup_order,
    openai_stage,
    overlaid,
    rows,
    say,
)

from labkit.providers.profile import Profile
from labkit.world.events import Refused

Run = Callable[[Any], Any]


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["openai"]


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"extra_body": {"foo": 1}}, openai.BadRequestError, "unknown_parameter"),
        ({"messages": []}, openai.BadRequestError, "empty_array"),
        ({"messages": [{"role": "boss", "content": "x"}]}, openai.BadRequestError, "invalid_value"),
        ({"messages": [{"role": "user"}]}, openai.BadRequestError, "invalid_type"),
        ({"max_completion_tokens": 0}, openai.BadRequestError, "integer_below_min_value"),
        ({"service_tier": "gold"}, openai.BadRequestError, "invalid_value"),
    ],
)
def test_wrong_requests_are_refused_in_the_true_form(
    run: Run,
    profile: Profile,
    change: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.client() as client:
            request = {"model": "gpt-4.1", "messages": say(), **change}
            with pytest.raises(error) as caught:
                await client.chat.completions.create(**request)
            assert caught.value.code == code
            assert caught.value.request_id

    run(main())


def test_tools_with_effort_are_refused_on_the_newest_model(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm("gpt-5.6-luna") as model:
            chat = context(("system", ACME), ("user", POLICY))
            assert (await listen(model, chat)).text == POLICY_REPLY
            with pytest.raises(APIStatusError, match="reasoning_effort"):
                await listen(model, chat, [lookup_order])

    run(main())


def test_keys_are_checked(run: Run, profile: Profile) -> None:
    async def main() -> None:
        keys = frozenset({"sk-good"})
        async with openai_stage(profile, api_keys=keys) as stage:
            async with stage.client("sk-wrong") as client:
                with pytest.raises(openai.AuthenticationError) as caught:
                    await client.models.list()
                assert caught.value.code == "invalid_api_key"
            async with stage.client("sk-good") as client:
                assert "gpt-4.1" in [m.id for m in (await client.models.list()).data]

    run(main())


def test_rate_limits_answer_429_with_their_headers(run: Run, tmp_path: Path) -> None:
    mini = 'models."gpt-4o-mini".limits | '
    tight = overlaid("openai", tmp_path, mini + "rpm = value = 2")

    async def main() -> None:
        async with openai_stage(tight) as stage, stage.client() as client:
            ask = client.chat.completions.create
            await asyncio.gather(
                *(ask(model="gpt-4o-mini", messages=say()) for _ in range(2))  # type: ignore[call-overload]
            )
            with pytest.raises(openai.RateLimitError) as caught:
                await ask(model="gpt-4o-mini", messages=say())  # type: ignore[call-overload]
            headers = caught.value.response.headers
            assert headers["x-ratelimit-limit-requests"] == "2"
            assert headers["x-ratelimit-remaining-requests"] == "0"
            assert int(headers["retry-after"]) > 0
            assert caught.value.code == "rate_limit_exceeded"
            await client.chat.completions.create(model="gpt-4o", messages=say())  # type: ignore[arg-type]
            await asyncio.sleep(60)
            await client.chat.completions.create(model="gpt-4o-mini", messages=say())  # type: ignore[arg-type]

    run(main())


def test_tokens_per_minute_count_the_output_limit_too(run: Run, tmp_path: Path) -> None:
    tight = overlaid("openai", tmp_path, 'models."gpt-4o-mini".limits | tpm = value = 1000')

    async def main() -> None:
        async with openai_stage(tight) as stage, stage.client() as client:
            ask = client.chat.completions.create
            await ask(model="gpt-4o-mini", messages=say(), max_completion_tokens=900)  # type: ignore[call-overload]
            with pytest.raises(openai.RateLimitError, match="tokens per min"):
                await ask(model="gpt-4o-mini", messages=say(), max_completion_tokens=900)  # type: ignore[call-overload]

    run(main())


def test_ordered_failures_are_retried_by_the_plugin(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with openai_stage(profile) as stage, stage.llm() as model:
            stage.emulator.failures += [500, 503]
            heard = await listen(model, context(("system", ACME), ("user", POLICY)))
            assert heard.text == POLICY_REPLY
            assert [row.status for row in rows(stage.scene, Refused)] == [500, 503]
            assert heard.times_s[0] > 2.1  # 0.1 s and 2 s between the attempts

    run(main())
