"""The one door to what the LiveKit SDK does not promise: every private name of it that is used.

The SDK has no public way to run a job without a server, to give a session its audio from outside,
or to wait for all that a job left behind. What is used instead stands here (in :data:`NAMES` with
what it is for and what breaks if it goes); the rest of labkit calls this module. Nothing of the SDK
is patched but these places: the two that its own command line sets (the console's instance and
``cli.run_app``), the instance of its native library, in whose place the tunnel's room stands, and
the constructors of what the tunnel does not have (see :func:`refuse_on_use`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import os
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, llm, utils, voice
from livekit.agents.cli import AgentsConsole
from livekit.agents.inference_runner import _InferenceRunner
from livekit.agents.job import _JobContextVar
from livekit.agents.utils import http_context
from livekit.agents.voice import avatar, room_io
from livekit.agents.voice.room_io._pre_connect_audio import PreConnectAudioHandler
from livekit.rtc._ffi_client import FfiClient, FfiQueue
from livekit.rtc._proto.ffi_pb2 import FfiEvent as FfiEvent
from livekit.rtc._proto.ffi_pb2 import FfiRequest as FfiRequest
from livekit.rtc._proto.ffi_pb2 import FfiResponse as FfiResponse

from labkit.tunnel.sdk_names import NAMES as NAMES
from labkit.tunnel.sdk_names import Private as Private

_UNSERVED: dict[type[Any], tuple[str, str, Any]] = {
    llm.RealtimeModel: ("realtime", "session", llm.RealtimeModel.__init__),
    avatar.AvatarSession: ("avatar", "start", avatar.AvatarSession.__init__),
}
"""What the tunnel does not have, the method that begins to use it, and its own constructor."""
Refuse = Callable[[str, Any, traceback.StackSummary], BaseException]
_refuse: list[Refuse] = []


def refuse_on_use(refuse: Refuse) -> None:
    """Lets realtime models and avatars be made, but not used.

    A file may make one that no call reaches. The methods are the plugins' own, so each object gets
    another in place of its own as it is made.

    Args:
        refuse: Called at the first use with ``realtime`` or ``avatar``, the object and the stack
            where it was made; gives what is to be raised.
    """
    _refuse[:] = [refuse]
    for cls, (kind, method, init) in _UNSERVED.items():
        cls.__init__ = _noting(kind, method, init)


def _noting(kind: str, method: str, init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made = traceback.extract_stack()

        def refused(*args: Any, **kwargs: Any) -> Any:
            raise _refuse[0](kind, self, made)

        setattr(self, method, refused)

    return noted


DECODER_JOB = "_decode_loop"
"""The function that decodes compressed audio in an executor."""


def shares_its_buffer(job: Callable[..., Any], condition: Callable[[Any], Any]) -> None:
    """Lets a decoder wait for bytes on a condition of the tunnel's."""
    buffer = getattr(job, "__self__")._input_buf  # noqa: B009
    buffer._data_available = condition(buffer._lock)


_TOOL_RUN = "_ToolExecutor.execute.<locals>._execute_tool"
"""The coroutine in which a tool runs."""
_SESSIONS = os.path.dirname(voice.__file__)
"""Where the session's own work is written."""


def runs_tool(coro: Any) -> bool:
    """Whether a coroutine runs one of the agent's tools."""
    return getattr(coro, "__qualname__", "") == _TOOL_RUN


def is_sessions_own(coro: Any) -> bool:
    """Whether a coroutine is the session's own work, such as saying something."""
    code = getattr(coro, "cr_code", None)
    return code is not None and code.co_filename.startswith(_SESSIONS)


def own_agents() -> list[type[Agent]]:
    """The classes of agents that are not the SDK's."""
    found: list[type[Agent]] = [Agent]
    for cls in found:  # grows while it is read
        found += [c for c in cls.__subclasses__() if c not in found]
    return [c for c in found if not c.__module__.startswith("livekit.")]


class ConsoleSeat:
    """What ``AgentSession.start`` asks of a console besides its public attributes."""

    _tcp_transport = None
    _tcp_audio_input = None
    _tcp_audio_output = None


@contextlib.contextmanager
def seated(console: Any) -> Iterator[None]:
    """Lets sessions that start find a console of the tunnel's where the SDK's own would be."""
    AgentsConsole._instance = console
    try:
        yield
    finally:
        AgentsConsole._instance = None


def entrypoint(server: AgentServer) -> Callable[[JobContext], Awaitable[None]] | None:
    """What a server would run for each job."""
    return server._entrypoint_fnc


def session_end(server: AgentServer) -> Callable[[JobContext], Awaitable[None]] | None:
    """What a server would run after each session."""
    return server._session_end_fnc


@contextlib.contextmanager
def current_job(ctx: JobContext) -> Iterator[None]:
    """Lets ``get_job_context`` find a job, and gives it HTTP sessions (see :func:`clean_up`)."""
    token = _JobContextVar.set(ctx)
    http_context._new_session_ctx()
    try:
        yield
    finally:
        _JobContextVar.reset(token)


async def clean_up(ctx: JobContext) -> None:
    """Ends what a job left behind: its tasks, its files, its connections."""
    if tasks := ctx._pending_tasks:
        await utils.aio.cancel_and_wait(*tasks)
    await ctx._on_cleanup()
    await http_context._close_http_ctx()


def primary_session(ctx: JobContext) -> AgentSession[Any] | None:
    """The session that a job's agent started, if it did."""
    return ctx._primary_agent_session


def turn_rules(session: AgentSession[Any]) -> dict[str, Any]:
    """How the session ends turns and begins replies just now; empty if it does not say.

    Returns:
        ``ended_by``: ``vad``, ``stt``, ``manual`` or ``detector``; ``delays_s``: the endpointing
        delays that may apply, empty if they adapt to the caller; ``preemptive`` and
        ``preemptive_tts``: whether the LLM and the TTS may begin before the commit.
    """
    try:
        activity: Any = session.current_agent._activity
        detection, endpointing = activity._turn_detection, activity.endpointing_opts
        preemptive = activity.preemptive_generation_opts
    except (AttributeError, RuntimeError):
        return {}
    fixed = endpointing.get("mode", "fixed") == "fixed"
    has_model = detection is not None and not isinstance(detection, str)
    delays_s = [endpointing["min_delay"], *([endpointing["max_delay"]] if has_model else [])]
    return {
        "ended_by": "detector" if has_model else detection or "vad",
        "delays_s": delays_s if fixed else [],
        "preemptive": bool(preemptive["enabled"]),
        "preemptive_tts": bool(preemptive["enabled"] and preemptive["preemptive_tts"]),
    }


def shutdown_callbacks(ctx: JobContext) -> list[Callable[[str], Coroutine[None, None, None]]]:
    """What the agent asked to be called when the job ends."""
    return ctx._shutdown_callbacks


def early_audio_handler(room: Any, timeout_s: float) -> PreConnectAudioHandler:
    """What waits in a job for the sound that a caller made before the agent joined."""
    return PreConnectAudioHandler(room, timeout=timeout_s)


FIRST_HANDLE = 1 << 48
"""Handles from here on are the tunnel's, not the native library's."""


class Ffi:
    """Stands where the SDK's native library does, and answers what is asked of rooms.

    Rooms, participants and streams of the SDK are the true ones; they send their requests to this
    instead of a media server. What concerns no room, such as resampling, goes on to the library,
    which is loaded when something asks for it.

    Attributes:
        queue: Events put here reach the SDK's objects.
    """

    def __init__(
        self, answer: Callable[[FfiRequest], FfiResponse | None], drop: Callable[[int], None]
    ) -> None:
        """Takes the place.

        Args:
            answer: Gives the response to a request, None if it is the library's.
            drop: Called with a handle of the tunnel's that is no longer used.
        """
        before: Any = FfiClient._instance
        self._native: Any = before._native if isinstance(before, Ffi) else before
        self._answer, self._drop = answer, drop
        self._pid, self._ffi_lib = os.getpid(), self
        self.queue: FfiQueue[FfiEvent] = FfiQueue()
        FfiClient._instance = self  # type: ignore[assignment]

    def request(self, req: FfiRequest) -> FfiResponse:
        answer = self._answer(req)
        if answer is not None:
            return answer
        if self._native is None:
            self._native = FfiClient()
        response: FfiResponse = self._native.request(req)
        return response

    def livekit_ffi_drop_handle(self, handle: Any) -> bool:
        if handle.value >= FIRST_HANDLE:
            self._drop(handle.value)
            return True
        return self._native is None or self._native._ffi_lib.livekit_ffi_drop_handle(handle)


def room_options() -> tuple[Any, room_io.RoomOptions] | None:
    """The room and the options of the ``AgentSession.start`` that asks for the console just now.

    To be called from the function that it calls. None if it was given no room.
    """
    frame = inspect.currentframe()
    for _ in range(2):
        assert frame is not None
        frame = frame.f_back
    assert frame is not None
    given = frame.f_locals
    if not utils.is_given(given["room"]):
        return None
    options = room_io.RoomOptions._ensure_options(
        given["room_options"],
        room_input_options=given["room_input_options"],
        room_output_options=given["room_output_options"],
    )
    return given["room"], copy.copy(options)


def join_room(session: AgentSession[Any], room: Any, options: room_io.RoomOptions) -> None:
    """Gives a session its room; audio and transcripts that are attached elsewhere are switched off.

    The session then connects to the room, links the caller and ends when the caller leaves, as it
    does without a console.
    """
    text = options.get_text_input_options()
    options.audio_input = options.audio_output = options.text_output = False
    session._room_io = room_io.RoomIO(session, room, options=options)
    beginning = session._room_io.start(trace_context=session._session_start_context)
    task = asyncio.create_task(beginning, name="session joins its room")
    task.add_done_callback(lambda done: done.result())
    if text is not None:
        session._room_io.register_text_input(text.text_input_cb)


def inference_runner(method: str) -> Callable[[], Any] | None:
    """The class that runs a model for the method of that name, if a plugin has registered one."""
    return _InferenceRunner.registered_runners.get(method)


def request_fnc(server: AgentServer) -> Callable[[Any], Awaitable[None]] | None:
    """What a server would ask whether to accept a job."""
    return server._request_fnc


def agent_name(server: AgentServer) -> str:
    """The name by which a server's agent would be dispatched."""
    return server._agent_name
