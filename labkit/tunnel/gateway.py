"""A relay in front of the providers, such as an inference gateway.

It ends the agent's TLS, reads every message and passes it on over a connection of its own. What the
extra hop costs is therefore what it does: a handshake with the gateway and another from there to
the provider, one more round trip for each exchange, and time for each message: a request, a piece
of a streamed answer, a WebSocket message. Messages of one stream are handled one after another.

Not modelled: connections to the providers that calls share, and accounts with higher limits.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from labkit.tunnel.link import Link
from labkit.tunnel.network import Host, Network

_OWN_TO_A_CONNECTION = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer")
)
_HANDSHAKE = "sec-websocket-"


class _Origins(AbstractResolver):
    """The providers' addresses, as the gateway knows them without name look-ups."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=self._addresses[host],
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        return None


class Gateway:
    """The gateway of one call: an application per provider host, and its own connections.

    Attributes:
        beyond_s: By host name, the one-way delay that lies behind the agent's link to the gateway.
    """

    def __init__(
        self, network: Network, link: Link, processing_s: float, trust: ssl.SSLContext
    ) -> None:
        """Makes a gateway; the running loop carries its connections.

        Args:
            network: Where it stands.
            link: The path from the agent to it.
            processing_s: Its time per message, seconds.
            trust: Accepts the providers' certificates.
        """
        self.beyond_s: dict[str, float] = {}
        self._network, self._link, self._processing_s = network, link, processing_s
        self._addresses: dict[str, str] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=_Origins(self._addresses), ssl=trust, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Closes its connections."""
        if self._session.connector is not None:
            await self._session.connector.close(abort_ssl=True)  # no farewells: the call is over
        await self._session.close()
        await asyncio.sleep(0)  # for the transports to let go of their sockets

    def stand_before(self, host: Host) -> Host:
        """Takes over a host's name and moves the provider to where only the gateway finds it.

        Returns:
            The provider's new place, at the far end of the link the host had.
        """
        origin = Host(host.name, host.provider, host.link)
        self._network.place(origin)
        self._addresses[host.name] = origin.address
        self.beyond_s[host.name] = host.link.rtt_s / 2 + self._processing_s
        host.link = replace(self._link, dns_s=host.link.dns_s)
        return origin

    def app(self, name: str) -> web.Application:
        """What answers the agent under a provider's host name."""

        async def relay(request: web.Request) -> web.StreamResponse:
            url = f"https://{name}{request.raw_path}"
            if web.WebSocketResponse().can_prepare(request).ok:
                return await self._socket(request, url)
            return await self._exchange(request, url)

        app = web.Application(client_max_size=64 << 20, handler_args={"handler_cancellation": True})
        app.router.add_route("*", "/{path:.*}", relay)
        return app

    async def _work(self) -> None:
        if self._processing_s:
            await asyncio.sleep(self._processing_s)

    async def _exchange(self, request: web.Request, url: str) -> web.StreamResponse:
        body = await request.read()
        await self._work()
        headers = _passed_on(request.headers)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_passed_on(answer.headers)
            )
            async for piece in answer.content.iter_any():
                await self._work()
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece)
            if not response.prepared:
                await response.prepare(request)
            await response.write_eof()
            return response

    async def _socket(self, request: web.Request, url: str) -> web.StreamResponse:
        await self._work()
        try:
            there = await self._session.ws_connect(
                url, headers=_passed_on(request.headers), compress=0, max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError as refused:
            return web.Response(status=refused.status, text=refused.message)
        here = web.WebSocketResponse(compress=False, max_msg_size=0)
        code: int = aiohttp.WSCloseCode.GOING_AWAY
        try:
            await here.prepare(request)
            code = await self._pass_on_both_ways(here, there)
        finally:
            await there.close(code=code)
        await here.close(code=code)
        return here

    async def _pass_on_both_ways(self, here: Any, there: Any) -> int:
        """Passes messages on until one side is closed; returns the code it was closed with."""
        ways = {
            asyncio.create_task(self._pump(here, there)): here,
            asyncio.create_task(self._pump(there, here)): there,
        }
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        return ways[done.pop()].close_code or aiohttp.WSCloseCode.OK

    async def _pump(self, source: Any, sink: Any) -> None:
        async for message in source:
            await self._work()
            if message.type is aiohttp.WSMsgType.TEXT:
                await sink.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that belong to the message and not to one of its connections."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _OWN_TO_A_CONNECTION and not name.lower().startswith(_HANDSHAKE)
    }
