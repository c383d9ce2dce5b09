"""Emulated text embeddings.

A vector is the sum of one fixed direction per vocabulary token of the lower-cased text, rarer
tokens weighing more. Texts that share words are close, equal texts are equal, and nothing else is
promised: synonyms do *not* meet, which a trained model would manage. Studies of meaning need a
trained model; this one serves their timing and their plumbing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from array import array
from functools import lru_cache
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from labkit.providers import tokens
from labkit.providers.llm import ChatEmulator
from labkit.providers.server import RequestError
from labkit.randomness import stream
from labkit.world.events import Embedded, Role

_Vector = NDArray[np.float32]


class Embedder:
    """Turns texts into unit vectors."""

    def __init__(self) -> None:
        self._direction = lru_cache(maxsize=4096)(self._draw)
        self.embed = lru_cache(maxsize=4096)(self._embed)

    @staticmethod
    def _draw(token: int, dimensions: int) -> _Vector:
        rng = stream(0, "embedding.direction", token, dimensions)
        return rng.standard_normal(dimensions, dtype=np.float32)

    def _embed(self, text: str, dimensions: int) -> _Vector:
        total = np.zeros(dimensions, dtype=np.float32)
        for token in array("I", tokens.ids(" " + text.lower().strip())):
            # Vocabulary numbers rise with rarity, so their logarithm stands in for the weight.
            total += math.log(2 + token) * self._direction(token, dimensions)
        length = float(np.linalg.norm(total))
        return total / length if length else total


async def encoded(
    emulator: ChatEmulator, embedder: Embedder, request: web.Request
) -> web.StreamResponse:
    """Answers ``POST /v1/embeddings``."""
    loop = asyncio.get_running_loop()
    body: dict[str, Any] = json.loads(await request.read())
    asked = str(body.get("model", ""))
    model = emulator.known_model(asked)
    if model is None or "dimensions" not in emulator.profile.table["models"][model]:
        text = f"The model `{asked}` does not exist or you do not have access to it."
        raise RequestError(404, text, "model_not_found")
    given = body.get("input", "")
    texts = [given] if isinstance(given, str) else [str(text) for text in given]
    full = int(emulator.figure(model, "dimensions"))
    size = int(body.get("dimensions") or full)
    count = sum(tokens.count(text) for text in texts)
    log = emulator.logger(Role.EMBEDDINGS)
    log(Embedded(model=model, prompt_tokens=count, inputs=len(texts)))
    nth = emulator.nth("embedding", *texts[:1])
    wait_s = emulator.draw("models", model, "latency", purpose="embedding", key=(nth,))
    arrived_s = loop.time()
    vectors = [embedder.embed(text, size) for text in texts]
    await asyncio.sleep(max(arrived_s + wait_s - loop.time(), 0.0))
    base64_wanted = body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(v.astype("<f4").tobytes()).decode()
            if base64_wanted
            else v.tolist(),
        }
        for i, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return web.json_response({"object": "list", "data": data, "model": model, "usage": usage})
