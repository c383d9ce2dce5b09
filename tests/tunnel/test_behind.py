"""What an agent plays behind its speech is heard, and is not speech."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.callers.ear import Ear, Heard
from labkit.callers.echo import EchoingMouth
from labkit.callers.line import Line
from labkit.settings import Settings
from labkit.tunnel.behind import Behind
from labkit.world.scene import SAMPLE_RATE_HZ, Scene

RATE_HZ = 48_000
LOUD = np.full((4800, 1), 1000, dtype=np.int16)


class Playing:
    """A track on a clock that is moved by hand, 0.0465 s from the ear."""

    def __init__(self, **chosen: object) -> None:
        names = {f"links.caller.{k}": v for k, v in chosen.items()}
        self.now_s, self.ear, self.line = 0.0, Ear(), Line.of(Settings(names), 7, 0)
        self.behind = Behind(self.ear, self.line, lambda: self.now_s, lambda: 0)

    def heard(self, seconds: float) -> np.ndarray:
        return self.ear.track(SAMPLE_RATE_HZ, seconds)


def test_it_is_mixed_with_speech_and_is_none() -> None:
    at = Playing()
    segment = at.ear.begin(0.0)
    at.ear.add(segment, Heard(1.0, np.full(RATE_HZ, 500, np.int16), RATE_HZ))
    for n in range(20):
        at.behind.play("music", 0.1 * n, LOUD, RATE_HZ)
    pcm, down_s = at.heard(2.5), at.line.down_s
    at_s = np.arange(len(pcm)) / SAMPLE_RATE_HZ
    behind = (at_s > down_s + 0.001) & (at_s < down_s + 1.999)
    spoken = (at_s >= 1.0) & (at_s < 2.0)
    assert (pcm == 1000 * behind + 500 * spoken).mean() > 0.999
    assert at.ear.last_voiced_s == pytest.approx(2.0)
    assert at.ear.reply_to(0.0, 0.5) is segment and len(at.ear.segments) == 1


def test_two_channels_are_heard_as_their_mean_and_sums_are_clipped() -> None:
    at = Playing()
    at.behind.play("a", 0.0, np.repeat([[20_000, 10_000]], 4800, axis=0).astype(np.int16), RATE_HZ)
    assert at.heard(0.1)[-1] == 15_000
    at.behind.play("b", 0.0, np.full((4800, 1), 30_000, dtype=np.int16), RATE_HZ)
    assert at.heard(0.1)[-1] == 32_767


def test_what_is_taken_back_is_not_heard() -> None:
    at = Playing()
    at.behind.play("music", 0.0, LOUD, RATE_HZ)
    at.behind.play("music", 0.1, LOUD, RATE_HZ)
    at.now_s = 0.05
    at.behind.cut("music")
    loud = np.flatnonzero(at.heard(0.5)) / SAMPLE_RATE_HZ
    assert loud[-1] == pytest.approx(0.05 + at.line.down_s, abs=1e-3)


def test_a_telephone_line_carries_it_too() -> None:
    at = Playing(codec="g711")
    wave = (3000 * np.sin(2 * np.pi * 6000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    for n in range(10):
        at.behind.play("music", 0.1 * n, wave[4800 * n : 4800 * (n + 1), None], RATE_HZ)
    settled = at.heard(1.0)[SAMPLE_RATE_HZ // 5 :]
    assert np.abs(settled).max() < 100, "6 kHz does not pass, and each piece goes on from the last"


def test_a_loudspeaker_plays_it_too() -> None:
    ear = Ear()
    ear.add_behind("music", Heard(0.0, np.full(RATE_HZ, 1000, np.int16), RATE_HZ))
    mouth = EchoingMouth(Scene(7, 0), np.zeros(0, np.int16), ear, -20.0, 5.0)
    assert mouth.emit(1600)[-1] == 100
