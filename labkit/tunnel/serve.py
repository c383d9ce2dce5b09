"""The emulated providers on plain loopback ports and the wall clock, for any other client.

Whoever calls brings audio of their own, so an STT understands the recordings of the speech
corpus, bit for bit, and hears no words in any other sound.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable

from aiohttp import web

from labkit.providers.clip_finder import ClipFinder
from labkit.providers.profile import load_profiles
from labkit.providers.registry import emulators
from labkit.providers.server import runner_of
from labkit.settings import SettingError
from labkit.tunnel.detector import Detector
from labkit.world.events import Event, EventLog, Role
from labkit.world.scene import Scene
from labkit.world.speech import SpeechCorpus


class _Unread(EventLog):
    """A log that keeps nothing: nobody reads what a server for outside clients does."""

    def add(self, event: Event, t_s: float, role: Role, provider: str) -> None:
        pass


async def open_servers(
    profile: str | None, first_port: int, key: str | None
) -> tuple[dict[str, int], list[web.AppRunner]]:
    """Starts one server per provider.

    Returns:
        The port of each provider, and the runners to clean up.

    Raises:
        ProfileError: the overlay profile is wrong.
        SettingError: a port cannot be bound.
    """
    from labkit.world.dialogue import load_dialogues

    scene = Scene(dialogues=load_dialogues(), log=_Unread(), local_eot=Detector().judge)
    profiles = load_profiles(profile)
    finder = ClipFinder(SpeechCorpus.load().clips)
    finder.prepare()  # so that no request waits for it
    keys = frozenset({key}) if key else None
    ports: dict[str, int] = {}
    runners: list[web.AppRunner] = []
    for offset, (name, cls) in enumerate(sorted(emulators().items())):
        emulator = cls(profiles[name], lambda: scene, api_keys=keys)
        emulator.understand(finder)
        runner = runner_of(emulator, shutdown_timeout=1.0)
        await runner.setup()
        port = first_port + offset if first_port else 0
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except (OSError, OverflowError) as e:
            for other in [*runners, runner]:
                await other.cleanup()
            reason = getattr(e, "strerror", None) or str(e)
            raise SettingError(
                f"port={first_port}: {name} cannot bind port {port} ({reason}); "
                "choose another first port, or 0 for any free ones"
            ) from None
        ports[name] = runner.addresses[0][1]
        runners.append(runner)
    return ports, runners


def serve(
    profile: str | None, first_port: int, key: str | None, say: Callable[[str], None]
) -> None:
    """Serves until interrupted, and says where."""

    async def main() -> None:
        ports, runners = await open_servers(profile, first_port, key)
        # what is loaded now stays: looking through it for garbage would keep requests waiting
        gc.collect()
        gc.freeze()
        for name, port in ports.items():
            say(f"{name:<10} base_url=http://127.0.0.1:{port}{emulators()[name].base_path}")
        say("Their official clients are pointed here by")
        for name, port in ports.items():
            if emulators()[name].client:
                say(f"  {emulators()[name].client.format(at=f'127.0.0.1:{port}')}")
        say("Ctrl-C ends it")
        try:
            await asyncio.Event().wait()
        finally:
            for runner in runners:
                await runner.cleanup()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
