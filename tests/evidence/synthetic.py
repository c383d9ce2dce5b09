"""Tables of two arms whose true differences are known, as unlike each other as measured ones are.

Latencies of a call are alike (the caller), and have two humps (a detector that doubts, more often
with some voices). Both arms see the same draws.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

VOICES = ("a", "b", "c", "d")
DOUBTS = np.array([0.06, 0.08, 0.11, 0.55])  # of a turn, by voice
DOUBT_S = 1.9


def shifted(rng, n, base, doubt):
    """The same but for 50 ms."""
    before = base + DOUBT_S * doubt
    return before, before - 0.05 + rng.normal(0, 0.03, n)


def capped(rng, n, base, doubt):
    """Only the doubted turns change, by 1.3 s."""
    return base + DOUBT_S * doubt, base + 0.6 * doubt


def branches(rng, n, base, doubt):
    """Another model, which matters only where the turn is committed first."""
    t = rng.normal(0, 1, n)
    decided = base + DOUBT_S * doubt
    return (
        np.maximum(decided, 1.2 + 0.5 * np.exp(0.8 * t)),
        np.maximum(decided, 1.1 + 0.3 * np.exp(0.7 * t)),
    )


def apart(rng, n, base, doubt):
    """Arms that share the callers and nothing else."""
    again = rng.random(n) < DOUBTS[rng.integers(0, 4, (n[0], 1))]
    other = 1.4 * np.exp(0.2 * rng.normal(0, 1, n)) + DOUBT_S * again
    return base + DOUBT_S * doubt, other


def equal(rng, n, base, doubt):
    """No difference, but for noise on some turns."""
    before = base + DOUBT_S * doubt
    return before, before + rng.normal(0, 0.05, n) * (rng.random(n) < 0.3)


KINDS = (shifted, capped, branches, apart, equal)


def draw(rng, kind, n_calls, n_turns=5):
    """Latencies before and after, arrays of (calls, turns), and each call's voice."""
    n = (n_calls, n_turns)
    voice = rng.integers(0, 4, (n_calls, 1))
    base = 1.5 * np.exp(rng.normal(0, 0.15, (n_calls, 1)) + 0.25 * rng.normal(0, 1, n))
    doubt = rng.random(n) < DOUBTS[voice]
    return (*kind(rng, n, base, doubt), voice[:, 0])


@functools.cache
def truth(kind) -> dict[str, float]:
    before, after, _ = draw(np.random.default_rng(99), kind, 300_000)
    return {
        "mean": float((after - before).mean()),
        "level": float(before.mean()),
        **{f"p{p}": float(np.quantile(before, p / 100)) for p in (50, 95)},
        **{
            f"change of p{p}": float(np.quantile(after, p / 100) - np.quantile(before, p / 100))
            for p in (50, 95)
        },
    }


def tables(rng, kind, n_calls, n_turns=5, first=0):
    """The same as two tables of turns."""
    before, after, voice = draw(rng, kind, n_calls, n_turns)
    head = {
        "call": np.repeat(np.arange(first, first + n_calls), n_turns),
        "turn": np.tile(np.arange(n_turns), n_calls),
        "voice": np.repeat(np.array(VOICES)[voice], n_turns),
        "outcome": "answered",
    }
    return tuple(pd.DataFrame(head | {"response_latency_s": x.ravel()}) for x in (before, after))
