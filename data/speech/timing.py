"""Which phonemes belong to which written word, and so when each word sounds. Build-time only."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Span = tuple[float, float]

LONGEST_SPACE_S = 0.1
"""A space between words that lasts longer is a silence, not a join."""


def owners(symbols: Sequence[str], alone: Sequence[int]) -> list[int]:
    """The written word that each symbol belongs to, -1 for none.

    Args:
        symbols: phonemes; a space ends a word, punctuation belongs to none.
        alone: for each written word, how many phonemes it has when read by itself.
    """
    chunks: list[list[int]] = [[]]
    for i, symbol in enumerate(symbols):
        if symbol == " ":
            chunks.append([])
        elif symbol.isalpha() or symbol in "ˈˌːᵊᵻ":
            chunks[-1].append(i)
    chunks = [c for c in chunks if c]
    owner = [-1] * len(symbols)
    word = 0
    for chunk, sizes in zip(chunks, _shares([len(c) for c in chunks], alone), strict=True):
        # An engine may run words together ("in the"): share the phonemes out by their number.
        bounds = np.rint(len(chunk) * np.cumsum([0, *sizes]) / sum(sizes)).astype(int)
        for a, b in pairwise(bounds.tolist()):
            for i in chunk[a:b]:
                owner[i] = word
            word += 1
    return owner


def _shares(chunks: Sequence[int], alone: Sequence[int]) -> list[list[int]]:
    """Which written words each spoken chunk holds, by the least total difference in phonemes."""

    @functools.cache
    def best(chunk: int, word: int) -> tuple[float, tuple[int, ...]]:
        if chunk == len(chunks):
            return (0.0, ()) if word == len(alone) else (np.inf, ())
        options = []
        for n in range(1, min(4, len(alone) - word) + 1):
            rest, sizes = best(chunk + 1, word + n)
            options.append((rest + abs(chunks[chunk] - sum(alone[word : word + n])), (n, *sizes)))
        return min(options, default=(np.inf, ()))

    cost, sizes = best(0, 0)
    if not np.isfinite(cost):
        raise ValueError(f"{len(chunks)} spoken chunks cannot hold {len(alone)} written words")
    shares, word = [], 0
    for size in sizes:
        shares.append([max(1, a) for a in alone[word : word + size]])
        word += size
    return shares


def aligned(phones: Sequence[str], words: Sequence[Sequence[str]]) -> list[int]:
    """The word that each phone belongs to, by least edits against the words read one by one."""
    flat = [(phone, i) for i, word in enumerate(words) for phone in word]
    n, m = len(phones), len(flat)
    cost = np.zeros((n + 1, m + 1))
    cost[:, 0], cost[0, :] = np.arange(n + 1), np.arange(m + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            other = cost[i - 1, j - 1] + 1.5 * (phones[i - 1] != flat[j - 1][0])
            cost[i, j] = min(other, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    owner = [0] * n
    i, j = n, m
    while i:
        if j and cost[i, j] == cost[i - 1, j - 1] + 1.5 * (phones[i - 1] != flat[j - 1][0]):
            i, j = i - 1, j - 1
            owner[i] = flat[j][1]
        elif j and cost[i, j] == cost[i, j - 1] + 1:
            j -= 1
        else:
            i -= 1
            owner[i] = flat[max(0, j - 1)][1]
    return owner


def spans_of(owner: Sequence[int], seconds: Sequence[float], n_words: int) -> list[Span]:
    """Start and end of each word in seconds, from the length of each symbol and its owner."""
    ends = np.cumsum(seconds)
    spans: list[Span] = []
    for word in range(n_words):
        own = [i for i, o in enumerate(owner) if o == word]
        if not own:
            raise ValueError(f"no sound for word {word} of {n_words}")
        spans.append((float(ends[own[0]] - seconds[own[0]]), float(ends[own[-1]])))
    # A space is a symbol with a length of its own even where the words run on: share it.
    for i, ((_, end), (after, last)) in enumerate(list(pairwise(spans))):
        if end < after <= end + LONGEST_SPACE_S:
            spans[i] = (spans[i][0], (end + after) / 2)
            spans[i + 1] = ((end + after) / 2, last)
    return spans
