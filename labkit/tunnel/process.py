"""A worker process from the inside: what is paid for once, and one call after another.

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
from typing import TYPE_CHECKING

import numpy as np

from labkit.providers.collector import Collector
from labkit.providers.profile import load_profiles
from labkit.providers.registry import emulators, key_variable
from labkit.settings import Settings
from labkit.tunnel import blocking, clock
from labkit.tunnel.link import Link
from labkit.tunnel.memo import AnswerMemo, Overheard
from labkit.tunnel.network import Host, Network, guard_lookups
from labkit.tunnel.network_loop import NetworkLoop, WallNetworkLoop
from labkit.tunnel.record import CallRecord
from labkit.tunnel.spec import ENVIRONMENT, KEYS, CallSpec
from labkit.tunnel.tls import Authority
from labkit.world.scene import Scene

if TYPE_CHECKING:
    from labkit.providers.server import Emulator

_CALLS_PER_COLLECTION = 8
"""Collecting garbage takes as long as half a simulated second; a call leaves a few megabytes."""


class Worker:
    """The process-wide part: certificates, models' answers, and the imports."""

    def __init__(self) -> None:
        gc.disable()  # until the first call is over: nothing that is imported is garbage
        clock.install()
        authority = Authority()
        authority.trust()
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # the agent must not reach a true provider with a true key from inside the tunnel
        os.environ.update(KEYS)
        self.network: Network | None = None
        guard_lookups(lambda: self.network)
        logging.getLogger().setLevel(logging.INFO)  # what agents tell of their turns is INFO
        for noisy in ("livekit", "opentelemetry"):
            logging.getLogger(noisy).setLevel(os.environ.get("LABKIT_SDK_LOG", "CRITICAL"))

        from labkit.tunnel.call import Supplies  # pays for livekit, now that the clock is in
        from labkit.world.dialogue import load_dialogues
        from labkit.world.speech import SpeechCorpus

        self.supplies = Supplies(
            authority, load_dialogues(), SpeechCorpus.load(), Overheard(AnswerMemo("eot"))
        )
        blocking.install(lambda name: self.supplies.collector if name == Collector.host else None)
        self._calls = 0

    def run(self, spec: CallSpec) -> CallRecord:
        """Runs one call.

        Raises:
            Exception: a usage error (unknown agent, setting, dialogue); whatever goes wrong inside
                the call is in the record instead.
        """
        from labkit.tunnel.call import Call
        from labkit.tunnel.executor import rules

        settings = Settings(spec.settings)
        servers = self._emulators(settings)
        self.network = Network(_hosts(settings, servers), seed=spec.seed)
        self.network.begin_call(spec.seed, spec.call)
        random.seed(spec.seed * 1_000_003 + spec.call)
        # agents may use either of the global generators
        np.random.seed((spec.seed * 1_000_003 + spec.call) % 2**32)  # noqa: NPY002
        loop: NetworkLoop | WallNetworkLoop = (
            NetworkLoop(self.network, rules(settings, self.supplies.eot_memo))
            if spec.virtual
            else WallNetworkLoop(self.network)
        )
        asyncio.set_event_loop(loop)
        began = time.perf_counter()
        try:
            call = Call(self.supplies, spec, settings, servers, self.network, loop)
            record = loop.run_until_complete(call.run())
        finally:
            # what is cancelled below has told all it had to tell
            loop.set_exception_handler(lambda *_: None)
            _drain(loop)
            asyncio.set_event_loop(None)
            loop.close()
            self.network = self.supplies.collector = None
            self._collect()
        record.wall_s = time.perf_counter() - began
        return record

    def _collect(self) -> None:
        if self._calls % _CALLS_PER_COLLECTION == 0:
            gc.collect()
        if self._calls == 0:
            # what start-up and the first call imported lives as long as the process
            gc.freeze()
            # between the collections above there is little to find: look for it seldom
            gc.set_threshold(50_000, 20, 100)
            gc.enable()
        self._calls += 1

    def _emulators(self, settings: Settings) -> dict[str, Emulator]:
        profiles = load_profiles(settings.text("profile") or None, settings.figures)
        scene = _SceneBox()
        return {
            name: cls(profiles[name], scene, api_keys=frozenset({KEYS[key_variable(name)]}))
            for name, cls in emulators().items()
        }


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


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what the agent left running, so that nothing leaks into the next call."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
