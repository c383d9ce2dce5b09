"""The tunnel's network: true host names, real TLS, nothing that leaks out.

Each known host has a loopback address of its own. A look-up costs the link's DNS time (once per
call, like an operating system's cache), connecting costs a round trip, and the connection itself is
a :class:`labkit.tunnel.link.Connection`. A name that is not known is refused.
"""

from __future__ import annotations

import difflib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.tunnel.link import Connection, Link


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

    ``call_key`` names the call in progress: jitter and loss are drawn for (seed, call, host,
    moment), so every arm of a study sees the same draws (common random numbers). ``begin`` starts
    the server of a host that has no port yet.
    """

    hosts: dict[str, Host] = field(default_factory=dict)
    seed: int = 0
    call_key: tuple[int | str, ...] = ()
    refused: list[str] = field(default_factory=list)
    connects: dict[str, int] = field(default_factory=dict)
    begin: Callable[[Host], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        self._by_address: dict[str, Host] = {}
        self.resolved: set[str] = set()
        self._connections: dict[tuple[Any, Any], Connection] = {}
        for host in self.hosts.values():
            self.place(host)

    def add(self, host: Host) -> None:
        """Adds a host to a network that is in use."""
        self.hosts[host.name] = host
        self.place(host)

    def place(self, host: Host) -> None:
        """Gives a host its address; one that is not in ``hosts`` is reached by that alone."""
        if not host.address:
            n = len(self._by_address) + 1
            host.address = f"127.77.{n // 250}.{n % 250 + 1}"
        self._by_address[host.address] = host

    def begin_call(self, seed: int, *key: int | str) -> None:
        """Starts a call: an empty name cache, and the line conditions of that call."""
        self.seed, self.call_key = seed, key
        self.resolved.clear()
        self._connections.clear()
        self.refused.clear()
        self.connects = {}

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            UnknownHostError: there is none; the refusal is also kept in ``refused``.
        """
        asked = name.rstrip(".").lower()
        host = self.hosts.get(asked) or self._one_of_many(asked)
        if host is None:
            self.refused.append(name)
            raise UnknownHostError(name, list(self.hosts))
        return host

    async def serve(self, host: Host) -> None:
        """Sees to it that a host's server listens, which takes no time of the call's."""
        if not host.port and self.begin is not None:
            await self.begin(host)

    def _one_of_many(self, name: str) -> Host | None:
        """The host of a name that only ``*.`` stands for; from now on it is one of its own."""
        any_of = self.hosts.get(f"*.{name.partition('.')[2]}")
        if any_of is None:
            return None
        self.hosts[name] = Host(name, any_of.provider, any_of.link)
        self.place(self.hosts[name])
        return self.hosts[name]

    @property
    def ports(self) -> set[int]:
        """Where the servers really listen."""
        return {host.port for host in self._by_address.values()}

    def at(self, address: str) -> Host | None:
        return self._by_address.get(address) or self.hosts.get(address)

    def extra_s(self, host: Host) -> Callable[[float], float]:
        return lambda t_s: host.link.extra_s(t_s, self.seed, host.name, *self.call_key)

    def pair(self, client: Any, server: Any, connection: Connection) -> None:
        self._connections[client, server] = connection

    def claim(self, here: Any, there: Any) -> tuple[Connection, bool] | None:
        """The connection a new transport belongs to, and whether it is the client's end."""
        if (here, there) in self._connections:
            return self._connections[here, there], True
        if (there, here) in self._connections:
            return self._connections[there, here], False
        return None


def is_local(host: str) -> bool:
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
