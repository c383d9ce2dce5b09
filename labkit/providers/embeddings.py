"""Emulated text embeddings.

A vector is the sum of one fixed direction per vocabulary token of the lower-cased text, rarer
tokens weighing more. Texts that share words are close, equal texts are equal, and nothing else is
promised: synonyms do *not* meet, which a trained model would manage. Studies of meaning need a
trained model; this one serves their timing and their plumbing.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labkit.providers import tokens
from labkit.providers.recent import Recent
from labkit.randomness import stream

_Vector = NDArray[np.float32]
_AT_ONCE = 500  # tokens; more of them would keep other requests waiting
_REMEMBERED = 2_000


class Embedder:
    """Turns texts into unit vectors."""

    def __init__(self) -> None:
        self._direction = lru_cache(maxsize=4096)(self._draw)
        self._vectors: Recent[tuple[bytes, int], _Vector] = Recent(_REMEMBERED)

    @staticmethod
    def _draw(token: int, dimensions: int) -> _Vector:
        rng = stream(0, "embedding.direction", token, dimensions)
        return rng.standard_normal(dimensions, dtype=np.float32)

    async def embed(self, text: str | bytes, dimensions: int) -> _Vector:
        """The vector of a text, or of token numbers of four bytes each."""
        ids = tokens.ids(" " + text.lower().strip()) if isinstance(text, str) else text
        known = self._vectors.get((ids, dimensions))
        if known is not None:
            return known
        total = np.zeros(dimensions, dtype=np.float32)
        for i, token in enumerate(array("I", ids)):
            # Vocabulary numbers rise with rarity, so their logarithm stands in for the weight.
            total += math.log(2 + token) * self._direction(token, dimensions)
            if i % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        length = float(np.linalg.norm(total))
        return self._vectors.put((ids, dimensions), total / length if length else total)
