"""The tunnel's network: true host names, real TLS, nothing that leaks out.

Each known host has a loopback address of its own. A look-up costs the link's DNS time (once per
call, like an operating system's cache), connecting costs a round trip, and the connection itself is
a :class:`labkit.tunnel.link.Connection`. Certificates come from a throw-away authority that the
agent's libraries trust through ``SSL_CERT_FILE``. A name that is not known is refused.
"""

from __future__ import annotations

import asyncio
import difflib
import ipaddress
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from labkit.tunnel.clock import JobRule, TunnelLoop
from labkit.tunnel.link import Connection, Link, TunnelTransport


class UnknownHostError(socket.gaierror):
    """The agent asked for a host that the tunnel does not have."""

    def __init__(self, host: str, known: list[str]) -> None:
        match = difflib.get_close_matches(host, known, n=1, cutoff=0.7)
        hint = f" (did you mean {match[0]}?)" if match else ""
        super().__init__(
            socket.EAI_NONAME,
            f"the tunnel has no host {host!r}{hint}; it has: {', '.join(sorted(known))}. "
            f"To let an emulated provider answer for it: --set hosts.{host}=PROVIDER",
        )
        self.host = host


@dataclass
class Host:
    """A name the agent may connect to, and what stands behind it.

    Attributes:
        name: Host name, such as ``api.deepgram.com``.
        provider: Name of the provider that answers.
        link: The path to it.
        address: Its loopback address inside the tunnel.
        port: Where its server really listens, 0 before it does.
    """

    name: str
    provider: str
    link: Link
    address: str = ""
    port: int = 0


@dataclass
class Network:
    """The hosts of one worker process.

    ``weather_key`` names the call in progress: jitter and loss are drawn for (seed, call, host,
    moment), so every arm of a study meets the same weather.
    """

    hosts: dict[str, Host] = field(default_factory=dict)
    seed: int = 0
    weather_key: tuple[int | str, ...] = ()
    refused: list[str] = field(default_factory=list)
    connects: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_address: dict[str, Host] = {}
        self._resolved: set[str] = set()
        self._connections: dict[tuple[Any, Any], Connection] = {}
        for host in self.hosts.values():
            self.place(host)

    def place(self, host: Host) -> None:
        """Gives a host its address; one that is not in ``hosts`` is reached by that alone."""
        if not host.address:
            n = len(self._by_address) + 1
            host.address = f"127.77.{n // 250}.{n % 250 + 1}"
        self._by_address[host.address] = host

    def begin_call(self, seed: int, *key: int | str) -> None:
        """Starts a call: an empty name cache, and the weather of that call."""
        self.seed, self.weather_key = seed, key
        self._resolved.clear()
        self._connections.clear()
        self.refused.clear()
        self.connects = {}

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            UnknownHostError: there is none; the refusal is also kept in ``refused``.
        """
        host = self.hosts.get(name.rstrip(".").lower())
        if host is None:
            self.refused.append(name)
            raise UnknownHostError(name, list(self.hosts))
        return host

    def at(self, address: str) -> Host | None:
        return self._by_address.get(address) or self.hosts.get(address)

    def weather(self, host: Host) -> Callable[[float], float]:
        return lambda t_s: host.link.extra_s(t_s, self.seed, host.name, *self.weather_key)

    def pair(self, client: Any, server: Any, connection: Connection) -> None:
        self._connections[client, server] = connection

    def claim(self, here: Any, there: Any) -> tuple[Connection, bool] | None:
        """The connection a new transport belongs to, and whether it is the client's end."""
        if (here, there) in self._connections:
            return self._connections[here, there], True
        if (there, here) in self._connections:
            return self._connections[there, here], False
        return None


def _is_local(host: str) -> bool:
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard_lookups(network: Callable[[], Network | None]) -> None:
    """Makes plain look-ups and connections refuse what the tunnel does not have.

    Blocking clients, library threads and addresses written as numbers come this way; without it
    they would leave the tunnel.
    """
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        inside = network()
        name = host.decode() if isinstance(host, bytes) else (host or "")
        if inside is not None and not _is_local(name):
            inside.host(name)
        return real(host, port, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            sock, address = args[0], args[1]
            inside = network()
            if inside is not None and address and sock.family in (socket.AF_INET, socket.AF_INET6):
                if not _is_local(str(address[0])):
                    inside.host(str(address[0]))

    sys.addaudithook(watch)


class NetworkLoop(TunnelLoop):
    """A tunnel loop whose names and connections are those of a :class:`Network`."""

    def __init__(
        self,
        network: Network | None,
        *,
        virtual: bool = True,
        rule_for: Callable[[Callable[..., Any]], JobRule] = lambda _: JobRule(),
    ) -> None:
        super().__init__(virtual=virtual, rule_for=rule_for)
        self.network = network

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else (host or "")
        net = self.network
        if net is None or _is_local(name):
            return await super().getaddrinfo(host, port, **kwargs)
        known = net.host(name)
        if known.name not in net._resolved:
            net._resolved.add(known.name)
            await asyncio.sleep(known.link.dns_s)
        number = int(port or 0) if str(port or 0).isdigit() else 443
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (known.address, number))
        ]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        net = self.network
        if net is None or (net.at(address[0]) is None and _is_local(address[0])):
            return await super().sock_connect(sock, address)
        host = net.at(address[0]) or net.host(address[0])
        link = host.link
        weather = net.weather(host)
        # the handshake's own round trip; a lost SYN costs its retransmission
        await asyncio.sleep(link.rtt_s + weather(self.time()))
        release = self.hold(f"connecting to {host.name}")
        try:
            # bound first, so that the server's end finds its pair however soon it is accepted
            sock.bind(("127.0.0.1", 0))
            there = ("127.0.0.1", host.port)
            net.pair(sock.getsockname(), there, Connection(self, link, weather, release))
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
        tls = asyncio.sslproto.SSLProtocol(  # type: ignore[attr-defined]
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        if self._transport(rawsock, tls, None, extra) is None:
            asyncio.selector_events._SelectorSocketTransport(  # type: ignore[attr-defined]
                self, rawsock, tls, extra=extra, server=server
            )
        return tls._app_transport


class Authority:
    """A throw-away certificate authority for the hosts of the tunnel."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-ca-")
        self.file = Path(self._folder.name) / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def trust(self) -> None:
        """Makes every library in this process (and its children) trust the authority alone."""
        os.environ["SSL_CERT_FILE"] = str(self.file)
        os.environ["REQUESTS_CA_BUNDLE"] = str(self.file)

    def client_context(self) -> ssl.SSLContext:
        """Accepts what the authority signed, and nothing else."""
        return ssl.create_default_context(cafile=str(self.file))

    def server_context(self, *names: str) -> ssl.SSLContext:
        """The certificate of a host, made once."""
        if names not in self._contexts:
            self._contexts[names] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._ca.issue_cert(*names).configure_cert(context)
        return self._contexts[names]


async def listen(host: Host, app: web.Application, authority: Authority) -> web.AppRunner:
    """Starts the server behind a host on a free loopback port and records the port."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=3600, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(
        runner, "127.0.0.1", 0, ssl_context=authority.server_context(host.name), backlog=512
    )
    await site.start()
    host.port = runner.addresses[0][1]
    return runner
