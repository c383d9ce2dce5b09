"""How the tunnel's room speaks to the SDK: handles, responses, callbacks and room events."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from labkit.tunnel import sdk

_HANDLES = itertools.count(sdk.FIRST_HANDLE)
"""Used once in a process: what is left of an earlier call drops its own, at any time."""


class Wire:
    """The server's end of the SDK's native messages.

    Attributes:
        caller: The caller's identity.
        now: The call's clock, seconds.
        note: Told what the agent does to the room: what, and details by name.
        rtt_s: Round trip to the server, seconds.
        handle: The room's handle, 0 before the agent has joined.
        agent_handle: The handle of the agent's own participant.
        ready: Whether the agent takes events of the room.
    """

    def __init__(
        self,
        answer: Callable[[sdk.FfiRequest], sdk.FfiResponse | None],
        caller: str,
        now: Callable[[], float],
        note: Callable[..., None],
        rtt_s: float,
    ) -> None:
        self.caller, self.now, self.note, self.rtt_s = caller, now, note, rtt_s
        self._ids = itertools.count(1)
        self._sids = itertools.count(1)
        self._kept: dict[int, Any] = {}
        self.handle = self.agent_handle = 0
        self.ready = False
        self._ffi = sdk.Ffi(answer, self.dropped)

    def new_handle(self, kept: Any = None) -> int:
        """A handle for the SDK; what is kept with it is let go when the SDK drops it."""
        handle = next(_HANDLES)
        if kept is not None:
            self._kept[handle] = kept
        return handle

    def new_sid(self, kind: str) -> str:
        """An identifier such as ``TR_0003``."""
        return f"{kind}_{next(self._sids):04d}"

    def dropped(self, handle: int) -> None:
        """Lets go what was kept with a handle."""
        self._kept.pop(handle, None)

    def kept(self, handle: int) -> Any:
        """What was kept with a handle."""
        return self._kept[handle]

    def holds(self, handle: int) -> bool:
        """Whether something is kept with a handle."""
        return handle in self._kept

    def call_back(self, kind: str, response: Any, /, after_s: float = 0.0, **fields: Any) -> None:
        """Answers a request for good, later; ``fields`` are those of the event of that kind."""
        response.async_id = next(self._ids)
        event = sdk.FfiEvent()
        target = getattr(event, kind)
        target.async_id = response.async_id
        fill(target, fields)
        self.send(event, after_s)

    def emit(self, what: str, /, **fields: Any) -> None:
        """Reports something that happened in the room, once the agent is in it."""
        if not self.ready:
            return
        event = sdk.FfiEvent()
        event.room_event.room_handle = self.handle
        target = getattr(event.room_event, what)
        target.SetInParent()
        fill(target, fields)
        self.send(event)

    def read_event(self, reader: int, **fields: Any) -> None:
        """Gives the reader of a text stream what comes next."""
        event = sdk.FfiEvent()
        event.text_stream_reader_event.reader_handle = reader
        fill(event.text_stream_reader_event, fields)
        self.send(event)

    def stream_event(self, stream: int, **fields: Any) -> None:
        """Gives the reader of a track what comes next."""
        event = sdk.FfiEvent()
        event.audio_stream_event.stream_handle = stream
        fill(event.audio_stream_event, fields)
        self.send(event)

    def send(self, event: sdk.FfiEvent, after_s: float = 0.0) -> None:
        if after_s > 0:
            asyncio.get_running_loop().call_later(after_s, self._ffi.queue.put, event)
        else:
            self._ffi.queue.put(event)

    def new_id(self) -> int:
        """A number for a request of the server's own."""
        return next(self._ids)


def fill(message: Any, fields: Mapping[str, Any]) -> None:
    """Sets fields of a message; dicts are messages or maps, lists are repeated fields."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            target = getattr(message, name)
            if hasattr(target, "SetInParent"):
                target.SetInParent()
                fill(target, value)
            else:
                target.update(value)
        elif isinstance(value, list):
            target = getattr(message, name)
            for item in value:
                if isinstance(item, Mapping):
                    fill(target.add(), item)
                else:
                    target.append(item)
        elif value is not None:
            setattr(message, name, value)
