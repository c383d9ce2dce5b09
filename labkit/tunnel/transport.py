"""The two ends of a connection inside the tunnel, as transports of asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

from labkit.tunnel import instant
from labkit.tunnel.link import Pipe


class TunnelTransport(asyncio.Transport):
    """One end of a :class:`labkit.tunnel.link.Connection`, as asyncio's is of a kernel socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None,
        extra: dict[str, Any] | None,
        *,
        out: Pipe,
        inn: Pipe,
    ) -> None:
        super().__init__(dict(extra or {}))
        self._extra: dict[str, Any]
        self._extra.update(socket=sock, sockname=sock.getsockname(), peername=sock.getpeername())
        self._loop = loop
        self._sock = sock
        self._out, self._in = out, inn
        self._closing = False
        self._lost = False
        self._paused = False
        self._pending: deque[bytes | None] = deque()
        self._high = 64 * 1024
        self._low = 16 * 1024
        self._choked = False
        self.set_protocol(protocol)
        loop.call_soon(self._connect, waiter)

    def _connect(self, waiter: asyncio.Future[None] | None) -> None:
        self._protocol.connection_made(self)
        self._out.flow = self._flow
        self._in.receive = self._receive
        if waiter is not None and not waiter.cancelled():
            waiter.set_result(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self._take = getattr(protocol, "take_ciphertext" if buffered else "data_received", None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    # receiving

    def _receive(self, data: bytes | None) -> None:
        if self._lost:
            return
        self._extra[instant.SENDER] = instant.remote()  # a timer runs in its sender's context
        if self._paused:
            self._pending.append(data)
        else:
            self._hand_over(data)

    def _hand_over(self, data: bytes | None) -> None:
        if data is None:
            if not self._closing and not self._protocol.eof_received():
                self.close()
        elif self._take is not None:
            self._take(data)
        else:
            asyncio.protocols._feed_data_to_buffered_proto(  # type: ignore[attr-defined]
                self._protocol, data
            )

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._drain_pending)

    def _drain_pending(self) -> None:
        while self._pending and not self._paused and not self._lost:
            self._hand_over(self._pending.popleft())

    # sending

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._lost or not data:
            return
        self._out.send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._out.finish()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._out.queued_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def _flow(self, queued: int) -> None:
        if self._lost:
            return
        if not self._choked and queued > self._high:
            self._choked = True
            self._protocol.pause_writing()
        elif self._choked and queued <= self._low:
            self._choked = False
            self._protocol.resume_writing()

    # closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._out.finish()
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        if not self._closing:
            self._closing = True
            self._out.reset()
        self._loop.call_soon(self._lose, exc)

    def _lose(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._pending.clear()
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._sock.close()
