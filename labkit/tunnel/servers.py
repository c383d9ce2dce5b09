"""The servers of one call: each begins when its host's name is first looked up.

So a host that no agent asks for costs nothing, however many the tunnel has.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from labkit.settings import Settings
from labkit.tunnel.gateway import Gateway
from labkit.tunnel.link import Link
from labkit.tunnel.network import Host, Network
from labkit.tunnel.tls import Authority, listen

if TYPE_CHECKING:
    from labkit.providers.server import Emulator


class Servers:
    """What answers under each host name: the provider, or the relay in front of it.

    Attributes:
        apps: By host name, what makes the application of a host that is no provider's.

    Args:
        network: Whose hosts they are; asks for a server when it needs it.
        authority: Signs their certificates.
        settings: Whether there is a relay.
        make: Makes a provider's emulator.
    """

    def __init__(
        self,
        network: Network,
        authority: Authority,
        settings: Settings,
        make: Callable[[str], Emulator],
    ) -> None:
        self._network, self._authority, self._make = network, authority, make
        self.apps: dict[str, Callable[[], web.Application]] = {}
        self._emulators: dict[str, Emulator] = {}
        self._beginning: dict[str, asyncio.Task[None]] = {}
        self._runners: list[web.AppRunner] = []
        self._relay: Gateway | None = None
        self._context = contextvars.copy_context()
        if settings["gateway.enabled"]:
            link = Link(rtt_s=settings.number("gateway.rtt_s"))
            work_s = settings.number("gateway.processing_s")
            self._relay = Gateway(network, link, work_s, authority.client_context())
        network.begin = self._begin

    async def _begin(self, host: Host) -> None:
        """Waits until a host's server listens; whoever asks meanwhile waits for the same."""
        task = self._beginning.get(host.name)
        if task is None:
            loop = asyncio.get_running_loop()
            # not in the context of the agent's task that looked it up
            task = loop.create_task(
                self._listen(host), name=f"server of {host.name}", context=self._context
            )
            self._beginning[host.name] = task
        await asyncio.shield(task)  # who asked may go away, and others still wait

    async def _listen(self, host: Host) -> None:
        if host.name in self.apps:
            app = self.apps[host.name]()
            self._runners.append(await listen(host, app, self._authority))
            return
        if host.provider not in self._emulators:
            self._emulators[host.provider] = self._make(host.provider)
        app = self._emulators[host.provider].app()
        if self._relay is not None:
            origin = self._relay.stand_before(host)
            self._runners.append(await listen(origin, app, self._authority))
            app = self._relay.app(host.name)
        self._runners.append(await listen(host, app, self._authority))

    def one_way_s(self) -> dict[str, float]:
        """Delay to each provider; of several hosts of one, the one that was connected to counts."""
        connects = self._network.connects
        hosts = sorted(self._network.hosts.values(), key=lambda h: connects.get(h.name, 0) > 0)
        beyond = self._relay.beyond_s if self._relay else {}
        behind = {name: e.behind_s for name, e in self._emulators.items()}
        return {
            h.provider: h.link.rtt_s / 2 + beyond.get(h.name, 0.0) + behind.get(h.provider, 0.0)
            for h in hosts
        }

    async def close(self) -> None:
        """Closes every server that was begun."""
        self._network.begin = None
        await asyncio.gather(*self._beginning.values(), return_exceptions=True)
        if self._relay is not None:
            await self._relay.close()
        for runner in self._runners:
            await runner.cleanup()
