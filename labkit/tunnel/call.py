"""One call, from the first server to the last shutdown callback, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labkit.callers.caller import Caller, Mouth, SpokenTurn
from labkit.callers.ear import Ear
from labkit.callers.echo import EchoingMouth
from labkit.callers.line import Line
from labkit.callers.noise import background
from labkit.callers.plan import plan_call
from labkit.providers.collector import Collector
from labkit.providers.profile import load_profiles
from labkit.settings import SettingError, Settings
from labkit.tunnel import blocking, instant, sdk
from labkit.tunnel.agentfile import find_agent, load_agent
from labkit.tunnel.audio import Captions, Microphone, Speaker
from labkit.tunnel.behind import Behind
from labkit.tunnel.detector import Detector
from labkit.tunnel.events import SessionLog
from labkit.tunnel.faults import Faults
from labkit.tunnel.inference import with_thresholds
from labkit.tunnel.isolation import Guard
from labkit.tunnel.job import Console, run_job
from labkit.tunnel.link import Link
from labkit.tunnel.loop import waiting
from labkit.tunnel.memo import Overheard
from labkit.tunnel.metadata import missing
from labkit.tunnel.network import Network
from labkit.tunnel.preconnect import EarlyMicrophone
from labkit.tunnel.record import Backchannel, CallerTurn, CallRecord, ReplySegment, Tracks
from labkit.tunnel.refusals import refusals
from labkit.tunnel.room_host import add_room_server, open_room
from labkit.tunnel.servers import Servers
from labkit.tunnel.sources import line_that_names
from labkit.tunnel.spec import CallSpec, longest_s
from labkit.tunnel.tls import Authority
from labkit.tunnel.unserved import Unserved, unserved
from labkit.tunnel.visitor import act, read_script
from labkit.world.dialogue import Dialogue
from labkit.world.own import cast
from labkit.world.scene import SAMPLE_RATE_HZ, Scene
from labkit.world.speech import SpeechCorpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.providers.server import Emulator
    from labkit.tunnel.network_loop import NetworkLoop, WallNetworkLoop


@dataclass
class Supplies:
    """What a process keeps from call to call.

    Attributes:
        authority: Signs the providers' certificates.
        dialogues: By name.
        corpus: The callers' recorded speech.
        eot_memo: Answers of the end-of-turn model.
        collector: Where blocking clients reach the trace collector, while a call is in progress.
    """

    authority: Authority
    dialogues: dict[str, Dialogue]
    corpus: SpeechCorpus
    eot_memo: Overheard
    collector: blocking.BlockingHost | None = None


class Call:
    """One call, from the first server to the last shutdown callback."""

    def __init__(
        self,
        supplies: Supplies,
        spec: CallSpec,
        settings: Settings,
        make: Callable[[str, Callable[[], Scene]], Emulator],
        guard: Guard,
        network: Network,
        loop: NetworkLoop | WallNetworkLoop,
    ) -> None:
        self.supplies, self.spec, self.settings = supplies, spec, settings
        self.make, self.network, self.loop = make, network, loop
        self.servers: Servers | None = None
        self.began_s = loop.time()
        wanted = settings.text("caller.dialogue")
        dialogues, speech = cast(wanted, supplies.dialogues, supplies.corpus)
        plan = plan_call(settings, spec.seed, spec.call, spec.n_turns, dialogues, speech)
        self.scene = Scene(
            spec.seed,
            spec.call,
            dialogues=dialogues,
            local_eot=Detector(supplies.eot_memo.memo).judge,
        )
        kinds = frozenset(kind for kind in instant.KINDS if settings[f"instant.{kind}"])
        instant.begin(kinds, sdk.runs_tool, sdk.is_sessions_own)
        profiles = load_profiles(settings.text("profile") or None, settings.figures)
        supplies.collector = blocking.BlockingHost(
            Collector(profiles[Collector.name], lambda: self.scene, loop.time),
            Link(**settings.link(Collector.name, Collector.host)),
        )
        self.log = SessionLog(self.now)
        self.faults = Faults(find_agent(spec.agent)[0].parent, self._fault)
        guard.tell = self.faults.note_refusal
        self.unserved = ""
        self.job: asyncio.Task[None] | None = None
        sdk.refuse_on_use(self._unserved)
        self.line = Line.of(plan.settings, spec.seed, spec.call)
        self.tenant = dialogues[plan.turns[0].dialogue].tenant
        self.script = read_script(settings.text("participant.script"))
        self.room = open_room(
            settings, spec, self.tenant, self.line.rtt_s, self.script["rpc"], self.now, self.log
        )  # before the file is loaded: plugins ask the native library
        os.environ.update(with_thresholds(find_agent(spec.agent)[0]))
        self.agent = load_agent(spec.agent)
        self.ear = Ear()
        tone = background(plan.settings, [t.clip for t in plan.turns], spec.seed, spec.call)
        echo_db = settings["caller.echo_db"]
        self.mouth = Mouth(self.scene, tone)
        if echo_db is not None:
            learned_s = settings.number("caller.echo_learned_s")
            self.mouth = EchoingMouth(self.scene, tone, self.ear, float(echo_db), learned_s)
        self.caller = Caller(
            plan,
            self.scene,
            self.mouth,
            self.ear,
            self.now,
            self._button,
            self.log.has_speech,
            self.log.goes_on,
        )
        eot_s = settings.number("compute.eot_s")  # told as it is asked, answered so much later
        supplies.eot_memo.tell = lambda value: self.log.add(
            "eot", probability=value, answered_s=self.now() + eot_s
        )
        self.early: EarlyMicrophone | None = None
        if settings["join.handshake_s"] is not None:
            buffered = bool(settings["join.preconnect"])
            self.early = EarlyMicrophone(self.mouth, self.line, self.now, buffered)
        self.talk: asyncio.Task[None] | None = None
        behind = Behind(self.ear, self.line, self.now, lambda: self.mouth.turn[0])
        self.room.tracks.heard, self.room.tracks.cut = behind.play, behind.cut
        self.console = Console(
            self.early or Microphone(self.mouth, self.line, self.now),
            Speaker(self.ear, Captions(), self.line, self.now, lambda: self.mouth.turn[0]),
            self.log,
            settings,
            self.agent,
            self.room,
        )

    def now(self) -> float:
        return self.loop.time() - self.began_s

    def _button(self, pressed: bool) -> None:
        """A push-to-talk button: its signal is quicker than audio, which waits in a buffer."""
        self.room.rpc.press("start_turn" if pressed else "end_turn", self.line.rtt_s / 2)

    async def run(self) -> CallRecord:
        self.began_s = self.loop.time()
        self.log.epoch_s = time.time()
        self.log.listen_to_logging()
        self.faults.listen()
        servers = self.servers = Servers(
            self.network, self.supplies.authority, self.settings, self._emulator
        )
        add_room_server(self.network, servers, self.room, self.settings, self.spec)
        hang_up = asyncio.Event()
        await self._join()
        self.job = job = asyncio.create_task(
            run_job(
                self.agent, self.console, self.settings, self.spec.call, hang_up,
                self.supplies.eot_memo,
            ),
            name="job",
        )  # fmt: skip
        visit = asyncio.create_task(act(self.room, self.script), name="caller's app")
        status, error = "ok", ""
        limit_s = longest_s(self.spec, self.settings)
        try:
            async with asyncio.timeout(limit_s):
                await self._talk(job)
                ended_s = self.now()
                hang_up.set()
                await job
        except TimeoutError:
            ended_s = self.now()
            status, error = "failed", f"the call did not end within {limit_s:.0f} s of its clock"
            error += "; waiting:\n" + waiting(self.loop)
        except asyncio.CancelledError:
            if not self.unserved:
                raise
            ended_s = self.now()
        except Exception as e:
            if isinstance(e, SettingError):
                raise
            ended_s = self.now()
            status, error = "failed", self.faults.sentence(e) + missing(e, self.agent.path)
        finally:
            job.cancel()
            visit.cancel()
            await asyncio.gather(job, visit, return_exceptions=True)
            if self.early is not None:
                self.early.close()
            self.faults.note_unawaited()
            for refusal, at in refusals(self.scene.log.events, find_agent(self.spec.agent)[0]):
                self._fault(at, refusal)
            self.faults.stop()
            self.log.stop_listening()
            await servers.close()
        if self.unserved:
            status, error = "failed", self.unserved
        elif self.network.refused:
            status = "failed"
            try:
                self.network.host(self.network.refused[0])
            except OSError as e:
                named = line_that_names(find_agent(self.spec.agent)[0], self.network.refused[0])
                error = f"{named}: {e.strerror}" if named else str(e.strerror)
        return self._record(status, error, ended_s)

    def broken_off(self, e: BaseException) -> CallRecord:
        """What is left of a call after an exception that stops the loop."""
        return self._record("failed", self.faults.sentence(e), self.now())

    def _unserved(self, kind: str, thing: object, made: traceback.StackSummary) -> Unserved:
        """Ends the call, whatever the agent makes of the exception."""
        refusal = unserved(kind, thing, self.faults.own_line(made))
        self.unserved = self.unserved or str(refusal)
        if self.job is not None:
            self.job.cancel()
        return refusal

    def _fault(self, where: str, error: str) -> None:
        self.log.add("agent_error", where=where, error=error)

    def _emulator(self, provider: str) -> Emulator:
        """The emulator of a provider, made when its host is first looked up."""
        emulator = self.make(provider, lambda: self.scene)
        emulator.around = instant.of_client
        return emulator

    async def _join(self) -> None:
        """Lets the caller talk while the agent is still on its way, if it is to take a while."""
        if self.early is not None:
            self.early.open()
            self.talk = asyncio.create_task(self.caller.run(), name="caller")
            await asyncio.sleep(self.settings.number("join.handshake_s"))

    async def _met(self) -> None:
        """Waits for the session to have its audio, and for a caller who joins later to be there."""
        await self.console.started.wait()
        if self.settings["participant.joins_after_s"] is not None:
            await self.room.met.wait()

    async def _talk(self, job: asyncio.Task[None]) -> None:
        """Waits for the session to have its audio, then lets the caller talk to the end."""
        started = asyncio.create_task(self._met())
        await asyncio.wait({started, job}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if job.done():
            await job
            raise RuntimeError(
                f"{self.agent.path.name} ended without starting an AgentSession with a room"
            )
        talk = self.talk or asyncio.create_task(self.caller.run(), name="caller")
        await asyncio.wait({talk, job}, return_when=asyncio.FIRST_COMPLETED)
        if not talk.done():
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            await job
        else:
            await talk

    def _record(self, status: str, error: str, ended_s: float) -> CallRecord:
        plan = self.caller.plan
        one_way_s = self.servers.one_way_s() if self.servers else {}
        tracks = None
        if self.spec.tracks:
            mouth = np.frombuffer(bytes(self.mouth.pcm), dtype=np.int16)
            ear = self.ear.track(SAMPLE_RATE_HZ, len(mouth) / SAMPLE_RATE_HZ)
            tracks = Tracks(mouth, ear, self.mouth.speech())
        return CallRecord(
            call=self.spec.call,
            seed=self.spec.seed,
            persona=plan.persona,
            voice=plan.voice,
            turns=[_caller_turn(t) for t in self.caller.spoken],
            segments=[
                ReplySegment(
                    s.left_s,
                    s.first_voiced_s,
                    s.last_voiced_s,
                    s.interrupted,
                    s.voiced(),
                    tuple((b.at_s, b.resumed_s) for b in s.breaks),
                    s.starved_s,
                    s.runs(),
                )
                for s in self.ear.segments
            ],
            providers=self.scene.log.recorded(self.began_s, one_way_s),
            session=self.log.rows,
            up_delay_s=self.line.up_s,
            down_delay_s=self.line.down_s,
            simulated_s=ended_s,
            wall_s=float("nan"),
            status=status,
            error=error,
            connects=dict(self.network.connects),
            overrides=self.console.overrides,
            survey=self.console.survey,
            refused=bool(self.network.refused or self.unserved),
            backchannels=[
                Backchannel(b.index, b.clip.text, b.started_s, b.stopped_s)
                for b in self.caller.backchannels
            ],
            tracks=tracks,
        )


def _caller_turn(spoken: SpokenTurn) -> CallerTurn:
    turn = spoken.plan.turn
    return CallerTurn(
        index=spoken.index,
        dialogue=spoken.plan.dialogue,
        turn_id=turn.id,
        intent=turn.intent,
        kind=turn.kind,
        heavy=turn.heavy,
        variant=spoken.plan.variant,
        text=spoken.clip.text,
        right_reply=turn.right_reply(spoken.plan.variant),
        clip_id=spoken.clip.clip_id,
        started_s=spoken.started_s,
        stopped_s=spoken.stopped_s,
        over_s=spoken.over_s,
        pauses=tuple((spoken.started_s + a, spoken.started_s + b) for a, b in spoken.clip.pauses),
        barged_in=spoken.barged_in,
        released_s=spoken.released_s,
    )
