"""A server begins when its host is first looked up, once, and takes no time of the call's."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest
from aiohttp import web

from labkit.settings import Settings
from labkit.tunnel.clock import install
from labkit.tunnel.link import Link
from labkit.tunnel.network import Host, Network, UnknownHostError
from labkit.tunnel.network_loop import NetworkLoop
from labkit.tunnel.servers import Servers
from labkit.tunnel.tls import Authority

install()
AUTHORITY = Authority()
HOSTS = ("api.first.example", "api.second.example")


class Emulator:
    """Answers."""

    behind_s = 0.004

    def app(self):
        async def hello(request):
            return web.Response(text="hello")

        app = web.Application()
        app.add_routes([web.get("/", hello)])
        return app


def called(main, rtt_s=0.1, **settings):
    """Runs ``main(session, loop, network)``; returns its result, the servers and what was made."""
    network = Network({name: Host(name, name.split(".")[1], Link(rtt_s=rtt_s)) for name in HOSTS})
    network.begin_call(7, 0)
    loop, made = NetworkLoop(network), []

    def make(provider):
        made.append(provider)
        return Emulator()

    async def run():
        servers = Servers(network, AUTHORITY, Settings(settings), make)
        trust = ssl.create_default_context(cafile=str(AUTHORITY.file))
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
                return await main(session, loop, network), servers.one_way_s()
        finally:
            await asyncio.sleep(2.0)  # connections take their leave
            await servers.close()

    try:
        return *loop.run_until_complete(run()), made
    finally:
        loop.close()


def test_a_host_that_is_not_looked_up_has_no_server_and_no_emulator():
    async def main(session, loop, network):
        before = [host.port for host in network.hosts.values()]
        async with session.get(f"https://{HOSTS[1]}/") as answer:
            await answer.text()
        return before, [host.port > 0 for host in network.hosts.values()], loop.time()

    (before, after, took_s), one_way_s, made = called(main)
    assert before == [0, 0]
    assert after == [False, True]
    assert made == ["second"]
    assert took_s == pytest.approx(3 * 0.1)  # TCP, TLS, the exchange; no more
    assert one_way_s == {"first": 0.05, "second": 0.05 + 0.004}


def test_those_who_look_it_up_at_once_share_one_server_and_survive_each_other():
    async def main(session, loop, network):
        async def get():
            async with session.get(f"https://{HOSTS[0]}/") as answer:
                return await answer.text()

        tasks = [asyncio.create_task(get()) for _ in range(3)]
        await asyncio.sleep(0)
        while not network.begin or not tasks[0].done():
            tasks[0].cancel()  # while the server is on its way
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks[1:])

    answers, _, made = called(main)
    assert answers == ["hello"] * 2
    assert made == ["first"]


def test_an_unknown_name_is_refused_as_ever():
    async def main(session, loop, network):
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.get("https://api.third.example/")
        assert isinstance(refused.value.os_error, UnknownHostError)

    assert called(main)[2] == []


def test_behind_the_relay_too():
    async def main(session, loop, network):
        async with session.get(f"https://{HOSTS[0]}/") as answer:
            return await answer.text()

    settings = {"gateway.enabled": True, "gateway.rtt_s": 0.02, "gateway.processing_s": 0.003}
    answer, one_way_s, made = called(main, **settings)
    assert answer == "hello"
    assert made == ["first"]
    assert one_way_s["first"] == pytest.approx(0.01 + 0.05 + 0.003 + 0.004)
