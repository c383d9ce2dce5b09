"""The profiles meet the quantiles that they cite, as a client at the cited distance sees them.

Spells are on, so calls differ; the quantiles are those over many calls. The cited figures stand
here a second time on purpose.
"""

from __future__ import annotations

import numpy as np
import pytest

from labkit.providers.profile import Profile
from labkit.providers.server import Emulator
from labkit.world.scene import Scene

NETWORK_S = 0.03
PROMPT = 500
"""Uncached tokens of the published test's prompts, as the profiles take it."""
RUNS = 60_000


def seen(profile: Profile, *parts: str, turns: int = 4) -> np.ndarray:
    """What a client sees of a delay over many calls of some turns, network included, seconds."""
    scene = Scene(seed=11)
    kind = type("Provider", (Emulator,), {"name": profile.name})
    emulator = kind(profile, lambda: scene)
    drawn = []
    for scene.call in range(RUNS // turns):
        for scene.turn in range(turns):
            drawn.append(NETWORK_S + emulator.draw(*parts, purpose="p"))
    return np.array(drawn)


# aiewf-eval (github.com/kwindla/aiewf-eval), 2026-08-18: P50, P95 and the longest of about 300
LLMS = [
    ("openai", "gpt-4o-mini", 0.553, 1.947, 6.497),
    ("openai", "gpt-4.1", 0.536, 1.771, 5.056),
    ("anthropic", "claude-haiku-4-5", 0.637, 1.615, 3.152),
]
WITHOUT_SPELLS = [
    ("openai", "gpt-5.2", 0.624, 1.171, 2.509),
    ("google", "gemini-2.5-flash", 0.55, 0.85, 2.352),
    ("groq", "openai/gpt-oss-120b", 0.098, 0.217, 2.117),
]


@pytest.mark.parametrize(
    ("provider", "model", "p50_s", "p95_s", "longest_s"), [*LLMS, *WITHOUT_SPELLS]
)
def test_first_tokens_match_the_published_quantiles_and_the_longest(
    profiles: dict[str, Profile],
    provider: str,
    model: str,
    p50_s: float,
    p95_s: float,
    longest_s: float,
) -> None:
    profile = profiles[provider]
    prefill_s = PROMPT / profile.value("models", model, "prefill_tokens_per_s")
    waits = seen(profile, "models", model, "first_token") + prefill_s
    assert np.median(waits) == pytest.approx(p50_s, rel=0.02)
    assert np.quantile(waits, 0.95) == pytest.approx(p95_s, rel=0.04)
    longest = waits[: len(waits) // 300 * 300].reshape(-1, 300).max(axis=1)
    assert np.median(longest) == pytest.approx(longest_s, rel=0.12)


@pytest.mark.parametrize(
    ("model", "p50_s", "p95_s"), [("gpt-4o", 0.546, 1.369), ("gpt-4.1-mini", 0.851, 2.135)]
)
def test_models_without_a_published_longest_match_the_others(
    profiles: dict[str, Profile], model: str, p50_s: float, p95_s: float
) -> None:
    profile = profiles["openai"]
    prefill_s = PROMPT / profile.value("models", model, "prefill_tokens_per_s")
    waits = seen(profile, "models", model, "first_token") + prefill_s
    assert np.median(waits) == pytest.approx(p50_s, rel=0.02)
    assert np.quantile(waits, 0.95) == pytest.approx(p95_s, rel=0.04)


@pytest.mark.parametrize(("provider", "model"), [(p, m) for p, m, *_ in LLMS])
def test_some_calls_are_slow_as_a_whole(
    profiles: dict[str, Profile], provider: str, model: str
) -> None:
    """18% of calls, whose median is 1.5 times the others'; turns of a call go together."""
    calls = seen(profiles[provider], "models", model, "first_token").reshape(-1, 4) - NETWORK_S
    slow = profiles[provider].delay("models", model, "first_token").slow
    assert slow is not None
    held = np.array([slow.holds(11, provider, call, 0) for call in range(len(calls))])
    assert held.mean() == pytest.approx(0.18, abs=0.01)
    assert np.median(calls[held]) / np.median(calls[~held]) == pytest.approx(1.5, rel=0.04)
    logs = np.log(calls)
    assert np.corrcoef(logs[:, 0], logs[:, 3])[0, 1] > 0.02
    assert abs(np.corrcoef(logs[:-1, 0], logs[1:, 0])[0, 1]) < 0.025


def test_sonic_3_has_the_published_median_and_interquartile_range(
    profiles: dict[str, Profile],
) -> None:
    """Coval, 2026-05-04, as quoted by gradium.ai: 188 ms, interquartile range 100 ms."""
    first = seen(profiles["cartesia"], "models", "sonic-3", "first_audio")
    low, median, high = np.quantile(first, [0.25, 0.5, 0.75])
    assert median == pytest.approx(0.188, abs=0.003)
    assert high - low == pytest.approx(0.100, abs=0.003)


def _profile(profiles: dict[str, Profile], provider: str) -> Profile:
    """A provider's figures, or those of its role: ``elevenlabs``, ``elevenlabs stt``."""
    name, _, role = provider.partition(" ")
    return profiles[name].of_role(role) if role else profiles[name]


# Coval, 2026-05-04, as quoted by gradium.ai: median and interquartile range, network included
TTSS = [
    ("elevenlabs", "eleven_turbo_v2_5", 0.264, 0.028),
    ("elevenlabs", "eleven_flash_v2_5", 0.288, 0.028),
    ("deepgram tts", "aura-2", 0.313, 0.068),
]


@pytest.mark.parametrize(("provider", "model", "p50_s", "iqr_s"), TTSS)
def test_first_audio_has_the_published_median_and_interquartile_range(
    profiles: dict[str, Profile], provider: str, model: str, p50_s: float, iqr_s: float
) -> None:
    first = seen(_profile(profiles, provider), "models", model, "first_audio")
    low, median, high = np.quantile(first, [0.25, 0.5, 0.75])
    assert median == pytest.approx(p50_s, abs=0.003)
    assert high - low == pytest.approx(iqr_s, abs=0.003)


# pipecat stt-benchmark, 2026-06-22: P50, P95 and P99 with a 200 ms VAD stop, network included
STTS = [
    ("assemblyai", "u3-rt-pro", 0.335, 0.534, 0.613),
    ("assemblyai", "universal-streaming-english", 0.256, 0.362, 0.417),
    ("elevenlabs stt", "scribe_v2_realtime", 0.281, 0.348, 0.407),
    ("openai stt", "gpt-4o-transcribe", 0.637, 0.965, 1.655),
]


@pytest.mark.parametrize(("provider", "model", "p50_s", "p95_s", "p99_s"), STTS)
def test_finals_have_the_published_quantiles(
    profiles: dict[str, Profile],
    provider: str,
    model: str,
    p50_s: float,
    p95_s: float,
    p99_s: float,
) -> None:
    finals = 0.2 + seen(_profile(profiles, provider), "models", model, "final")
    found = np.quantile(finals, [0.5, 0.95, 0.99])
    assert found == pytest.approx([p50_s, p95_s, p99_s], rel=0.03)  # p99: few draws lie there


def test_nova_3_has_the_published_quantiles_when_asked_to_finalize(
    profiles: dict[str, Profile],
) -> None:
    """pipecat stt-benchmark, 2026-06-22: 247/298/326 ms at P50/P95/P99 with a 200 ms VAD stop."""
    finals = 0.2 + seen(profiles["deepgram"], "models", "nova-3", "finalize")
    found = np.quantile(finals, [0.5, 0.95, 0.99])
    assert found == pytest.approx([0.247, 0.298, 0.326], abs=0.003)
