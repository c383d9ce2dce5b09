"""``labkit serve`` among hostile clients: it refuses as the true services do, and stays quick."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter

import aiohttp
import psutil
import pytest
from hostile import BYTES, CHAT, CONFIGURE, EMBEDDINGS, MESSAGES, SPEECH, encoded, mutated
from test_serve import served

N_REQUESTS = 1500
HEADERS = {
    "Authorization": "Bearer k",
    "x-api-key": "k",
    "anthropic-version": "2023-06-01",
    "X-API-Key": "k",
    "Cartesia-Version": "2026-03-01",
}
PATHS = {
    "openai": ("/v1/chat/completions", "/v1/embeddings"),
    "anthropic": ("/v1/messages", "/v1/messages/count_tokens"),
    "cartesia": ("/tts/bytes",),
    "deepgram": ("/v1/listen",),
}
BODIES = {
    "/v1/chat/completions": CHAT,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": {k: v for k, v in MESSAGES.items() if k != "max_tokens"},
    "/tts/bytes": SPEECH,
}
RAW = "encoding=linear16&sample_rate=16000"
SOCKETS = {
    "cartesia": ("/tts/websocket", SPEECH),
    "nova": (f"/v1/listen?model=nova-3&{RAW}&interim_results=true&utterance_end_ms=1000", {}),
    "flux": (f"/v2/listen?model=flux-general-en&{RAW}", CONFIGURE),
}
QUERIES = (
    f"{RAW}&model=nova-3", f"{RAW}&model=%0d%0aX:%20y", f"encoding=%0d%0a%ff&{RAW}", "model=nova-3",
    f"{RAW}&channels=0", f"encoding=linear16&sample_rate={'9' * 5000}", f"{RAW}&model=%ed%a0%80",
)  # fmt: skip
TEXTS = (
    "", "{", "[]", "null", "1", '{"type": []}', '{"type": "Finalize"}', '{"type": "KeepAlive"}',
    '{"type": "ForceEndTurn"}', "[" * 5000, '{"cancel": true}', '{"cancel": true, "context_id": 1}',
    '{"cancel": true, "context_id": "c"}', '{"type": "CloseStream"}', "x" * 5_000_000,
)  # fmt: skip


async def post(
    session: aiohttp.ClientSession, url: str, data: bytes, seen: Counter[object]
) -> None:
    """One request; an answer that is no success must be an error in the provider's form."""
    async with session.post(url, data=data, headers=HEADERS) as answer:
        body = await answer.read()
    seen[answer.status] += 1
    if answer.status != 200:
        error = json.loads(body)
        assert error.get("error") or error.get("err_msg") or error.get("message"), body
    assert answer.status in (200, 400, 404, 413, 429), (url, answer.status, data[:500], body[:500])


async def socket(session: aiohttp.ClientSession, url: str, body: object, seed: int) -> None:
    """One WebSocket with right and wrong frames, closed or dropped at some moment."""
    rng = random.Random(seed)
    try:
        async with session.ws_connect(url, headers=HEADERS | {"Authorization": "Token k"}) as ws:
            for _ in range(rng.randrange(1, 6)):
                frame = encoded(mutated(body, rng), rng) if body else os.urandom(3200)
                kind = rng.randrange(5)
                if kind == 0:
                    await ws.send_bytes(rng.choice((b"", b"x", frame, os.urandom(100_001))))
                elif kind == 1:
                    await ws.send_str(rng.choice(TEXTS))
                else:
                    await ws.send_str(frame.decode("utf-8", "replace"))
            if rng.random() < 0.5:
                async with asyncio.timeout(0.5):
                    async for _ in ws:
                        pass
            elif ws._response.connection is not None:  # half open, then gone
                ws._response.connection.transport.abort()
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        pass  # the server has closed it, or has nothing to say


async def half(port: int, path: str, seed: int) -> None:
    """An upload that ends too early, or is no HTTP."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode()
    head += b"".join(f"{k}: {v}\r\n".encode() for k, v in HEADERS.items())
    ends = (
        b"Content-Length: 100000\r\n\r\n" + b"x" * 1000,
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk",
        b"Content-Length: -5\r\n\r\n",
        b"Authorization: Bearer \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    )
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + random.Random(seed).choice(ends))
    await asyncio.sleep(0.05)
    writer.transport.abort()


async def attack(
    ports: dict[str, int], process: psutil.Process
) -> tuple[Counter[object], list[float]]:
    """Sends everything; gives what was answered, and how long plain requests took meanwhile."""
    rng, seen, took_s = random.Random(11), Counter[object](), list[float]()
    turns = asyncio.Semaphore(20)

    async def plain() -> None:
        while True:
            began_s = time.perf_counter()
            url = f"http://127.0.0.1:{ports['openai']}/v1/models"
            async with session.get(url, headers=HEADERS) as answer:
                assert len((await answer.json())["data"]) > 3
            took_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(0.02)

    async def one(i: int) -> None:
        async with turns:
            name = rng.choice(sorted(PATHS))
            path = rng.choice(PATHS[name])
            at = f"http://127.0.0.1:{ports[name]}"
            kind = rng.random()
            if kind < 0.05:
                await half(ports[name], path, i)
            elif kind < 0.2:
                kind_of = rng.choice(sorted(SOCKETS))
                where, body = SOCKETS[kind_of]
                port = ports["cartesia" if kind_of == "cartesia" else "deepgram"]
                await socket(session, f"http://127.0.0.1:{port}{where}", body, i)
            elif kind < 0.25:
                await post(session, at + path, rng.choice(BYTES), seen)
            elif name == "deepgram":
                sound = rng.choice((b"", b"x", b"RIFF" + os.urandom(99), os.urandom(33_333)))
                await post(session, f"{at}{path}?{rng.choice(QUERIES)}", sound, seen)
            else:
                await post(session, at + path, encoded(mutated(BODIES[path], rng), rng), seen)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        asking = asyncio.create_task(plain())
        await asyncio.gather(*(one(i) for i in range(N_REQUESTS // 3)))
        before = process.memory_info().rss
        await asyncio.gather(*(one(i) for i in range(N_REQUESTS // 3, N_REQUESTS)))
        grown = process.memory_info().rss - before
        assert grown < 60 << 20, f"{grown >> 20} MB in {N_REQUESTS} requests"
        asking.cancel()
    return seen, took_s


@pytest.mark.slow
@pytest.mark.wall
def test_hostile_clients_are_refused_and_others_are_served_meanwhile() -> None:
    with served("--port", "0") as (ports, process):
        seen, took_s = asyncio.run(attack(ports, psutil.Process(process.pid)))
        process.terminate()
        _, told = process.communicate(timeout=20)
    assert told == "", told[-3000:]
    assert sorted(took_s)[-3] < 0.5, "all but two, since a shared machine may stand still"
    assert seen[200] > 30 and seen[400] > 500
