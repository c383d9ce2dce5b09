"""Timing that the chat services share."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
from llm_stage import openai_stage, rows, say

from labkit.providers.pacing import TokenPace, bursts
from labkit.providers.profile import Profile
from labkit.world.events import FirstToken, Request

Run = Callable[[Any], Any]


@pytest.fixture
def profile(profiles: dict[str, Profile]) -> Profile:
    return profiles["openai"]


def test_bursts_average_to_the_models_rate() -> None:
    pace = TokenPace(tokens_per_s=60.0, spread=0.15, burst_tokens=6, jitter=0.5)
    plans = [bursts(pace, 400, seed, "pace") for seed in range(200)]
    assert all(sum(burst.tokens for burst in plan) == 400 for plan in plans)
    spent_s = statistics.mean(plan[-1].after_s for plan in plans)
    assert 399 / spent_s == pytest.approx(60.0, rel=0.03)
    sizes = [burst.tokens for plan in plans for burst in plan[1:-1]]
    assert set(sizes) == {1, 2, 3, 4, 5, 6}
    short, long = bursts(pace, 20, 5, "pace"), bursts(pace, 90, 5, "pace")
    assert long[: len(short) - 1] == short[:-1]


def test_a_draw_is_named_by_the_turn_and_not_by_order_or_model(run: Run, profile: Profile) -> None:
    async def waits(*models: str) -> list[float]:
        async with openai_stage(profile) as stage, stage.client() as client:
            for model in models:
                stage.scene.turn = 3
                await client.chat.completions.create(model=model, messages=say())  # type: ignore[arg-type]
            starts = [row.t_s for row in rows(stage.scene, Request)]
            firsts = [row.t_s for row in rows(stage.scene, FirstToken)]
            return [b - a for a, b in zip(starts, firsts, strict=True)]

    async def main() -> None:
        (alone,) = await waits("gpt-4o")
        twice = await waits("gpt-4o", "gpt-4o")
        assert twice[0] == pytest.approx(alone, abs=1e-9)
        assert twice[1] != pytest.approx(alone, abs=1e-3)  # a second try has draws of its own
        (other,) = await waits("gpt-4.1")
        delays = [profile.delay("models", m, "first_token") for m in ("gpt-4o", "gpt-4.1")]
        spells = [d.slow and d.slow.holds(1, "openai", 0, 3) for d in delays]
        assert spells[0] == spells[1]
        grid = [q / 1000 for q in range(1, 1000)]
        found = [
            min(grid, key=lambda q, d=d, t=t: abs(d.drawn(q, slow=spells[0]) + 30 / 24000 - t))  # type: ignore[misc]
            for d, t in zip(delays, (alone, other), strict=True)
        ]
        assert found[0] == pytest.approx(found[1], abs=0.01)  # the same draws, two distributions

    run(main())
