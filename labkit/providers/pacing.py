"""When a language model's tokens leave the server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.randomness import stream

_CHUNK = 32


@dataclass(frozen=True)
class TokenPace:
    """How fast a model writes.

    Attributes:
        tokens_per_s: Mean output rate of the model.
        spread: Standard deviation of the logarithm of one request's rate around it.
        burst_tokens: Tokens reach the wire in bursts of 1 to this many.
        jitter: Standard deviation of the logarithm of the time a burst takes.
    """

    tokens_per_s: float
    spread: float
    burst_tokens: int
    jitter: float


@dataclass(frozen=True)
class Burst:
    """Tokens that leave together, ``after_s`` seconds after the first token."""

    after_s: float
    tokens: int


def bursts(pace: TokenPace, tokens: int, seed: int, purpose: str, *key: int | str) -> list[Burst]:
    """Cuts an answer into bursts: the first token alone, the others as they are generated.

    The draws come in blocks of fixed size, so a longer answer starts exactly like a shorter one.
    """
    out = [Burst(0.0, min(1, tokens))]
    rng = stream(seed, purpose, *key)
    # The mean of exp(N(0, s)) is exp(s²/2); dividing by it keeps the mean rate and gap.
    slowness = float(np.exp(pace.spread * rng.standard_normal() - pace.spread**2 / 2))
    left, at_s = tokens - 1, 0.0
    while left > 0:
        sizes = rng.integers(1, pace.burst_tokens + 1, _CHUNK).tolist()
        jitters = np.exp(pace.jitter * rng.standard_normal(_CHUNK) - pace.jitter**2 / 2).tolist()
        for drawn, jitter in zip(sizes, jitters, strict=True):
            size = min(drawn, left)
            if size <= 0:
                break
            at_s += size / pace.tokens_per_s * slowness * jitter
            out.append(Burst(at_s, size))
            left -= size
    return out
