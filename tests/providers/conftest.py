"""A caller's track made to order, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

from labkit.providers.profile import Profile, load_profiles
from labkit.providers.scene import SAMPLE_RATE_HZ, CallerTrack, Scene, SpokenWord

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        for _ in range(3):  # loopback sockets deliver at once, or nearly
            ready = super().select(0)
            if ready or not timeout:
                return ready
        assert timeout is not None, "nothing will ever happen"
        self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of sleeping."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine in virtual time; fails if it leaves tasks behind."""

    def run(main: Coroutine[Any, Any, T]) -> T:
        async def checked() -> T:
            result = await main
            await asyncio.sleep(1.0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"
            return result

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(checked())

    return run


@pytest.fixture(scope="session")
def profiles() -> dict[str, Profile]:
    return load_profiles()


Timed = Sequence[tuple[str, float, float]]


def make_track(
    words: Timed, duration_s: float, *, tone: int = 8, turns: Sequence[int] = ()
) -> CallerTrack:
    """A track with a burst of noise for every word over room tone of ``tone`` steps."""
    rng = np.random.default_rng(7)
    count = round(duration_s * SAMPLE_RATE_HZ)
    pcm = rng.integers(-tone, tone + 1, count).astype(np.float64)
    track = CallerTrack()
    for i, (text, start_s, end_s) in enumerate(words):
        a, b = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        white = rng.standard_normal(b - a + 7)
        pcm[a:b] += 3000 * np.convolve(white, np.ones(8) / 8, "valid") * 2
        turn = turns[i] if turns else 0
        track.words.append(SpokenWord(text, start_s, end_s, turn))
    track.pcm += np.clip(pcm, -32768, 32767).astype(np.int16).tobytes()
    return track


HELLO: Timed = (
    ("Hello,", 0.50, 0.85),
    ("I'd", 1.00, 1.15),
    ("like", 1.15, 1.40),
    ("to", 1.40, 1.50),
    ("move", 1.50, 1.80),
    ("my", 1.80, 1.95),
    ("appointment.", 1.95, 2.70),
)


@pytest.fixture
def hello() -> Scene:
    """A call in which one sentence is said between 0.5 s and 2.7 s, of 5 s."""
    return Scene(seed=3, call=0, turn=0, track=make_track(HELLO, 5.0))


def frames(pcm: bytes, frame_s: float = 0.05, rate_hz: int = SAMPLE_RATE_HZ) -> list[bytes]:
    """The samples in frames."""
    size = round(frame_s * rate_hz) * 2
    return [bytes(pcm[i : i + size]) for i in range(0, len(pcm), size)]
