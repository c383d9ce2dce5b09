"""The one door to what the LiveKit SDK does not promise: every private name of it that is used.

The SDK has no public way to run a job without a server, to give a session its audio from outside,
or to wait for all that a job left behind. What is used instead stands here, with what it is for and
what breaks if it goes; the rest of labkit calls this module. Nothing of the SDK is patched but the
two places that its own command line sets: the console's instance and ``cli.run_app``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import NonCallableMock

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, utils, voice
from livekit.agents.cli import AgentsConsole
from livekit.agents.ipc.mock_room import create_mock_room
from livekit.agents.job import _JobContextVar
from livekit.agents.utils import http_context
from livekit.agents.voice.room_io._pre_connect_audio import PreConnectAudioHandler


@dataclass(frozen=True)
class Private:
    """A name that the SDK may drop without notice.

    Attributes:
        owner: Module, or module and class.
        name: The name in it; of a class, also one that its constructor sets.
        use: What it is for here.
        without: What breaks if it goes.
    """

    owner: str
    name: str
    use: str
    without: str


NAMES = (
    Private(
        "livekit.agents.ipc.mock_room", "create_mock_room",
        "a room without a server", "no job can be made",
    ),
    Private(
        "livekit.rtc.Room", "_info",
        "the room's name, unlike the mock's own", "rooms of all calls have one name",
    ),
    Private(
        "livekit.agents.Agent", "_activity",
        "the rules by which turns end, as resolved for the agent that listens",
        "the slack of the endpointing delay is unknown",
    ),
    Private(
        "livekit.agents.voice.agent_activity.AgentActivity", "_turn_detection",
        "who ends turns, after the SDK's defaults",
        "the slack of the endpointing delay is unknown",
    ),
    Private(
        "livekit.agents.job", "_JobContextVar",
        "get_job_context() in agents and in the SDK", "agents find no job",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_instance",
        "audio in and out where the console's is", "sessions hear and say nothing",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_tcp_transport",
        "asked of the console by AgentSession.start", "sessions do not start",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_tcp_audio_input",
        "asked of the console with _tcp_transport", "sessions do not start",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_tcp_audio_output",
        "asked of the console with _tcp_transport", "sessions do not start",
    ),
    Private(
        "livekit.agents.AgentServer", "_entrypoint_fnc",
        "what an agent file registered with rtc_session", "agent files start no agent",
    ),
    Private(
        "livekit.agents.AgentServer", "_session_end_fnc",
        "its on_session_end", "evaluations at the end of a call are not run",
    ),
    Private(
        "livekit.agents.JobContext", "_pending_tasks",
        "tasks the job started, ended with it", "they leak into the next call",
    ),
    Private(
        "livekit.agents.JobContext", "_on_cleanup",
        "the job's own end", "its folders and log filters stay",
    ),
    Private(
        "livekit.agents.JobContext", "_primary_agent_session",
        "the session to close when the caller has left", "calls end without its close event",
    ),
    Private(
        "livekit.agents.JobContext", "_shutdown_callbacks",
        "what agents ask to be called at the end", "agents' clean-up is not run",
    ),
    Private(
        "livekit.agents.utils.http_context", "_new_session_ctx",
        "the job's HTTP sessions", "plugins make no connections",
    ),
    Private(
        "livekit.agents.utils.http_context", "_close_http_ctx",
        "their end", "connections leak into the next call",
    ),
    Private(
        "livekit.agents.voice.room_io._pre_connect_audio", "PreConnectAudioHandler",
        "takes what a caller said before the agent joined", "join.preconnect cannot be set",
    ),
    Private(
        "livekit.agents.voice.tool_executor", "_ToolExecutor",
        "runs a tool in a task of its own", "instant.tools has no effect",
    ),
    Private(
        "livekit.agents.utils.codecs.decoder.AudioStreamDecoder", "_decode_loop",
        "given a thread, as it waits on the loop", "compressed speech hangs calls",
    ),
)  # fmt: skip
"""Everything that is used here without a promise."""

DECODER_JOB = "_decode_loop"
"""The function that decodes compressed audio in an executor."""

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


def mock_room(name: str) -> Any:
    """The SDK's room without a server, as new: what an earlier call did to it is undone.

    Making one takes 30 ms of processor time, so a process makes one.
    """
    room, pristine = _room()
    for state, saved in pristine:
        state.clear()
        state.update({k: _copied(v) for k, v in saved.items()})
    room._info.name = name
    return room


@functools.cache
def _room() -> tuple[Any, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """A mock room, and the state of each mock in it with a copy of that."""
    room = create_mock_room()
    pristine: list[tuple[dict[str, Any], dict[str, Any]]] = []
    seen: set[int] = set()
    found: list[Any] = [room]
    for thing in found:  # grows while it is read
        if id(thing) not in seen:
            seen.add(id(thing))
            state = vars(thing)
            pristine.append((state, {k: _copied(v) for k, v in state.items()}))
            for value in list(state.values()):
                values = value.values() if isinstance(value, dict) else [value]
                found += [v for v in values if _is_mocked(v)]
    return room, pristine


def _is_mocked(thing: Any) -> bool:
    """Whether it is a mock or, of a function with a checked signature, what stands for one."""
    return isinstance(thing, NonCallableMock) or (
        isinstance(thing, types.FunctionType) and hasattr(thing, "mock")
    )


def _copied(value: Any) -> Any:
    return type(value)(value) if isinstance(value, (dict, list)) else value
