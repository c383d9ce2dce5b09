"""Remote procedure calls of the tunnel's room: the agent's to the caller's app, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from livekit.rtc import RpcError

from labkit.tunnel import sdk
from labkit.tunnel.room_wire import Wire, fill


class Rpc:
    """Calls between the agent and the caller's app.

    Args:
        wire: The way to the SDK.
        there: The identities of who is in the room.
        answers: What the caller's app answers, by method.
        caller_rtt_s: Round trip to the caller, seconds.

    Attributes:
        methods: Names of the methods that the agent has registered.
    """

    def __init__(
        self, wire: Wire, there: Iterable[str], answers: Mapping[str, str], caller_rtt_s: float
    ) -> None:
        self._wire, self._there, self._answers = wire, there, answers
        self._caller_rtt_s = caller_rtt_s
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self.methods: set[str] = set()

    def do_register_rpc_method(self, req: Any, response: Any) -> None:
        self.methods.add(req.method)

    def do_unregister_rpc_method(self, req: Any, response: Any) -> None:
        self.methods.discard(req.method)

    def do_perform_rpc(self, req: Any, response: Any) -> None:
        answer: dict[str, Any]
        to, method, there = req.destination_identity, req.method, list(self._there)
        if to not in there:
            code = RpcError.ErrorCode.RECIPIENT_NOT_FOUND
            named = ", ".join(there) or "nobody"
            answer = {"error": {"code": code, "message": f"Recipient not found: the tunnel's room "
                                f"has no {to!r}; in it: {named}"}}  # fmt: skip
        elif method not in self._answers:
            code = RpcError.ErrorCode.UNSUPPORTED_METHOD
            message = (
                f"Method not supported at destination: nobody answers {method!r} for the caller; "
                f"--set participant.rpc.{method}=TEXT does"
            )
            answer = {"error": {"code": code, "message": message}}
        else:
            answer = {"payload": self._answers[method]}
        self._wire.note("rpc", method=method, to=to, payload=req.payload, answer=answer)
        self._wire.call_back("perform_rpc", response, self._caller_rtt_s, **answer)

    def call_agent(self, method: str, payload: str = "") -> asyncio.Future[str]:
        """Calls a method that the agent has registered; the caller's app does that.

        Returns:
            The agent's answer, or an ``rtc.RpcError``.
        """
        number = self._wire.new_id()
        self._waiting[number] = asyncio.get_running_loop().create_future()
        event = sdk.FfiEvent()
        fill(event.rpc_method_invocation, {
            "local_participant_handle": self._wire.agent_handle, "invocation_id": number,
            "method": method, "request_id": str(number), "caller_identity": self._wire.caller,
            "payload": payload, "response_timeout_ms": 10_000,
        })  # fmt: skip
        self._wire.send(event)
        return self._waiting[number]

    def do_rpc_method_invocation_response(self, req: Any, response: Any) -> None:
        waiting = self._waiting.pop(req.invocation_id, None)
        if waiting is None or waiting.done():
            return
        if req.HasField("error"):
            waiting.set_exception(RpcError(req.error.code, req.error.message, req.error.data))
            waiting.exception()  # who does not wait for an answer need not hear of it
        else:
            waiting.set_result(req.payload)

    def press(self, method: str, after_s: float) -> None:
        """The caller presses a button: calls a method once the packet that asks for it arrives.

        Raises:
            RuntimeError: the agent has registered no such method.
        """
        if method not in self.methods:
            raise RuntimeError(
                f"the caller's button calls {method!r}, which the agent does not register with "
                "room.local_participant.register_rpc_method; drop caller.release_after_s or use "
                "an agent for push to talk"
            )
        asyncio.get_running_loop().call_later(after_s, self.call_agent, method)
