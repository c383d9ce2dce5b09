"""One warm worker process: a call specification in, a record of the call out.

Imports are paid once. Everything that a call could leave behind is made anew for each one: the
event loop and its clock, the providers' state, the agent file's module, its job and its process
data. A call therefore gives the same record whichever worker runs it, and after whichever others.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.providers.collector import Collector
from labkit.providers.profile import load_profiles
from labkit.providers.registry import emulators, key_variable
from labkit.settings import Settings
from labkit.tunnel import blocking, clock
from labkit.tunnel.agentfile import find_agent, load_agent
from labkit.tunnel.gateway import Gateway
from labkit.tunnel.link import Link
from labkit.tunnel.network import Authority, Host, Network, NetworkLoop, guard_lookups, listen
from labkit.tunnel.record import Backchannel, CallerTurn, CallRecord, ReplySegment
from labkit.tunnel.sources import line_that_names
from labkit.tunnel.spec import ENVIRONMENT, KEYS, CallSpec
from labkit.world.scene import SAMPLE_RATE_HZ, Scene

if TYPE_CHECKING:
    from aiohttp import web

    from labkit.callers.caller import SpokenTurn
    from labkit.providers.server import Emulator
    from labkit.tunnel.clock import JobRule
    from labkit.tunnel.memo import AnswerMemo
    from labkit.tunnel.preconnect import EarlyMicrophone

_TURN_LIMIT_S = 60.0
_CALL_LIMIT_S = 60.0


class Worker:
    """The process-wide part: certificates, models' answers, and the imports."""

    def __init__(self) -> None:
        clock.install()
        self.authority = Authority()
        self.authority.trust()
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # the agent must not reach a true provider with a true key from inside the tunnel
        os.environ.update(KEYS)
        self.network: Network | None = None
        guard_lookups(lambda: self.network)
        self.collector: blocking.BlockingHost | None = None
        blocking.install(lambda name: self.collector if name == Collector.host else None)
        logging.getLogger().setLevel(logging.INFO)  # what agents tell of their turns is INFO
        for noisy in ("livekit", "opentelemetry"):
            logging.getLogger(noisy).setLevel(os.environ.get("LABKIT_SDK_LOG", "CRITICAL"))

        from labkit.tunnel import job  # noqa: F401  (pays for livekit)
        from labkit.tunnel.memo import AnswerMemo
        from labkit.world.dialogue import load_dialogues
        from labkit.world.speech import SpeechCorpus

        self.dialogues = load_dialogues()
        self.corpus = SpeechCorpus.load()
        self.eot_memo = _Overheard(AnswerMemo("eot"))
        self._settled = False

    def rules(self, settings: Settings) -> Callable[[Callable[..., Any]], JobRule]:
        """How executor jobs are treated: the SDK's models cost what was measured."""
        vad = clock.JobRule(cost_s=settings.number("compute.vad_window_s"))
        eot = clock.JobRule(cost_s=settings.number("compute.eot_s"), memo=self.eot_memo)
        embed = clock.JobRule(cost_s=settings.number("compute.embed_s"))
        thread, plain = clock.JobRule(thread=True), clock.JobRule()

        known: dict[Any, JobRule] = {}

        def rule_for(func: Callable[..., Any]) -> JobRule:
            # audio decoders wait for more bytes from the loop, so they need a thread of their own
            if getattr(func, "__name__", "") == "_decode_loop":
                return thread
            owner = type(getattr(func, "__self__", func))  # a method's object, or a callable one
            if owner in known:
                return known[owner]
            rule = plain
            if owner.__module__.startswith("livekit.local_inference"):
                rule = eot if owner.__name__ == "EOT" else vad
            elif owner.__module__.startswith("onnxruntime"):
                rule = embed
            elif owner.__module__.startswith("livekit.plugins.silero"):
                rule = vad
            return known.setdefault(owner, rule)

        return rule_for

    def run(self, spec: CallSpec) -> CallRecord:
        """Runs one call.

        Raises:
            Exception: a usage error (unknown agent, setting, dialogue); whatever goes wrong inside
                the call is in the record instead.
        """
        settings = Settings(spec.settings)
        emulators = self._emulators(settings)
        self.network = Network(_hosts(settings, emulators), seed=spec.seed)
        self.network.begin_call(spec.seed, spec.call)
        random.seed(spec.seed * 1_000_003 + spec.call)
        # agents may use either of the global generators
        np.random.seed((spec.seed * 1_000_003 + spec.call) % 2**32)  # noqa: NPY002
        loop = NetworkLoop(self.network, virtual=spec.virtual, rule_for=self.rules(settings))
        asyncio.set_event_loop(loop)
        began = time.perf_counter()
        try:
            record = loop.run_until_complete(
                _Call(self, spec, settings, emulators, self.network, loop).run()
            )
        finally:
            # what is cancelled below has told all it had to tell
            loop.set_exception_handler(lambda *_: None)
            _drain(loop)
            asyncio.set_event_loop(None)
            loop.close()
            self.network = self.collector = None
            gc.collect()
            if not self._settled:
                # what start-up and the first call imported lives as long as the process
                self._settled = True
                gc.freeze()
        record.wall_s = time.perf_counter() - began
        return record

    def _emulators(self, settings: Settings) -> dict[str, Emulator]:
        profiles = load_profiles(settings.text("profile") or None, settings.figures)
        scene = _SceneBox()
        return {
            name: cls(profiles[name], scene, api_keys=frozenset({KEYS[key_variable(name)]}))
            for name, cls in emulators().items()
        }


class _Overheard:
    """A memo whose answers are also taken down: the SDK tells nobody what its detector said."""

    def __init__(self, memo: AnswerMemo) -> None:
        self._memo = memo
        self.tell: Callable[[float], None] = lambda value: None

    def __contains__(self, key: str) -> bool:
        return key in self._memo

    def __getitem__(self, key: str) -> float:
        value = self._memo[key]
        self.tell(value)
        return value

    def __setitem__(self, key: str, value: float) -> None:
        self._memo[key] = value


class _SceneBox:
    """Hands providers the scene of the call in progress."""

    def __init__(self) -> None:
        self.scene = Scene()

    def __call__(self) -> Scene:
        return self.scene


def _hosts(settings: Settings, emulators: dict[str, Emulator]) -> dict[str, Host]:
    def link(name: str, host: str) -> Link:
        return Link(**settings.link(name, host))

    hosts = {e.host: Host(e.host, name, link(name, e.host)) for name, e in emulators.items()}
    for host, provider in settings.extra_hosts.items():
        if provider not in emulators:
            from labkit.settings import SettingError

            raise SettingError(
                f"hosts.{host}={provider}: known providers are {', '.join(sorted(emulators))}"
            )
        hosts[host] = Host(host, provider, link(provider, host))
    return hosts


class _Call:
    """One call, from the first server to the last shutdown callback."""

    def __init__(
        self,
        worker: Worker,
        spec: CallSpec,
        settings: Settings,
        emulators: dict[str, Emulator],
        network: Network,
        loop: NetworkLoop,
    ) -> None:
        from labkit.callers.caller import Caller, Mouth
        from labkit.callers.ear import Ear
        from labkit.callers.echo import EchoingMouth
        from labkit.callers.line import Line
        from labkit.callers.noise import background
        from labkit.callers.plan import plan_call
        from labkit.tunnel.audio import Captions, Microphone, Speaker
        from labkit.tunnel.events import SessionLog
        from labkit.tunnel.job import Console
        from labkit.tunnel.preconnect import EarlyMicrophone

        self.worker, self.spec, self.settings = worker, spec, settings
        self.emulators, self.network, self.loop = emulators, network, loop
        self.gateway: Gateway | None = None
        self.began_s = loop.time()
        plan = plan_call(
            settings, spec.seed, spec.call, spec.n_turns, worker.dialogues, worker.corpus
        )
        self.scene = Scene(spec.seed, spec.call, dialogues=worker.dialogues)
        for emulator in emulators.values():
            emulator.reset()
            emulator.scene.scene = self.scene  # type: ignore[attr-defined]
        profiles = load_profiles(settings.text("profile") or None, settings.figures)
        worker.collector = blocking.BlockingHost(
            Collector(profiles[Collector.name], lambda: self.scene, loop.time),
            Link(**settings.link(Collector.name, Collector.host)),
        )
        self.agent = load_agent(spec.agent)
        self.line = Line.of(plan.settings, spec.seed, spec.call)
        self.ear = Ear()
        clips = [turn.clip for turn in plan.turns]
        tone = background(plan.settings, clips, spec.seed, spec.call)
        echo_db = settings["caller.echo_db"]
        self.mouth = (
            Mouth(self.scene, tone)
            if echo_db is None
            else EchoingMouth(
                self.scene,
                tone,
                self.ear,
                float(echo_db),
                settings.number("caller.echo_learned_s"),
            )
        )
        self.tenant = worker.dialogues[plan.turns[0].dialogue].tenant
        self.caller = Caller(plan, self.scene, self.mouth, self.ear, self.now, self._button)
        self.log = SessionLog(self.now)
        worker.eot_memo.tell = lambda value: self.log.add("eot", probability=value)
        self.early: EarlyMicrophone | None = None
        if settings["join.handshake_s"] is not None:
            buffered = bool(settings["join.preconnect"])
            self.early = EarlyMicrophone(self.mouth, self.line, self.now, buffered)
        self.talk: asyncio.Task[None] | None = None
        self.console = Console(
            self.early or Microphone(self.mouth, self.line, self.now),
            Speaker(self.ear, Captions(), self.line, self.now, lambda: self.mouth.turn[0]),
            self.log,
            settings,
            self.agent,
        )

    def now(self) -> float:
        return self.loop.time() - self.began_s

    def _button(self, pressed: bool) -> None:
        """A push-to-talk button: its signal is quicker than audio, which waits in a buffer."""
        self.console.methods.call("start_turn" if pressed else "end_turn", self.line.rtt_s / 2)

    async def run(self) -> CallRecord:
        from labkit.tunnel.job import run_job

        self.began_s = self.loop.time()
        self.log.epoch_s = time.time()
        self.log.listen_to_logging()
        runners = await self._listen()
        hang_up = asyncio.Event()
        await self._join()
        job = asyncio.create_task(
            run_job(self.agent, self.console, self.settings, self.spec.call, hang_up, self.tenant),
            name="job",
        )
        status, error = "ok", ""
        limit_s = _CALL_LIMIT_S + self.settings.number("caller.start_after_s")
        limit_s += _TURN_LIMIT_S * self.spec.n_turns
        try:
            async with asyncio.timeout(limit_s):
                await self._talk(job)
                ended_s = self.now()
                hang_up.set()
                await job
        except TimeoutError:
            ended_s = self.now()
            status, error = "failed", f"the call did not end within {limit_s:.0f} s of its clock"
            error += "; waiting:\n" + self.loop.waiting()
        except Exception as e:
            from labkit.settings import SettingError

            if isinstance(e, SettingError):
                raise
            ended_s = self.now()
            status, error = "failed", f"{type(e).__name__}: {e}"
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            if self.early is not None:
                self.early.close()
            self.log.stop_listening()
            if self.gateway is not None:
                await self.gateway.close()
            for runner in runners:
                await runner.cleanup()
        if self.network.refused:
            status = "failed"
            try:
                self.network.host(self.network.refused[0])
            except OSError as e:
                named = line_that_names(find_agent(self.spec.agent)[0], self.network.refused[0])
                error = f"{named}: {e.strerror}" if named else str(e.strerror)
        return self._record(status, error, ended_s)

    async def _listen(self) -> list[web.AppRunner]:
        """Opens what answers under each host name: the provider, or the gateway in front of it."""
        settings, authority, runners = self.settings, self.worker.authority, []
        if settings["gateway.enabled"]:
            link = Link(rtt_s=settings.number("gateway.rtt_s"))
            work_s = settings.number("gateway.processing_s")
            self.gateway = Gateway(self.network, link, work_s, authority.client_context())
        for host in self.network.hosts.values():
            app = self.emulators[host.provider].app()
            if self.gateway is not None:
                runners.append(await listen(self.gateway.stand_before(host), app, authority))
                app = self.gateway.app(host.name)
            runners.append(await listen(host, app, authority))
        return runners

    def _one_way(self) -> dict[str, float]:
        """Delay to each provider; of several hosts of one, the one that was connected to counts."""
        connects = self.network.connects
        hosts = sorted(self.network.hosts.values(), key=lambda h: connects.get(h.name, 0) > 0)
        beyond = self.gateway.beyond_s if self.gateway else {}
        return {h.provider: h.link.rtt_s / 2 + beyond.get(h.name, 0.0) for h in hosts}

    async def _join(self) -> None:
        """Lets the caller talk while the agent is still on its way, if it is to take a while."""
        if self.early is not None:
            self.early.open()
            self.talk = asyncio.create_task(self.caller.run(), name="caller")
            await asyncio.sleep(self.settings.number("join.handshake_s"))

    async def _talk(self, job: asyncio.Task[None]) -> None:
        """Waits for the session to have its audio, then lets the caller talk to the end."""
        started = asyncio.create_task(self.console.started.wait())
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
        tracks = None
        if self.spec.tracks:
            mouth = np.frombuffer(bytes(self.scene.track.pcm), dtype=np.int16)
            tracks = (mouth, self.ear.track(SAMPLE_RATE_HZ, len(mouth) / SAMPLE_RATE_HZ))
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
                )
                for s in self.ear.segments
            ],
            providers=self.scene.log.recorded(self.began_s, self._one_way()),
            session=self.log.rows,
            line_delay_s=self.line.delay_s,
            simulated_s=ended_s,
            wall_s=float("nan"),
            status=status,
            error=error,
            connects=dict(self.network.connects),
            overrides=self.console.overrides,
            refused=bool(self.network.refused),
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


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what the agent left running, so that nothing leaks into the next call."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


_worker: Worker | None = None


def start() -> None:
    """Initialises this process as a worker."""
    global _worker
    if _worker is None:
        _worker = Worker()


def run_call(spec: CallSpec) -> CallRecord:
    """Runs one call in this process, which becomes a worker if it is none yet."""
    start()
    assert _worker is not None
    return _worker.run(spec)
