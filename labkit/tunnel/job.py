"""Runs one LiveKit job against a caller: a fake job, the agent's own entrypoint, audio in and out.

Audio is attached where the SDK's console attaches its own: ``AgentSession.start`` asks
``cli.AgentsConsole.get_instance()``, and an object of the tunnel's stands there for the call.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession, JobContext, JobExecutorType, JobProcess, telemetry
from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.protocol import agent as agent_proto
from livekit.protocol import models
from opentelemetry import trace

from labkit.settings import SettingError, Settings
from labkit.tunnel import sdk
from labkit.tunnel.agentfile import LoadedAgent
from labkit.tunnel.audio import Microphone, Speaker
from labkit.tunnel.events import SessionLog
from labkit.tunnel.methods import RemoteMethods
from labkit.tunnel.override import not_taken, override_session, survey
from labkit.tunnel.own_code import own_code, wrap_own_code


class Console(sdk.ConsoleSeat):
    """Stands where the SDK's console does, and gives the session the caller's audio."""

    enabled = True
    record = False
    console_mode = "audio"

    def __init__(
        self,
        microphone: Microphone,
        speaker: Speaker,
        log: SessionLog,
        settings: Settings,
        agent: LoadedAgent,
    ) -> None:
        self._microphone, self._speaker, self._log = microphone, speaker, log
        self._settings, self._agent = settings, agent
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-job-")
        self.session_directory = Path(self._folder.name)
        self.session: AgentSession[Any] | None = None
        self.started = asyncio.Event()
        self.methods = RemoteMethods()
        self.overrides: list[str] = []
        self.survey: dict[str, Any] = {}

    @property
    def io_acquired(self) -> bool:
        return self.session is not None

    def acquire_io(self, *, loop: asyncio.AbstractEventLoop, session: AgentSession[Any]) -> None:
        self.session = session
        name = self._agent.path.name
        if self._agent.declaration is None:
            self.overrides = override_session(session, self._settings, name)
        elif ignored := not_taken(session, self._settings):
            raise SettingError(
                f"{ignored} has no effect on the session of {name}: pass it on there, or leave it "
                "out of what the file's OPTIONS say that it takes"
            )
        self.survey = survey(session, self._settings, self._agent.declaration) | own_code()
        wrap_own_code()
        # agents that take over may be of classes that are made on the way
        session.on("conversation_item_added", lambda _: wrap_own_code())
        self._log.attach(session)
        session.input.audio = self._microphone
        session.output.audio = self._speaker
        session.output.transcription = self._speaker.captions
        self.started.set()

    def discard(self) -> None:
        """Removes what sessions left in the console's folder."""
        self._folder.cleanup()


async def run_job(
    agent: LoadedAgent,
    console: Console,
    settings: Settings,
    call: int,
    hang_up: asyncio.Event,
    tenant: str = "",
) -> None:
    """Runs one job from prewarm to the last shutdown callback.

    Args:
        agent: The agent file.
        console: Where its session finds the caller.
        settings: What the job's metadata tells an agent file that declares that it reads it.
        call: Index of the call, for names only.
        hang_up: Set when the caller leaves.
        tenant: Whose caller this is; in the room's metadata, where a dispatcher puts it.

    Raises:
        Exception: whatever the agent's entrypoint raised.
    """
    proc = JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)
    if agent.prewarm is not None:
        agent.prewarm(proc)
    room = sdk.mock_room(f"call-{call}")
    room.local_participant.register_rpc_method = console.methods.register
    info = RunningJobInfo(
        accept_arguments=JobAcceptArguments(identity="agent", name="", metadata=""),
        job=agent_proto.Job(
            id=f"AJ_call{call}",
            room=models.Room(
                name=f"call-{call}",
                sid=f"RM_call{call}",
                metadata=json.dumps({"tenant": tenant}),
            ),
            type=agent_proto.JobType.JT_ROOM,
            metadata=settings.metadata() if agent.declaration is not None else "",
        ),
        url="",
        token="",
        worker_id="tunnel",
        fake_job=True,
    )
    leave: asyncio.Event = hang_up
    ctx = JobContext(
        proc=proc,
        info=info,
        room=room,
        on_connect=lambda: None,
        on_shutdown=lambda _: leave.set(),
        inference_executor=_NoInference(),
    )
    with sdk.seated(console), sdk.current_job(ctx):
        entry = asyncio.create_task(_entrypoint(agent, ctx), name="agent entrypoint")
        hung_up = asyncio.create_task(hang_up.wait(), name="caller hangs up")
        try:
            await asyncio.wait({entry, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            if entry.done() and entry.exception() is not None:
                raise entry.exception()  # type: ignore[misc]
            await hung_up
            await _shut_down(agent, ctx, entry)
        finally:
            hung_up.cancel()
            entry.cancel()
            await sdk.clean_up(ctx)
            # a job process takes the agent's own tracing with it when it ends
            telemetry.tracer.set_provider(trace.get_tracer_provider())
            console.discard()


async def _entrypoint(agent: LoadedAgent, ctx: JobContext) -> None:
    await agent.entrypoint(ctx)


async def _shut_down(agent: LoadedAgent, ctx: JobContext, entry: asyncio.Task[None]) -> None:
    """What the SDK does when the caller has left, in its order."""
    if not entry.done():
        await asyncio.wait({entry}, timeout=15)
        entry.cancel()
    session = sdk.primary_session(ctx)
    if session is not None:
        await session.aclose()
    if agent.session_end is not None:
        await agent.session_end(ctx)
    await asyncio.gather(*(callback("caller left") for callback in sdk.shutdown_callbacks(ctx)))


class _NoInference:
    """Remote inference models have no place to run in a tunnel."""

    async def do_inference(self, method: str, data: bytes) -> bytes | None:
        raise RuntimeError(
            f"the agent asked the inference process for {method!r}, which the tunnel does not "
            "have; use the SDK's local turn detector (inference.TurnDetector, the default)"
        )
