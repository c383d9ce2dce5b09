"""What keeps an agent inside the tunnel: refused look-ups, connections and programs, no secrets.

Three protections, from the sure to the polite. A network namespace of the kernel's, where it grants
one: nothing leaves, by whatever route. An audit hook: look-ups, connections and programs started
from Python, in any thread, are refused with a message. An environment without what looks like a
secret. Without the namespace, code that talks to the kernel by itself (a C library, ``ctypes``)
can get out.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from labkit.tunnel.network import Network, is_local
from labkit.tunnel.spec import ENVIRONMENT

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_SECRET_NAME = re.compile(
    r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASS(WORD|WD|PHRASE)?|PWD|CREDENTIALS?|AUTH(ORIZATION)?|"
    r"COOKIE|DSN|PRIVATE|SIGNATURE|PAT|SID|CONNECTION_STRING)(_|$)|KEY$|TOKEN$|SECRET$|PASSWORD$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"^(sk|pk|rk|gh[opsu]|github_pat|glpat|xox[abp]|AKIA|ASIA|AIza|eyJ|hf|npm|dop_v1)[-_A-Za-z0-9]"
    r"[-_.A-Za-z0-9]{14,}$|://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_NO_SECRETS = {"PWD", "OLDPWD", "SSH_AUTH_SOCK", "XDG_SESSION_ID"}
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_PROGRAMS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.forkpty", "os.startfile", "pty.spawn",
)  # fmt: skip


def leave_network() -> bool:
    """Gives this process a network of its own, in which only its own loopback is.

    For a process that has no threads yet, and for all that descend from it.

    Returns:
        Whether the kernel granted it; if not, nothing has changed.
    """
    # tried first where a half success does no harm
    return sys.platform == "linux" and in_child(_unshare) and _unshare()


def in_child(question: Callable[[], bool]) -> bool:
    """The answer to a question that changes the process it is asked in."""
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if question() else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _unshare() -> bool:
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    try:
        if libc.unshare(_NEW_NET) != 0:
            if libc.unshare(_NEW_USER | _NEW_NET) != 0:
                return False
            for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                               ("gid_map", f"{gid} {gid} 1")):  # fmt: skip
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("16sh", b"lo", 0)
            flags = struct.unpack("16sh", fcntl.ioctl(sock, _GET_FLAGS, request))[1]
            fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))
    except OSError:
        return False
    return True


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks as if it held a secret."""
    if name in _NO_SECRETS or name in ENVIRONMENT or not value:
        return False
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


def without_secrets(environment: Mapping[str, str], allowed: frozenset[str]) -> dict[str, str]:
    """The variables that an agent may see; ``allowed`` holds ``env:NAME`` for further ones."""
    return {
        name: value
        for name, value in environment.items()
        if f"env:{name}" in allowed or not is_secret(name, value)
    }


@contextmanager
def limited_memory(most_bytes: int) -> Iterator[None]:
    """Lets this process have so much memory; what asks for more gets a ``MemoryError``.

    Afterwards there is room again, to tell what happened.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


class Refused(PermissionError):
    """The agent tried what the tunnel does not let out."""


class Guard:
    """Stands at the doors of this process: name look-ups, connections, programs.

    Attributes:
        network: The network of the call in progress; its hosts are known.
        closed: Whether what is not known is refused. While it is not, nothing is watched.
        allowed: What may pass by name: ``subprocess``, ``HOST:PORT`` of this machine.
        tell: Told of each refusal.
    """

    def __init__(self) -> None:
        self.network: Network | None = None
        self.closed = False
        self.allowed: frozenset[str] = frozenset()
        self.tell: Callable[[Refused], None] = lambda refusal: None
        self._inside = False
        self._doors: dict[str, Callable[[str, tuple[Any, ...]], None]] = {
            **dict.fromkeys(_LOOK_UPS, lambda _, args: self._look_up(args[0])),
            **dict.fromkeys(_SENDS, lambda _, args: self._connect(args[0], args[1])),
            **dict.fromkeys(_PROGRAMS, self.program),
        }
        sys.addaudithook(self._watch)
        _guard_fork_exec(self)

    @contextmanager
    def let(self) -> Iterator[None]:
        """The tunnel's own doings."""
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def _watch(self, event: str, args: tuple[Any, ...]) -> None:
        door = self._doors.get(event)
        if door is not None and self.closed and not self._inside:
            door(event, args)

    def _look_up(self, asked: Any) -> None:
        name = asked.decode(errors="replace") if isinstance(asked, bytes) else str(asked or "")
        if is_local(name):
            return
        if self.network is not None:
            host = self.network.host(name)
            self._refuse(
                f"a blocking look-up of {host.name}: in the tunnel only asyncio's connections "
                "reach it, so use the asynchronous client"
            )
        self._refuse(f"a look-up of {name} outside of a call")

    def _connect(self, sock: Any, address: Any) -> None:
        if not address or sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            return
        if sock.family == socket.AF_UNIX:
            where = os.fsdecode(address)
            if where not in self.allowed:
                self._refuse(f"a connection to {where!r}; --set allow={where} lets it")
            return
        host, port = str(address[0]), int(address[1])
        if not is_local(host):
            if self.network is not None:
                self.network.host(host)
            self._refuse(f"a connection to {host}:{port}")
        known = self.network.ports if self.network is not None else set()
        if port in known or self.allowed & {f"{host}:{port}", f"localhost:{port}"}:
            return
        if port not in _listening():
            self._refuse(
                f"a connection to {host}:{port} on this machine; "
                f"--set allow=localhost:{port} lets it"
            )

    def program(self, event: str, args: tuple[Any, ...]) -> None:
        """Refuses a program, unless programs are allowed."""
        if "subprocess" in self.allowed:
            return
        what = args[0] if args and args[0] else (args[1] if len(args) > 1 else "")
        named = f" ({os.fsdecode(what)})" if isinstance(what, (str, bytes)) and what else ""
        self._refuse(f"{event}{named}; --set allow=subprocess lets it start programs")

    def _refuse(self, what: str) -> None:
        refusal = Refused(f"the tunnel refused {what}")
        self.tell(refusal)
        raise refusal


def _guard_fork_exec(guard: Guard) -> None:
    """The one way to start a program in the standard library that raises no audit event."""
    import _posixsubprocess

    real = _posixsubprocess.fork_exec

    def fork_exec(*args: Any) -> Any:
        if guard.closed:
            guard.program("fork_exec", tuple(args[0])[:1])
        return real(*args)

    _posixsubprocess.fork_exec = fork_exec


def _listening() -> set[int]:
    """Ports that this process itself listens on."""
    found: set[int] = set()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            with socket.socket(fileno=os.dup(int(fd))) as sock:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.add(sock.getsockname()[1])
        except (OSError, IndexError, TypeError):
            continue
    return found
