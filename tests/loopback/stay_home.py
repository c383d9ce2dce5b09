"""Refuses and reports every attempt of this process to reach another machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any


class LeftLoopbackError(AssertionError):
    """A test tried to reach another machine."""


def _is_loopback(host: str) -> bool:
    if host in ("", "localhost", "0.0.0.0", "::", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _check(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if not _is_loopback(name):
        with open(os.environ["LABKIT_TESTS_LEFT_LOOPBACK"], "a") as log:
            log.write(f"{name} by {' '.join(sys.argv)}\n")
        raise LeftLoopbackError(f"a test reached for {name}")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if args[0].family in (socket.AF_INET, socket.AF_INET6) and args[1]:
            _check(args[1][0])
    elif event == "socket.getaddrinfo" and args[0] is not None:
        _check(args[0])


def watch() -> None:
    """Begins to watch; for good, as audit hooks cannot be taken out."""
    sys.addaudithook(_hook)
