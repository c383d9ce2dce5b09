"""Round trips are paid where they are made, and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
import time

import aiohttp
import pytest
from aiohttp import web

from labkit.tunnel.clock import install
from labkit.tunnel.isolation import Guard
from labkit.tunnel.link import INITIAL_WINDOW_BYTES, Link
from labkit.tunnel.network import Host, Network, UnknownHostError
from labkit.tunnel.network_loop import NetworkLoop, WallNetworkLoop
from labkit.tunnel.tls import Authority, listen

install()
AUTHORITY = Authority()
RTT = 0.1
LINK = Link(rtt_s=RTT)


def tunnel(main, link=LINK, loop_type=NetworkLoop):
    """Runs ``main(session, loop, network)`` beside a server for api.example.com."""
    network = Network({"api.example.com": Host("api.example.com", "example", link)})
    network.begin_call(7, 0)
    loop = loop_type(network)

    async def hello(request):
        body = await request.read()
        return web.Response(text=f"hello {len(body)}")

    async def echo(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_bytes(message.data)
        return ws

    async def run():
        app = web.Application(client_max_size=1 << 24)
        app.add_routes([web.route("*", "/", hello), web.get("/ws", echo)])
        runner = await listen(network.hosts["api.example.com"], app, AUTHORITY)
        trust = ssl.create_default_context(cafile=str(AUTHORITY.file))
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            result = await main(session, loop, network)
        await runner.cleanup()
        return result

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


async def timed(loop, coro):
    start = loop.time()
    await coro
    return loop.time() - start


async def get(session, data=None):
    async with session.post("https://api.example.com/", data=data) as response:
        assert response.status == 200
        return await response.text()


def test_cold_costs_three_round_trips_and_warm_costs_one():
    async def main(session, loop, network):
        cold = await timed(loop, get(session))
        warm = [await timed(loop, get(session)) for _ in range(3)]
        return cold, warm, network.connects

    cold, warm, connects = tunnel(main)
    assert cold == pytest.approx(3 * RTT, abs=1e-6), "TCP, TLS 1.3 and the request"
    assert warm == pytest.approx([RTT] * 3, abs=1e-6)
    assert connects == {"api.example.com": 1}


def test_name_lookup_is_paid_once_a_call():
    async def main(session, loop, network):
        first = await timed(loop, loop.getaddrinfo("api.example.com", 443))
        second = await timed(loop, loop.getaddrinfo("api.example.com", 443))
        network.begin_call(7, 1)
        return first, second, await timed(loop, loop.getaddrinfo("api.example.com", 443))

    assert tunnel(main, Link(dns_s=0.02)) == pytest.approx((0.02, 0.0, 0.02))


def test_a_long_prompt_on_a_fresh_connection_waits_for_the_window():
    body = b"x" * (5 * INITIAL_WINDOW_BYTES // 2)

    async def main(session, loop, network):
        cold = await timed(loop, get(session, body))
        soon_again = await timed(loop, get(session, body))
        await asyncio.sleep(10)  # less than the client keeps a connection
        return cold, soon_again, await timed(loop, get(session, body))

    cold, soon_again, after_idling = tunnel(main)
    assert cold == pytest.approx(4 * RTT, abs=1e-6), "one more round trip to open the window"
    assert soon_again == pytest.approx(RTT, abs=1e-6)
    assert after_idling == pytest.approx(2 * RTT, abs=1e-6), "the window has shrunk again"


def test_messages_keep_their_order_under_jitter_and_loss():
    async def main(session, loop, network):
        got, times = [], []
        async with session.ws_connect("wss://api.example.com/ws") as ws:
            for i in range(200):
                await ws.send_bytes(i.to_bytes(2, "big"))
                await asyncio.sleep(0.02)
                while len(got) < i - 50:
                    got.append(int.from_bytes((await ws.receive()).data, "big"))
            while len(got) < 200:
                got.append(int.from_bytes((await ws.receive()).data, "big"))
                times.append(loop.time())
        return got

    assert tunnel(main, Link(rtt_s=0.05, jitter_s=0.02, loss=0.05)) == list(range(200))


def test_weather_belongs_to_the_moment_and_repeats():
    link = Link(rtt_s=0.05, jitter_s=0.01, loss=0.1)
    extras = [link.extra_s(t / 50, 7, "host", 0) for t in range(2000)]
    assert extras == [link.extra_s(t / 50, 7, "host", 0) for t in range(2000)]
    assert extras != [link.extra_s(t / 50, 7, "host", 1) for t in range(2000)]
    lost = sum(e > 0.2 for e in extras) / len(extras)
    assert 0.07 < lost < 0.13


def test_a_cancelled_download_is_noticed_one_way_later():
    noticed = []

    async def main(session, loop, network):
        async def endless(request):
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x")
                    await asyncio.sleep(0.01)
            except (ConnectionResetError, asyncio.CancelledError):
                noticed.append(loop.time())
                raise

        app = web.Application()
        app.add_routes([web.get("/", endless)])
        network.hosts["api.example.com"].port = 0
        runner = await listen(network.hosts["api.example.com"], app, AUTHORITY)
        response = await session.get("https://api.example.com/")
        await response.content.readany()
        left = loop.time()
        response.close()
        await asyncio.sleep(1)
        await runner.cleanup()
        return left

    left = tunnel(main)
    assert noticed and noticed[0] - left == pytest.approx(RTT / 2, abs=0.011)


def test_an_unknown_host_is_refused_with_the_way_to_add_it():
    async def main(session, loop, network):
        with pytest.raises(aiohttp.ClientConnectorError, match=r"api\.exampel\.com"):
            await session.get("https://api.exampel.com/")
        with pytest.raises(UnknownHostError, match=r"did you mean api.example.com.*--set hosts\."):
            await loop.getaddrinfo("api.exampel.com", 443)
        return network.refused

    assert tunnel(main) == ["api.exampel.com", "api.exampel.com"]


def test_blocking_clients_are_refused_too():
    async def main(session, loop, network):
        guard = Guard()
        guard.network, guard.closed = network, True
        try:
            with pytest.raises(OSError, match="the tunnel has no host"):
                guard._watch("socket.getaddrinfo", ("telemetry.example.org", 80))
            with pytest.raises(OSError, match="use the asynchronous client"):
                guard._watch("socket.gethostbyname", ("api.example.com",))
        finally:
            guard.closed = False
        return network.refused

    assert tunnel(main) == ["telemetry.example.org"]


def test_a_wrong_certificate_is_refused():
    async def main(session, loop, network):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get("https://api.example.com/", ssl=ssl.create_default_context())

    tunnel(main)


@pytest.mark.parametrize("bad", [{"rtt_s": -1}, {"jitter_s": -0.1}, {"loss": 1.0}, {"dns_s": -1}])
def test_an_impossible_link_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Link(**bad)


def test_the_wall_clock_pays_the_same_round_trips():
    async def main(session, loop, network):
        await get(session)
        return await timed(loop, get(session))

    began = time.perf_counter()
    assert RTT <= tunnel(main, loop_type=WallNetworkLoop) < RTT + 0.2
    assert time.perf_counter() - began >= 4 * RTT
