"""What the vendors publish of their services, read from where it stands here.

A second copy on purpose: whoever changes a figure in the profiles or the code must change it here
too, beside the page that says so. Figures that are assumptions are not among them.
"""

from __future__ import annotations

import pytest

from labkit.providers import registry
from labkit.providers.anthropic import prompt as anthropic
from labkit.providers.block_cache import Block, BlockCache, BreakpointRules
from labkit.providers.deepgram import requests as deepgram
from labkit.providers.openai import prompt as openai
from labkit.providers.profile import load_profiles
from labkit.providers.prompt_cache import PrefixCache, PrefixRules
from labkit.providers.registry import PROVIDERS, emulators

PROFILES = load_profiles()


def value(name: str) -> object:
    provider, *parts = name.split("/")
    return PROFILES[provider].value(*parts)


PUBLISHED = {
    # developers.openai.com/api/docs/guides/prompt-caching: prompts of 1,024 tokens or longer, hits
    # in steps of 128, 5 to 10 minutes of inactivity and up to an hour, routed by the first 256
    # tokens, some of a prefix and key overflow above 15 requests a minute
    "openai/cache/prefix/min_tokens": 1024,
    "openai/cache/prefix/step_tokens": 128,
    "openai/cache/prefix/idle_min_s": 300.0,
    "openai/cache/prefix/idle_max_s": 600.0,
    "openai/cache/prefix/max_life_s": 3600.0,
    "openai/cache/prefix/routed_tokens": 256,
    "openai/cache/prefix/route_per_minute": 15,
    # the same guide, GPT-5.6 and later: 30 minutes at least; API reference, prompt_cache_options
    "openai/cache/breakpoint/min_tokens": 1024,
    "openai/cache/breakpoint/life_s": 1800.0,
    "openai/cache/breakpoint/writes": 4,
    "openai/cache/breakpoint/considered": 80,
    # OpenAI embeddings guide
    "openai/models/text-embedding-3-small/dimensions": 1536,
    # Anthropic prompt caching guide, cache limitations: 4,096 for Haiku 4.5, 1,024 for the Sonnets
    "anthropic/models/claude-haiku-4-5/min_cache_tokens": 4096,
    "anthropic/models/claude-sonnet-4-5/min_cache_tokens": 1024,
    "anthropic/models/claude-sonnet-4-6/min_cache_tokens": 1024,
    "anthropic/models/claude-sonnet-5/min_cache_tokens": 1024,
    # Anthropic tool use guide, pricing: system prompt tokens with tool_choice auto, Claude 4
    "anthropic/tokens/tool_prompt": 346,
    # developers.deepgram.com/docs/audio-keep-alive: NET-0001 after 10 s without audio or KeepAlive
    "deepgram/limits/idle_s": 10.0,
    # developers.deepgram.com/reference/api-rate-limits, pay as you go
    "deepgram/limits/streaming": 50,
    "deepgram/limits/batch": 100,
    # developers.deepgram.com/docs/interim-results and .../flux/quickstart
    "deepgram/models/nova-3/interim_every_s": 1.0,
    "deepgram/models/flux-general-en/update_every_s": 0.25,
    # docs.cartesia.ai, WebSocket: a context expires 1 s after its last audio; closed after 5 min
    # of idling; max_buffer_delay_ms is 3,000 by default; 10 sockets for each concurrent context
    "cartesia/contexts/expire_s": 1.0,
    "cartesia/contexts/max_buffer_delay_ms": 3000.0,
    "cartesia/limits/idle_s": 300.0,
    "cartesia/limits/contexts": 15,
    "cartesia/limits/sockets_per_context": 10,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_profile_says_what_the_vendor_does(name: str) -> None:
    assert value(name) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        # input, cached input and output, US dollars per million tokens: OpenAI's pricing page
        ("openai/gpt-4o-mini", (0.15, 0.075, 0.6)),
        ("openai/gpt-4o", (2.5, 1.25, 10.0)),
        ("openai/gpt-4.1", (2.0, 0.5, 8.0)),
        ("openai/gpt-4.1-mini", (0.4, 0.1, 1.6)),
        ("openai/gpt-4.1-nano", (0.1, 0.025, 0.4)),
        ("openai/gpt-5-mini", (0.25, 0.025, 2.0)),
        # platform.claude.com/docs/en/about-claude/pricing
        ("anthropic/claude-haiku-4-5", (1.0, 0.1, 5.0)),
        ("anthropic/claude-sonnet-4-5", (3.0, 0.3, 15.0)),
        ("anthropic/claude-sonnet-4-6", (3.0, 0.3, 15.0)),
    ],
)
def test_prices_are_the_published_ones(name: str, usd: tuple[float, float, float]) -> None:
    provider, model = name.split("/")
    kinds = ("input", "cached", "output")
    assert tuple(value(f"{provider}/models/{model}/price/{k}") for k in kinds) == usd


def test_anthropic_bills_a_cache_by_the_same_multiples_for_every_model() -> None:
    """The pricing page: reads a tenth, writes for 5 minutes 1.25 and for an hour 2 times."""
    for model in PROFILES["anthropic"].names("models"):
        price = {k: value(f"anthropic/models/{model}/price/{k}")
                 for k in ("input", "cached", "cache_write", "cache_write_1h")}  # fmt: skip
        shares = [price[k] / price["input"] for k in ("cached", "cache_write", "cache_write_1h")]
        assert shares == pytest.approx([0.1, 1.25, 2.0])


def test_figures_that_stand_in_the_code() -> None:
    # Anthropic prompt caching guide: four breakpoints, 20 blocks back, 5 minutes or 1 hour
    assert (BlockCache.max_marks, BlockCache.look_back) == (4, 20)
    assert anthropic._TTLS == {"5m": 300.0, "1h": 3600.0}
    # OpenAI API reference: prompt_cache_retention
    assert openai.KEEPS_S["24h"] == 24 * 3600.0
    # developers.deepgram.com/docs/flux/configuration, 2026
    assert deepgram._LIMITS == {
        "eot_threshold": (0.5, 1.0),
        "eager_eot_threshold": (0.3, 0.9),
        "eot_timeout_ms": (500.0, 60_000.0),
    }
    flux = deepgram.FluxQuery()
    assert (flux.eot_threshold, flux.eager_eot_threshold, flux.eot_timeout_ms) == (0.7, None, 5000)
    assert {name: kind.host for name, kind in emulators().items()} == {
        name: registry.host(name) for name in PROVIDERS
    }
    published = {"anthropic": "com", "cartesia": "ai", "deepgram": "com", "openai": "com"}
    for name, end in published.items():
        assert registry.host(name) == f"api.{name}.{end}"


def test_rules_without_a_profile_are_the_profiles() -> None:
    for rules, kind in ((PrefixRules, "prefix"), (BreakpointRules, "breakpoint")):
        names = PROFILES["openai"].names("cache", kind)
        assert rules(**{n: value(f"openai/cache/{kind}/{n}") for n in names}) == rules()


@pytest.mark.parametrize(
    ("tokens", "read"),
    [(1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (1279, 1152), (1280, 1280)],
)
def test_openai_reads_1024_tokens_and_steps_of_128(tokens: int, read: int) -> None:
    cache, prompt = PrefixCache(), b"".join(i.to_bytes(4, "big") for i in range(tokens))
    cache.lookup("scope", prompt, 0.0).commit(0.0)
    assert cache.lookup("scope", prompt, 1.0).read == read


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-4-6"])
def test_anthropic_caches_from_the_models_minimum(model: str) -> None:
    least = value(f"anthropic/models/{model}/min_cache_tokens")
    assert isinstance(least, int)
    for tokens, read in ((least - 1, 0), (least, least)):
        cache, blocks = BlockCache(), [Block(b"x", tokens, mark_ttl_s=300.0)]
        cache.lookup("scope", blocks, 0.0, least).commit(0.0)
        assert cache.lookup("scope", blocks, 1.0, least).read == read


@pytest.mark.parametrize(("between", "read"), [(20, 4096), (21, 0)])
def test_anthropic_looks_20_blocks_back(between: int, read: int) -> None:
    cache, first = BlockCache(), Block(b"x", 4096, mark_ttl_s=300.0)
    cache.lookup("scope", [first], 0.0, 4096).commit(0.0)
    more = [Block(b"y%d" % i, 1) for i in range(between - 1)]
    blocks = [Block(b"x", 4096), *more, Block(b"z", 1, mark_ttl_s=300.0)]
    assert cache.lookup("scope", blocks, 1.0, 4096).read == read
