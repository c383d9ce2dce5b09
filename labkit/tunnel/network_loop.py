"""Event loops whose connections are those of the tunnel's network."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any

from labkit.tunnel.executor import JobRule
from labkit.tunnel.link import Connection
from labkit.tunnel.loop import TunnelLoop
from labkit.tunnel.network import Network, is_local
from labkit.tunnel.transport import TunnelTransport

_RECORD_BYTES = 16 * 1024
"""The longest TLS record, so a read gives all of one."""


class _Tls(sslproto.SSLProtocol):
    """asyncio's, which takes bytes as they are and does not ask for a record that is not there."""

    max_size = _RECORD_BYTES  # what a read sets aside
    _incoming: ssl.MemoryBIO
    _sslobj: ssl.SSLObject
    _state: Any
    _app_protocol: Any
    _do_read: Callable[[], None]
    _call_eof_received: Callable[[], None]

    def take_ciphertext(self, data: bytes) -> None:
        """Takes what arrived; ``get_buffer`` and ``buffer_updated`` in one."""
        self._incoming.write(data)
        if self._state == sslproto.SSLProtocolState.WRAPPED:
            self._do_read()
        else:
            self.buffer_updated(0)

    def _do_read__copied(self) -> None:
        chunks: list[bytes] = []
        chunk = b"-"
        try:
            while chunk and (not chunks or self._incoming.pending):
                chunk = self._sslobj.read(_RECORD_BYTES)
                chunks.append(chunk)
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            pass
        if data := b"".join(chunks):
            self._app_protocol.data_received(data)
        if not chunk:  # the peer says that it has closed
            self._call_eof_received()
            self._start_shutdown()


class _Networked(asyncio.SelectorEventLoop):
    """A loop whose names and connections are those of a :class:`Network`."""

    network: Network | None
    hold: Callable[[str], Callable[[], None]]

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else (host or "")
        net = self.network
        if net is None or is_local(name):
            return await super().getaddrinfo(host, port, **kwargs)
        known = net.host(name)
        await net.serve(known)
        if known.name not in net.resolved:
            net.resolved.add(known.name)
            await asyncio.sleep(known.link.dns_s)
        number = int(port or 0) if str(port or 0).isdigit() else 443
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (known.address, number))
        ]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        net = self.network
        if net is None or (net.at(address[0]) is None and is_local(address[0])):
            return await super().sock_connect(sock, address)
        host = net.at(address[0]) or net.host(address[0])
        await net.serve(host)
        link = host.link
        extra_s = net.extra_s(host)
        # the handshake's own round trip; a lost SYN costs its retransmission
        await asyncio.sleep(link.rtt_s + extra_s(self.time()))
        release = self.hold(f"connecting to {host.name}")
        try:
            # bound first, so that the server's end finds its pair however soon it is accepted
            sock.bind(("127.0.0.1", 0))
            there = ("127.0.0.1", host.port)
            net.pair(sock.getsockname(), there, Connection(self, link, extra_s, release))
            await super().sock_connect(sock, there)
        except BaseException:
            release()
            raise
        net.connects[host.name] = net.connects.get(host.name, 0) + 1

    def _transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None,
        extra: dict[str, Any] | None,
    ) -> TunnelTransport | None:
        if self.network is None or sock.family != socket.AF_INET:
            return None
        claimed = self.network.claim(sock.getsockname(), sock.getpeername())
        if claimed is None:
            return None
        connection, is_client = claimed
        if is_client:
            out, inn = connection.up, connection.down
        else:
            out, inn = connection.down, connection.up
            # both ends are in the loop's hands now: the kernel has nothing left to deliver
            connection.accepted()
        return TunnelTransport(self, sock, protocol, waiter, extra, out=out, inn=inn)

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> Any:
        mine = self._transport(sock, protocol, waiter, extra)
        if mine is not None:
            return mine
        return super()._make_socket_transport(  # type: ignore[misc]
            sock, protocol, waiter, extra=extra, server=server
        )

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        **timeouts: Any,
    ) -> Any:
        tls = _Tls(self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts)
        if self._transport(rawsock, tls, None, extra) is None:
            asyncio.selector_events._SelectorSocketTransport(  # type: ignore[attr-defined]
                self, rawsock, tls, extra=extra, server=server
            )
        return tls._app_transport


class NetworkLoop(_Networked, TunnelLoop):
    """A tunnel loop, with a virtual clock, whose names and connections are those of a network.

    Args:
        network: The network; None for that of the machine.
        rule_for: Tells how an executor job is treated, from the plain function it calls.
    """

    def __init__(
        self,
        network: Network | None,
        rule_for: Callable[[Callable[..., Any]], JobRule] = lambda _: JobRule(),
    ) -> None:
        super().__init__(rule_for)
        self.network = network


class WallNetworkLoop(_Networked):
    """The same on the wall clock, which nothing holds and which asks no rules.

    Args:
        network: The network; None for that of the machine.
    """

    def __init__(self, network: Network | None) -> None:
        super().__init__()
        self.network = network

    def hold(self, name: str) -> Callable[[], None]:
        return lambda: None
