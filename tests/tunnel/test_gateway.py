"""A gateway costs its handshakes, its round trip and its work on each message, and nothing else."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from aiohttp import web

from labkit.settings import SettingError, Settings
from labkit.tunnel.clock import install
from labkit.tunnel.gateway import Gateway
from labkit.tunnel.link import Link
from labkit.tunnel.network import Host, Network
from labkit.tunnel.network_loop import NetworkLoop
from labkit.tunnel.tls import Authority, listen

install()
AUTHORITY = Authority()
NAME = "api.example.com"
RTT, HOP, WORK = 0.1, 0.02, 0.003


def relayed(main, hop=HOP, work=WORK):
    """Runs ``main(session, loop)`` with a gateway before api.example.com."""
    host = Host(NAME, "example", Link(rtt_s=RTT))
    network = Network({NAME: host})
    network.begin_call(7, 0)
    loop = NetworkLoop(network)

    async def hello(request):
        body = await request.read()
        return web.Response(text=f"{request.headers['X-Key']} {len(body)}", status=201)

    async def echo(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.data == b"bye":
                await ws.close(code=4001)
            else:
                await ws.send_bytes(message.data)
        return ws

    async def run():
        origin = web.Application()
        origin.add_routes([web.route("*", "/", hello), web.get("/ws", echo)])
        gateway = Gateway(network, Link(rtt_s=hop), work, AUTHORITY.client_context())
        runners = [await listen(gateway.stand_before(host), origin, AUTHORITY)]
        runners.append(await listen(host, gateway.app(NAME), AUTHORITY))
        trust = ssl.create_default_context(cafile=str(AUTHORITY.file))
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            result = await main(session, loop)
        await gateway.close()
        for runner in runners:
            await runner.cleanup()
        return result

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


async def timed(loop, coro):
    start = loop.time()
    found = await coro
    return loop.time() - start, found


async def post(session, data=b"12345"):
    headers = {"X-Key": "mine"}
    async with session.post(f"https://{NAME}/", data=data, headers=headers) as answer:
        return answer.status, await answer.text()


def test_an_exchange_costs_both_round_trips_and_the_work_on_request_and_answer():
    async def main(session, loop):
        return [await timed(loop, post(session)) for _ in range(2)]

    (cold, answer), (warm, _) = relayed(main)
    assert answer == (201, "mine 5")
    assert warm == pytest.approx(HOP + RTT + 2 * WORK, abs=1e-6)
    assert cold == pytest.approx(3 * (HOP + RTT) + 2 * WORK, abs=1e-6)  # TCP and TLS, twice


def test_messages_of_one_socket_are_handled_one_after_another():
    async def main(session, loop):
        async with session.ws_connect(f"https://{NAME}/ws") as ws:
            start, times = loop.time(), []
            for text in (b"one", b"two", b"three"):
                await ws.send_bytes(text)
            for text in (b"one", b"two", b"three"):
                assert (await ws.receive()).data == text
                times.append(loop.time() - start)
            return times

    way = HOP + RTT + 2 * WORK
    assert relayed(main) == pytest.approx([way, way + WORK, way + 2 * WORK], abs=1e-6)


def test_a_close_and_its_code_are_passed_on():
    async def main(session, loop):
        async with session.ws_connect(f"https://{NAME}/ws") as ws:
            await ws.send_bytes(b"bye")
            assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
            return ws.close_code

    assert relayed(main) == 4001


def test_a_refused_handshake_keeps_its_status():
    async def main(session, loop):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"https://{NAME}/nothing")
        return refused.value.status

    assert relayed(main) == 404


def test_a_gateway_that_takes_no_time_at_no_distance_is_not_noticed():
    async def main(session, loop):
        return [(await timed(loop, post(session)))[0] for _ in range(2)]

    assert relayed(main, hop=0.0, work=0.0) == pytest.approx([3 * RTT, RTT], abs=1e-6)


def test_a_host_of_ones_own_may_have_a_link_of_its_own():
    host = "api.eu.deepgram.com"
    settings = Settings({f"hosts.{host}": "deepgram", f"links.{host}.rtt_s": "0.01"})
    assert settings.link("deepgram", host)["rtt_s"] == 0.01
    assert settings.link("deepgram", "api.deepgram.com")["rtt_s"] == 0.03
    assert settings.as_dict()[f"links.{host}.rtt_s"] == 0.01
    assert Settings(settings.as_dict()).link("deepgram", host)["rtt_s"] == 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"links.my.host.rtt_s": 0.1}, "unknown setting 'links.my.host.rtt_s'"),
        ({"hosts.my.host": "openai", "links.my.host.rtt": 0.1}, "must be one of rtt_s, jitter_s"),
        ({"hosts.my.host": "openai", "links.my.host.rtt_s": "far"}, "expected a number in s"),
        ({"hosts.my.host": "openai", "links.my.host.loss": 0.9}, "must be at least 0 and at most"),
    ],
)
def test_a_wrong_link_is_told_in_one_line(changes, message):
    with pytest.raises(SettingError, match=message):
        Settings(changes)
