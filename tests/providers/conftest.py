"""A clock that does not wait, and a call in which one sentence is said."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from stage import HELLO, make_track

from labkit.providers.profile import Profile, load_profiles
from labkit.world.scene import Scene

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        for _ in range(3):  # loopback sockets deliver at once, or nearly
            ready = super().select(0)
            if ready or not timeout:
                return ready
        if timeout is None or timeout > 1.0:  # on a busy machine, a little later
            ready = super().select(0.02)
            if ready:
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


@pytest.fixture
def hello() -> Scene:
    """A call in which one sentence is said between 0.5 s and 2.7 s, of 5 s."""
    return Scene(seed=3, call=0, turn=0, track=make_track(HELLO, 5.0))
