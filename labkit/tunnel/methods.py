"""Remote methods of the agent that a caller's app may call, as LiveKit's RPC delivers them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from livekit import rtc

Handler = Callable[[rtc.RpcInvocationData], Any]


class RemoteMethods:
    """Stands in for the methods that an agent registers with ``room.local_participant``."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    def register(self, method_name: str, handler: Handler | None = None) -> Any:
        """``LocalParticipant.register_rpc_method``: plain, or as a decorator."""
        if handler is None:
            return lambda given: self.register(method_name, given)
        self._handlers[method_name] = handler
        return handler

    def call(self, method: str, after_s: float) -> None:
        """Calls a method once the packet that asks for it has arrived.

        Raises:
            RuntimeError: the agent has registered no such method.
        """
        if method not in self._handlers:
            raise RuntimeError(
                f"the caller's button calls {method!r}, which the agent does not register with "
                "room.local_participant.register_rpc_method; drop caller.release_after_s or use "
                "an agent for push to talk"
            )
        self._calls += 1
        data = rtc.RpcInvocationData(
            request_id=str(self._calls),
            caller_identity="caller",
            payload="",
            response_timeout=10.0,
            method=method,
        )
        task = asyncio.create_task(self._deliver(self._handlers[method], data, after_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _deliver(handler: Handler, data: rtc.RpcInvocationData, after_s: float) -> None:
        await asyncio.sleep(after_s)
        answer = handler(data)
        if inspect.isawaitable(answer):
            await answer
