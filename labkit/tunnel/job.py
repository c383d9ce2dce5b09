"""Runs one LiveKit job against a caller: the agent's own entrypoint, a room, audio in and out.

The room is the SDK's, with the tunnel's server behind it (:mod:`labkit.tunnel.room`). Audio is
attached where the SDK's console attaches its own: ``AgentSession.start`` asks
``cli.AgentsConsole.get_instance()``, and an object of the tunnel's stands there for the call.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

from livekit import api, rtc
from livekit.agents import (
    AgentSession,
    JobContext,
    JobExecutorType,
    JobProcess,
    JobRequest,
    room_io,
    telemetry,
)
from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.protocol import agent as agent_proto
from livekit.protocol import models
from opentelemetry import trace

from labkit.settings import SettingError, Settings
from labkit.tunnel import sdk
from labkit.tunnel.agentfile import LoadedAgent
from labkit.tunnel.audio import Microphone, Speaker
from labkit.tunnel.events import SessionLog
from labkit.tunnel.inference import Inference
from labkit.tunnel.override import not_taken, override_session, survey
from labkit.tunnel.own_code import own_code, wrap_own_code
from labkit.tunnel.room import Room
from labkit.tunnel.spec import SUPPLIED


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
        room: Room,
    ) -> None:
        self.room = room
        self._microphone, self._speaker, self.log = microphone, speaker, log
        self._settings, self._agent = settings, agent
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-job-")
        self.session_directory = Path(self._folder.name)
        self.session: AgentSession[Any] | None = None
        self.started = asyncio.Event()
        self.overrides: list[str] = []
        self.survey: dict[str, Any] = {}

    @property
    def heard(self) -> deque[bytes]:
        """What the agent has heard last."""
        return self._microphone.heard

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
        self.log.attach(session)
        in_room = sdk.room_options()
        if session.turn_detection == "manual" and self._settings["caller.release_after_s"] is None:
            self.log.note(
                "the session ends turns by hand (turn_detection='manual'), and this caller presses "
                "no button: --set caller.release_after_s=0.1 has them call start_turn and end_turn"
            )
        hears = speaks = True
        if in_room is not None:
            hears, speaks = self._ends(in_room[1])
            sdk.join_room(session, *in_room)
        if hears:
            self._microphone.overheard = self.room.hearing.hear
            session.input.audio = self._microphone
        if speaks:
            self._speaker.on("playback_started", lambda _: self.log.plays(session.current_speech))
            session.output.audio = self._speaker
            session.output.transcription = self._speaker.captions
        self.started.set()

    def _ends(self, options: room_io.RoomOptions) -> tuple[bool, bool]:
        """Whether the session is to hear and to speak, by its room options; the rest is noted."""
        heard = options.get_audio_input_options()
        if heard is None:
            self.log.note("the session's room options switch its audio input off: it hears nothing")
        elif heard.noise_cancellation is not None:
            self.log.note(
                "noise cancellation is inactive in the tunnel: the agent hears the caller as the "
                "line brings it (caller.noise and links.caller say with what noise and loss)"
            )
        speaks = options.get_audio_output_options() is not None
        if not speaks:
            self.log.note("the session's room options switch its audio output off: it is not heard")
        return heard is not None, speaks

    def discard(self) -> None:
        """Removes what sessions left in the console's folder."""
        self._folder.cleanup()


async def run_job(
    agent: LoadedAgent,
    console: Console,
    settings: Settings,
    call: int,
    hang_up: asyncio.Event,
    memo: Any = None,
) -> None:
    """Runs one job from prewarm to the last shutdown callback.

    Args:
        agent: The agent file.
        console: Where its session finds the caller, and the room.
        settings: What the job's metadata tells an agent file that declares that it reads it.
        call: Index of the call, for names only.
        hang_up: Set when the caller leaves.
        memo: Where answers of the end-of-turn model are remembered.

    Raises:
        Exception: whatever the agent's entrypoint raised.
        SettingError: the job's metadata cannot be what was asked for.
    """
    proc = JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)
    if agent.prewarm is not None:
        agent.prewarm(proc)
    server = console.room
    job = agent_proto.Job(
        id=f"AJ_call{call}",
        room=models.Room(**{k: server.info[k] for k in ("name", "sid", "metadata")}),
        type=agent_proto.JobType.JT_ROOM,
        metadata=job_metadata(settings, agent),
        agent_name=agent.name,
    )
    accepted = await _accepted(agent, job)
    server.agent = {
        "identity": accepted.identity, "name": accepted.name, "metadata": accepted.metadata,
        "attributes": accepted.attributes or {}, "sid": server.wire.new_sid("PA"),
        "kind": rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
        "state": rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE,
    }  # fmt: skip
    reasons = ["caller left"]

    def shut_down(reason: str) -> None:
        if not hang_up.is_set():  # the first is why
            reasons[0] = reason
        hang_up.set()

    server.ended = shut_down
    room = rtc.Room()
    ctx = JobContext(
        proc=proc,
        info=RunningJobInfo(
            accept_arguments=accepted,
            job=job,
            url=SUPPLIED["LIVEKIT_URL"],
            token=_token(accepted, str(server.info["name"])),
            worker_id="tunnel",
            fake_job=False,
        ),
        room=room,
        on_connect=lambda: None,
        on_shutdown=lambda reason: shut_down(reason or "user requested"),
        inference_executor=Inference(settings, console.log, console.heard, memo),
    )
    with sdk.seated(console), sdk.current_job(ctx):
        entry = asyncio.create_task(_entrypoint(agent, ctx), name="agent entrypoint")
        hung_up = asyncio.create_task(hang_up.wait(), name="caller hangs up")
        try:
            await asyncio.wait({entry, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            if entry.done() and entry.exception() is not None:
                raise entry.exception()  # type: ignore[misc]
            await hung_up
            server.leave(server.caller, rtc.DisconnectReason.CLIENT_INITIATED)
            await _shut_down(agent, ctx, entry, reasons)
        finally:
            hung_up.cancel()
            entry.cancel()
            await sdk.clean_up(ctx)
            await room.disconnect()
            # a job process takes the agent's own tracing with it when it ends
            telemetry.tracer.set_provider(trace.get_tracer_provider())
            console.discard()


def job_metadata(settings: Settings, agent: LoadedAgent) -> str:
    """What the agent reads as its job's metadata.

    Raises:
        SettingError: the file declares that it reads settings there, and what was given is no JSON
            object that could hold them.
    """
    given = settings.text("job.metadata")
    if agent.declaration is None:
        return given
    told = settings.metadata()
    if not given:
        return told
    try:
        own = json.loads(given)
    except ValueError:
        own = None
    if not isinstance(own, dict):
        raise SettingError(
            f"job.metadata={given}: {agent.path.name} declares PARAMETERS and so reads its "
            "settings there: give a JSON object, to which they are added"
        )
    return json.dumps({**own, **json.loads(told or "{}")})


async def _accepted(agent: LoadedAgent, job: agent_proto.Job) -> JobAcceptArguments:
    """Offers the job to the agent, as a server does; an agent that is not asked accepts.

    Raises:
        RuntimeError: it rejects the job, or does not answer.
    """
    answers: list[JobAcceptArguments | None] = []

    async def accept(arguments: JobAcceptArguments) -> None:
        answers.append(arguments)

    async def reject(terminate: bool) -> None:
        answers.append(None)

    request = JobRequest(job=job, on_reject=reject, on_accept=accept)
    if agent.request is None:
        await request.accept()
    else:
        await agent.request(request)
    answer = answers[0] if answers else None
    if answer is None:
        name = getattr(agent.request, "__name__", "on_request")
        did = "rejects the job" if answers else "neither accepts nor rejects the job"
        raise RuntimeError(f"{name} of {agent.path.name} {did}, so that no call can begin")
    return answer


def _token(accepted: JobAcceptArguments, room: str) -> str:
    """The agent's access token, as a server gives it out."""
    token = api.AccessToken(SUPPLIED["LIVEKIT_API_KEY"], SUPPLIED["LIVEKIT_API_SECRET"])
    grants = api.VideoGrants(room_join=True, room=room, agent=True)
    return token.with_identity(accepted.identity).with_kind("agent").with_grants(grants).to_jwt()


async def _entrypoint(agent: LoadedAgent, ctx: JobContext) -> None:
    await agent.entrypoint(ctx)


async def _shut_down(
    agent: LoadedAgent, ctx: JobContext, entry: asyncio.Task[None], reasons: list[str]
) -> None:
    """What the SDK does when the caller has left, in its order."""
    if not entry.done():
        await asyncio.wait({entry}, timeout=15)
        entry.cancel()
    session = sdk.primary_session(ctx)
    if session is not None:
        await session.aclose()
    if agent.session_end is not None:
        await agent.session_end(ctx)
    await ctx.room.disconnect()
    await asyncio.gather(*(callback(reasons[0]) for callback in sdk.shutdown_callbacks(ctx)))
