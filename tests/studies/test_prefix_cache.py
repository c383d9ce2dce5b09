"""Prompt caches: what is found, what it saves, and what the published argument does."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.evidence.prompt_cache import with_cache
from labkit.report.tables import ran
from labkit.studies import prefix_cache

SHORT, LONG = {"agent.prompt_tokens": 1500}, {"agent.prompt_tokens": 6000}
HAIKU = {"llm.provider": "anthropic", "llm.model": "claude-haiku-4-5"}
MARKED = {**HAIKU, "agent.caching": "ephemeral"}
OPENAI_PER_S, HAIKU_PER_S = 24000, 20000
"""Rates of prefill in data/providers."""


@pytest.fixture(scope="module")
def results() -> Results:
    arms = {
        "stable": LONG,
        "head": {**LONG, "agent.clock": "head"},
        "end": {**LONG, "agent.clock": "end"},
        "off": {**HAIKU, **LONG},
        "on": {**MARKED, **LONG},
        "on, short": {**MARKED, **SHORT},
        "off, short": {**HAIKU, **SHORT},
        "warm": {**MARKED, **LONG, "agent.warm_up": True},
        "published": {**HAIKU, "agent.caching": "as_published"},
    }
    named = {name: Arm("prefix_cache", settings) for name, settings in arms.items()}
    return sweep(
        Experiment(named, settings={"caller.persona": "fluent"}, calls=1, turns=4, seed=12)
    )


def turns_of(results: Results, arm: str) -> pd.DataFrame:
    return with_cache(results.arms[arm].turns).set_index("turn")


def test_the_published_argument_does_not_exist(results: Results) -> None:
    row = ran(results).loc["published"]
    assert row["calls that failed"] == row["calls"] == 1
    assert "unexpected keyword argument 'cache_control'" in row["error"]


def test_every_other_arm_answers_every_turn(results: Results) -> None:
    others = results.turns
    assert len(others) == 8 * 4
    assert set(others["outcome"]) == {"answered"}
    assert (others["residual_s"].abs() < 0.005).all()


def test_what_changes_at_the_head_is_never_found_and_at_the_end_does_no_harm(
    results: Results,
) -> None:
    later = slice(1, None)
    assert turns_of(results, "stable")["hit_share"].loc[later].min() > 0.9
    assert turns_of(results, "end")["hit_share"].loc[later].min() > 0.9
    head = turns_of(results, "head")
    assert (head[head["llm_calls"] == 1]["hit_share"] == 0).all()


def test_the_first_token_comes_earlier_by_what_need_not_be_read(results: Results) -> None:
    for cached, without, per_s in (("stable", "head", OPENAI_PER_S), ("on", "off", HAIKU_PER_S)):
        a, b = turns_of(results, cached), turns_of(results, without)
        alike = (a["llm_calls"] == 1) & (b["llm_calls"] == 1)
        assert alike.any()
        saved = (b["first_token_s"] - a["first_token_s"])[alike]
        read = (b["fresh_tokens"] - a["fresh_tokens"])[alike]
        assert (read[read.index > 0] > 5000).all(), "the first prompt is new to both"
        assert saved.to_numpy() == pytest.approx((read / per_s).to_numpy(), abs=0.001)


def test_a_prompt_below_the_models_minimum_is_not_cached_however_it_is_marked(
    results: Results,
) -> None:
    on, off = turns_of(results, "on, short"), turns_of(results, "off, short")
    assert (on["llm_cached_tokens"] == 0).all()
    assert on["response_latency_s"].tolist() == off["response_latency_s"].tolist()


def test_a_warm_up_saves_the_first_request(results: Results) -> None:
    cold, warm = (turns_of(results, arm)["llm_cached_tokens"].loc[0] for arm in ("on", "warm"))
    assert warm - cold > 5000


def test_savings_are_paired_by_length() -> None:
    rows = [
        {"arm": arm, "call": call, "turn": 0, "agent.prompt_tokens": n,
         "first_token_s": 0.5 + call + (n / 1e4 if arm == "without" else 0.0),
         "response_latency_s": 1.0 + call}
        for arm in ("with", "without") for call in range(3) for n in (1000, 2000)
    ]  # fmt: skip
    saved = prefix_cache.savings(pd.DataFrame(rows), {"X": ("without", "with")})
    first = saved[saved["line"] == "X: TTFT"].set_index("agent.prompt_tokens")
    assert first["saved_s"].to_dict() == pytest.approx({1000: 0.1, 2000: 0.2})
    assert first["low"].to_dict() == pytest.approx({1000: 0.1, 2000: 0.2})
    latency = saved[saved["line"] == "X: response latency"]
    assert latency["saved_s"].tolist() == pytest.approx([0.0, 0.0])


def test_expiry_counts_single_requests_by_gap_over_lifetime() -> None:
    table = pd.DataFrame({
        "life": 10.0, "call": 0, "turn": range(5), "llm_calls": [1, 1, 1, 2, 1],
        "at_llm_request_s": [0.0, 4.0, 19.0, 20.0, 40.0],
        "llm_cached_tokens": [0, 1024, 0, 1024, 0],
    })  # fmt: skip
    found = prefix_cache.expiry(table, "life", edges=(0.0, 1.0, math.inf))
    assert found["turns"].to_dict() == {"0 to 1": 1, "1 to inf": 2}
    assert found.loc["0 to 1", "turns that hit"].startswith("100%")
    assert found.loc["1 to inf", "turns that hit"].startswith("0%")


def late(first_token_s: float) -> pd.DataFrame:
    """A turn without preemption: heard at 0.3 s, committed at 1.0 s."""
    moments = {
        "caller_stopped_s": 0.0, "eager_s": math.nan, "transcript_s": 0.3, "committed_s": 1.0,
        "hook_done_s": 1.0,
        "llm_first_token_s": 1.0 + first_token_s, "tts_text_s": 1.2 + first_token_s,
        "agent_audio_left_s": 1.4 + first_token_s, "reply_heard_s": 1.5 + first_token_s,
    }  # fmt: skip
    return pd.DataFrame([{"call": 0, "turn": 0, "outcome": "answered", "served_model": "m"} | {
        f"at_{name}": value for name, value in moments.items()
    }])  # fmt: skip


@pytest.mark.parametrize(
    ("before_s", "after_s", "off_ms", "on_ms"),
    [(0.8, 0.6, 200, 200), (0.6, 0.4, 200, 100), (0.4, 0.2, 200, 0)],
)
def test_an_earlier_first_token_shows_only_where_it_was_waited_for(
    before_s: float, after_s: float, off_ms: int, on_ms: int
) -> None:
    found = prefix_cache.expected(late(before_s), late(after_s))["predicted saving, mean (ms)"]
    assert found.to_dict() == {"no preemption": off_ms, "preemption, the default": on_ms}
