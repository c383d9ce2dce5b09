"""For every test: the clock is installed before livekit is loaded, and nothing leaves loopback."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

from labkit.tunnel import clock

os.environ.setdefault("MPLBACKEND", "Agg")
clock.install()  # test modules may import livekit, in any order


class LeftLoopbackError(AssertionError):
    """A test tried to reach another machine."""


def _is_loopback(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _stay_home(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        connecting, address = args[0], args[1]
        if connecting.family in (socket.AF_INET, socket.AF_INET6):
            _check(str(address[0]))
    elif event == "socket.getaddrinfo" and args[0] is not None:
        host = args[0].decode() if isinstance(args[0], bytes) else str(args[0])
        if host != socket.gethostname():
            _check(host)


def _check(host: str) -> None:
    if host not in ("0.0.0.0", "::") and not _is_loopback(host):
        raise LeftLoopbackError(f"a test reached for {host}")


sys.addaudithook(_stay_home)
