"""What the emulated Anthropic service refuses, and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest
from llm_stage import ACME, anthropic_stage, ask, overlaid

from labkit.providers.profile import Profile

Run = Callable[[Any], Any]
SONNET = "claude-sonnet-4-5"
MARK = {"type": "ephemeral"}
LONG = ACME + " Be kind to everyone who calls." * 300


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["anthropic"]


MARKED = [{"type": "text", "text": "x", "cache_control": MARK} for _ in range(5)]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"model": "claude-9"}, anthropic.NotFoundError, "claude-9"),
        ({"messages": []}, anthropic.BadRequestError, "at least one message"),
        ({"system": MARKED}, anthropic.BadRequestError, "maximum of 4 blocks"),
        ({"extra_body": {"foo": 1}}, anthropic.BadRequestError, "Extra inputs"),
        ({"messages": [{"role": "user", "content": ""}]}, anthropic.BadRequestError, "non-empty"),
        (
            {"messages": [{"role": "system", "content": "x"}]},
            anthropic.BadRequestError,
            "'user' or 'assistant'",
        ),
        ({"max_tokens": 0}, anthropic.BadRequestError, "max_tokens"),
    ],
)
def test_wrong_requests_are_refused_in_the_true_form(
    run: Run,
    profile: Profile,
    change: dict[str, Any],
    error: type[anthropic.APIStatusError],
    text: str,
) -> None:
    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            with pytest.raises(error, match=text) as caught:
                await client.messages.create(**ask(**change))
            body: Any = caught.value.body
            assert body["type"] == "error"
            assert body["request_id"] == caught.value.response.headers["request-id"]

    run(main())


def test_keys_are_checked_and_models_listed(run: Run, profile: Profile) -> None:
    async def main() -> None:
        async with anthropic_stage(profile, api_keys=frozenset({"good"})) as stage:
            async with stage.client("bad") as client:
                with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
                    await client.models.list(limit=1)
            async with stage.client("good") as client:
                page = await client.models.list(limit=1)
                assert (len(page.data), page.has_more) == (1, True)

    run(main())


def test_cached_tokens_do_not_count_towards_the_limit(run: Run, tmp_path: Path) -> None:
    tight = overlaid("anthropic", tmp_path, f"models.{SONNET}.limits | itpm = value = 3000")
    system = [{"type": "text", "text": LONG, "cache_control": MARK}]

    async def main() -> None:
        async with anthropic_stage(tight) as stage, stage.client() as client:
            for _ in range(3):  # 2100 tokens each, but only the first time
                await client.messages.create(**ask(model=SONNET, system=system))
            with pytest.raises(anthropic.RateLimitError) as caught:
                await client.messages.create(**ask(model=SONNET, system=LONG))
            headers = caught.value.response.headers
            assert headers["anthropic-ratelimit-input-tokens-limit"] == "3000"
            assert int(headers["retry-after"]) > 0
            assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")

    run(main())


def test_overload_is_529_by_order_and_by_chance(run: Run, profile: Profile, tmp_path: Path) -> None:
    often = overlaid("anthropic", tmp_path, "overload | prob = value = 0.5")

    async def main() -> None:
        async with anthropic_stage(profile) as stage, stage.client() as client:
            stage.emulator.failures.append(529)
            with pytest.raises(anthropic.APIStatusError) as caught:
                await client.messages.create(**ask())
            body: Any = caught.value.body
            assert (caught.value.status_code, body["error"]["type"]) == (529, "overloaded_error")
        async with anthropic_stage(often) as stage, stage.client() as client:
            outcomes = []
            for _ in range(20):
                try:
                    await client.messages.create(**ask())
                    outcomes.append(True)
                except anthropic.APIStatusError:
                    outcomes.append(False)
            assert 3 < sum(outcomes) < 17

    run(main())
