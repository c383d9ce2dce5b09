"""A worker process from the inside: what is paid for once, and what each call has of its own.

Certificates, imports and recordings are paid for once. The event loop and its clock, the providers'
state, the agent file's module, its job and its process data are made for each call. What an agent
leaves in the process is not undone here: calls of an experiment have a process each, which
:mod:`labkit.engine.forkserver` forks from one that has paid.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.providers.collector import Collector
from labkit.providers.profile import load_profiles
from labkit.providers.registry import PROVIDERS, emulator, emulators, host, key_variables
from labkit.settings import Settings
from labkit.tunnel import blocking, clock
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.declaration import deployment
from labkit.tunnel.given import env_file
from labkit.tunnel.isolation import Guard, without_secrets
from labkit.tunnel.link import Link
from labkit.tunnel.memo import AnswerMemo, Overheard
from labkit.tunnel.network import Host, Network
from labkit.tunnel.network_loop import NetworkLoop, WallNetworkLoop
from labkit.tunnel.record import CallRecord
from labkit.tunnel.spec import ENVIRONMENT, KEYS, SUPPLIED, CallSpec, deployed
from labkit.tunnel.tls import Authority
from labkit.world.scene import Scene

if TYPE_CHECKING:
    from labkit.providers.server import Emulator


class Worker:
    """The process-wide part: certificates, models' answers, and the imports."""

    def __init__(self) -> None:
        clock.install()
        authority = Authority()
        authority.trust()
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # the agent must not reach a true provider with a true key from inside the tunnel
        os.environ.update(SUPPLIED)
        self.guard = Guard()
        logging.getLogger().setLevel(logging.INFO)  # what agents tell of their turns is INFO
        _hush()

        from labkit.tunnel.call import Supplies  # pays for livekit, now that the clock is in
        from labkit.world.dialogue import load_dialogues
        from labkit.world.speech import SpeechCorpus

        self.supplies = Supplies(
            authority, load_dialogues(), SpeechCorpus.load(), Overheard(AnswerMemo("eot"))
        )
        blocking.install(lambda name: self.supplies.collector if name == Collector.host else None)

    def run(self, spec: CallSpec) -> CallRecord:
        """Runs one call.

        Raises:
            UsageError: something given cannot be used (agent, setting, dialogue); whatever goes
                wrong inside the call is in the record instead.
        """
        from labkit.tunnel.call import Call
        from labkit.tunnel.executor import rules

        settings = Settings(spec.settings)
        make = _maker(settings)
        if not spec.virtual:
            emulators()  # loading one takes real time, which a look-up must not
        network = Network(_hosts(settings), seed=spec.seed)
        network.begin_call(spec.seed, spec.call)
        random.seed(spec.seed * 1_000_003 + spec.call)
        # agents may use either of the global generators
        np.random.seed((spec.seed * 1_000_003 + spec.call) % 2**32)  # noqa: NPY002
        loop: NetworkLoop | WallNetworkLoop = (
            NetworkLoop(network, rules(settings, self.supplies.eot_memo))
            if spec.virtual
            else WallNetworkLoop(network)
        )
        asyncio.set_event_loop(loop)
        began = time.perf_counter()
        try:
            with self._inside(network, settings, spec):
                call = Call(self.supplies, spec, settings, make, self.guard, network, loop)
                starved = stops_without_memory(loop)
                try:
                    record = loop.run_until_complete(call.run())
                except (SystemExit, KeyboardInterrupt, GeneratorExit) as e:
                    record = call.broken_off(e)  # asyncio lets these through, as in life
                except RuntimeError:
                    if not starved:
                        raise
                    record = call.broken_off(starved[0])
                # what is cancelled below has told all it had to tell
                loop.set_exception_handler(lambda *_: None)
                _drain(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            self.supplies.collector = None
            self.supplies.eot_memo.keep()
        record.wall_s = time.perf_counter() - began
        return record

    @contextmanager
    def _inside(self, network: Network, settings: Settings, spec: CallSpec) -> Iterator[None]:
        """Closes the doors for the length of a call."""
        guard, closed, before = self.guard, self.guard.closed, dict(os.environ)
        guard.allowed = frozenset(filter(None, map(str.strip, settings.text("allow").split(","))))
        where = deployment(find_agent(spec.agent)[0], settings)
        guard.network, guard.closed = network, True
        os.environ.clear()
        open_to = deployed(without_secrets(before, guard.allowed), where)
        os.environ.update(open_to | env_file(settings.text("job.env_file")))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            guard.network, guard.closed, guard.allowed = None, closed, frozenset()


def _maker(settings: Settings) -> Callable[[str, Callable[[], Scene]], Emulator]:
    """Makes a provider's emulator for a call, given what tells the scene.

    Raises:
        ProfileError: a figure that was chosen does not exist; at once, whoever is asked later.
    """
    profiles = load_profiles(settings.text("profile") or None, settings.figures)

    any_key = settings["keys.accept"] == "any"

    def make(provider: str, scene: Callable[[], Scene]) -> Emulator:
        keys = None if any_key else frozenset(map(KEYS.__getitem__, key_variables(provider)))
        return emulator(provider)(profiles[provider], scene, api_keys=keys)

    return make


def _hosts(settings: Settings) -> dict[str, Host]:
    def link(provider: str, name: str) -> Link:
        return Link(**settings.link(provider, name))

    hosts = {host(p): Host(host(p), p, link(p, host(p))) for p in PROVIDERS}
    for name, provider in settings.extra_hosts.items():
        if provider not in PROVIDERS:
            from labkit.settings import SettingError

            raise SettingError(
                f"hosts.{name}={provider}: known providers are {', '.join(sorted(PROVIDERS))}"
            )
        hosts[name] = Host(name, provider, link(provider, name))
    return hosts


def _hush() -> None:
    """Takes the SDK's logs off the screen; each call reads them for what went wrong."""
    wanted = os.environ.get("LABKIT_SDK_LOG")
    for name in ("livekit", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.setLevel(wanted or ("WARNING" if name == "livekit" else "CRITICAL"))
        logger.propagate = bool(wanted)


def stops_without_memory(loop: asyncio.AbstractEventLoop) -> list[MemoryError]:
    """Stops a loop whose own work meets a ``MemoryError``, which is then in the list.

    A connection that could not be read for it stays silent, and what waits for it would for ever.
    """
    met: list[MemoryError] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        error = context.get("exception")
        if isinstance(error, MemoryError):
            met.append(error)
            loop.stop()

    loop.set_exception_handler(handle)
    return met


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what the agent left running, so that nothing leaks into the next call."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
