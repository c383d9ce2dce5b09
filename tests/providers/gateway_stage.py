"""LiveKit's own clients of the gateway, pointed at the emulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from livekit import rtc

from labkit.providers.profile import Profile, load_profiles
from labkit.providers.registry import emulator
from labkit.providers.server import Emulator, listening
from labkit.world.events import Event
from labkit.world.scene import SAMPLE_RATE_HZ, Scene

WAY_S = 0.01 / 2 + 0.002
"""To the model behind the gateway."""


def gateway(scene: Scene, profile: Profile | None = None, **figures: Any) -> Emulator:
    named = {f"livekit.{k}": v for k, v in figures.items()}
    return emulator("livekit")(
        profile or load_profiles(None, named)["livekit"], lambda: scene, api_keys=frozenset({"k"})
    )


@asynccontextmanager
async def reached(service: Emulator) -> AsyncIterator[dict[str, Any]]:
    """What every client needs: where it is, a key pair of one's own, an HTTP session."""
    async with listening(service) as port, aiohttp.ClientSession() as session:
        yield {
            "base_url": f"http://127.0.0.1:{port}/v1",
            "api_key": "APImine",
            "api_secret": "a secret of my own, long enough to sign",
            "http_session": session,
        }


async def play(push: Any, pcm: bytes, frame_s: float = 0.05) -> None:
    """Pushes audio at its own speed."""
    loop = asyncio.get_running_loop()
    began_s, size = loop.time(), round(frame_s * SAMPLE_RATE_HZ) * 2
    for i in range(len(pcm) // size):
        await asyncio.sleep(began_s + (i + 1) * frame_s - loop.time())
        part = pcm[i * size : (i + 1) * size]
        push(rtc.AudioFrame(part, SAMPLE_RATE_HZ, 1, len(part) // 2))


def logged(scene: Scene, kind: type[Event]) -> list[Any]:
    return [e for e in scene.log.events if isinstance(e, kind)]
