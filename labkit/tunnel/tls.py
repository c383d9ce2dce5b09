"""Certificates that the agent's libraries trust, and the servers that present them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
from pathlib import Path

import trustme
from aiohttp import web

from labkit.tunnel.loop import TunnelLoop
from labkit.tunnel.network import Host

_BACKLOG = 512


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
    sock = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    loop = asyncio.get_running_loop()
    if isinstance(loop, TunnelLoop):
        loop.expects_holders(sock)
    context = authority.server_context(host.name)
    await web.SockSite(runner, sock, ssl_context=context, backlog=_BACKLOG).start()
    host.port = sock.getsockname()[1]
    return runner
