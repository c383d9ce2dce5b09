"""Answers to ``POST /v1/embeddings``."""

from __future__ import annotations

import asyncio
import base64
from array import array
from typing import Any

from aiohttp import web

from labkit.providers import tokens
from labkit.providers.embeddings import Embedder
from labkit.providers.llm import ChatEmulator
from labkit.providers.occasion import digest
from labkit.providers.openai.refusals import refused
from labkit.providers.openai.requests import EmbeddingsBody
from labkit.world.events import Embedded, Role


async def encoded(
    emulator: ChatEmulator, embedder: Embedder, model: str, body: EmbeddingsBody
) -> web.StreamResponse:
    """The vectors of a request's inputs.

    Raises:
        RequestError: there are too many inputs, an input is too long, or the vectors are.
    """
    loop = asyncio.get_running_loop()
    inputs = _inputs(body)
    full = int(emulator.figure(model, "dimensions"))
    size = body.get("dimensions") or full
    if size > full:
        text = f"Invalid value for 'dimensions' = {size}. Must be less than or equal to {full}."
        raise refused(text, "dimensions")
    if len(inputs) > int(emulator.figure(model, "request_inputs")):
        text = "'$.input' is invalid. Please check the API reference: "
        raise refused(text + "https://platform.openai.com/docs/api-reference.")
    count = await _counted(emulator, model, inputs)
    log = emulator.logger(Role.EMBEDDINGS)
    log(Embedded(model=model, prompt_tokens=count, inputs=len(inputs)))
    name = digest("\0".join(i if isinstance(i, str) else i.hex() for i in inputs))
    key = (name, emulator.nth("embedding", name))
    wait_s = emulator.draw("models", model, "latency", purpose="embedding", key=key)
    arrived_s = loop.time()
    as_base64 = body.get("encoding_format") == "base64"
    data: list[dict[str, Any]] = []
    for i, given in enumerate(inputs):
        vector = await embedder.embed(given, size)
        shown = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        shown_as: Any = shown if as_base64 else vector.tolist()
        data.append({"object": "embedding", "index": i, "embedding": shown_as})
        if i % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    await asyncio.sleep(max(arrived_s + wait_s - loop.time(), 0.0))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return web.json_response({"object": "list", "data": data, "model": model, "usage": usage})


_AT_ONCE = 20  # inputs; more of them would keep other requests waiting


def _inputs(body: EmbeddingsBody) -> list[str | bytes]:
    """The texts of a request, those given as token numbers as four bytes each."""
    given = body["input"]
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [array("I", given).tobytes()]
    return [i if isinstance(i, str) else array("I", i).tobytes() for i in given]


async def _counted(emulator: ChatEmulator, model: str, inputs: list[str | bytes]) -> int:
    """The tokens of all inputs together.

    Raises:
        RequestError: one of them has too many, or all together have.
    """
    longest = int(emulator.figure(model, "context_tokens"))
    total = 0
    for i, given in enumerate(inputs):
        if isinstance(given, bytes):
            count = len(given) // 4
        else:
            count = await tokens.weighed([given], longest) or tokens.count(given)
        if count > longest:
            text = (
                f"This model's maximum context length is {longest} tokens, however you requested "
                f"{count} tokens ({count} in your prompt; 0 for the completion). Please reduce "
                "your prompt; or completion length."
            )
            raise refused(text)
        total += count
        if i % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    most = int(emulator.figure(model, "request_tokens"))
    if total > most:
        text = f"Invalid 'input': maximum request size is {most} tokens per request."
        raise refused(text, "input", "max_tokens_per_request")
    return total
