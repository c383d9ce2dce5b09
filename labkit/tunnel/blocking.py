"""Blocking HTTP inside the tunnel: what the ``requests`` library sends is answered on the spot.

A client that blocks cannot wait for a server on the loop it may be blocking. So its request is
handed to the emulated host directly, and the time that the exchange takes is slept away in the
thread that asked: on the loop's thread this stalls the loop, as it does in life; in a thread of its
own, such as that of OpenTelemetry's batch processor, it stalls only that thread, in real time. The
bytes are those of the real client; what is emulated is the socket.

OpenTelemetry's exporters also wait on events: on the loop's thread that takes virtual time, and the
thread of its batch processor, whose 5 s would be real ones, waits until it is woken: by a full
batch, or by the flush at the end of the call.

While the loop is stalled, the emulated providers and the caller, which live on it, stand still as
well. In life they go on meanwhile, so what a stall costs here is an upper bound.
"""

from __future__ import annotations

import asyncio
import threading
import time
import types
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from labkit.providers.collector import Collector
from labkit.tunnel import clock
from labkit.tunnel.link import Link

HANDSHAKES = 2
"""Round trips before the first request on a connection: TCP, and TLS 1.3."""


class BlockingHost:
    """A host that blocking clients may reach, behind a link."""

    def __init__(self, collector: Collector, link: Link) -> None:
        self.collector, self.link = collector, link
        self._open: set[int] = set()

    def exchange(self, client: int, path: str, headers: Any, body: bytes) -> tuple[int, float]:
        """The status of a request, and how long the client waits for it, seconds."""
        trips = 1.0
        wait_s = 0.0
        if client not in self._open:
            self._open.add(client)
            trips += HANDSHAKES
            wait_s += self.link.dns_s
        status, took_s = self.collector.accept(path, headers, body)
        return status, wait_s + trips * self.link.rtt_s + took_s


class _Event(threading.Event):
    """An event whose time-outs are those of the tunnel's clock."""

    def wait(self, timeout: float | None = None) -> bool:
        if clock.is_virtual():
            if asyncio._get_running_loop() is None:
                timeout = None
            elif timeout is not None and not self.is_set():
                time.sleep(timeout)
                return self.is_set()
        return super().wait(timeout)


def _own_events() -> None:
    """Gives the waiting parts of OpenTelemetry's exporters events of this module."""
    import opentelemetry.exporter.otlp.common.http as client
    import opentelemetry.sdk._shared_internal as batches

    threads = types.ModuleType("threading")
    threads.__dict__.update(threading.__dict__)
    threads.Event = _Event  # type: ignore[attr-defined]
    for module in (client, batches):
        module.threading = threads  # type: ignore[attr-defined]


def install(find: Callable[[str], BlockingHost | None]) -> None:
    """Lets ``requests`` reach the hosts that ``find`` knows; others go on as before, to be refused.

    Args:
        find: Gives the host of a name while a call is in progress.
    """
    from requests import Response
    from requests.adapters import HTTPAdapter
    from requests.exceptions import ReadTimeout
    from requests.structures import CaseInsensitiveDict

    real = HTTPAdapter.send

    def send(self: HTTPAdapter, request: Any, *args: Any, **kwargs: Any) -> Response:
        url = urlsplit(request.url)
        host = find(url.hostname or "")
        if host is None:
            return real(self, request, *args, **kwargs)
        limit = kwargs.get("timeout")
        patience_s = limit[-1] if isinstance(limit, tuple) else limit
        status, wait_s = host.exchange(id(self), url.path, request.headers, request.body or b"")
        if patience_s is not None and wait_s > patience_s:
            time.sleep(patience_s)
            raise ReadTimeout(f"no answer from {url.hostname} within {patience_s:g} s")
        time.sleep(wait_s)
        response = Response()
        response.status_code, response.url, response.request = status, request.url, request
        response.headers = CaseInsensitiveDict({"Content-Type": "application/x-protobuf"})
        response._content = b""
        return response

    HTTPAdapter.send = send  # type: ignore[method-assign]
    _own_events()
