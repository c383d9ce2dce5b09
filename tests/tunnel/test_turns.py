"""A decoder of compressed sound on a clock that jumps: it neither stops it nor is overtaken."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from livekit.agents.utils.codecs import AudioStreamDecoder

from labkit.providers.coding import Mp3Coder
from labkit.settings import Settings
from labkit.tunnel.executor import rules
from labkit.tunnel.loop import TunnelLoop

RATE = 22_050
CHUNK = 1764
"""Samples: 80 ms."""


def tone(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * 220 * t)).astype(np.int16)


def pieces(seconds: float) -> list[bytes]:
    coder, pcm = Mp3Coder(RATE, 32_000), tone(seconds)
    coded = [coder.code(pcm[i : i + CHUNK]) for i in range(0, len(pcm), CHUNK)]
    return [*coded, coder.end()[0]]


def run(main):
    loop = TunnelLoop(rules(Settings({}), memo=None))
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


async def heard(loop, every_s: float) -> list[tuple[float, int]]:
    """When each frame came out of a decoder that is fed every ``every_s``, and its samples."""
    decoder = AudioStreamDecoder(sample_rate=RATE, num_channels=1, format="audio/mp3")
    got: list[tuple[float, int]] = []

    async def read() -> None:
        async for frame in decoder:
            got.append((round(loop.time(), 6), frame.samples_per_channel))

    reading = loop.create_task(read())
    for piece in pieces(1.0):
        decoder.push(piece)
        await asyncio.sleep(every_s)
    decoder.end_input()
    await reading
    await decoder.aclose()
    return got


def test_frames_come_out_at_the_instants_at_which_their_bytes_went_in() -> None:
    got = run(lambda loop: heard(loop, 0.5))
    assert {t % 0.5 for t, _ in got} == {0.0}
    times = sorted({t for t, _ in got})
    assert times[0] == 2.0, "ffmpeg reads some frames ahead before it gives the first"
    assert len(times) >= 5, "spread over the stream, not all at its end"
    assert got == run(lambda loop: heard(loop, 0.5)), "always the same"


def test_all_of_the_sound_comes_out() -> None:
    samples = sum(n for _, n in run(lambda loop: heard(loop, 0.0)))
    assert RATE <= samples <= RATE + 4 * 576


def test_a_decoder_that_is_given_up_lets_the_clock_go_on() -> None:
    async def main(loop) -> float:
        decoder = AudioStreamDecoder(sample_rate=RATE, num_channels=1, format="audio/mp3")
        decoder.push(pieces(0.5)[0])
        await asyncio.sleep(30.0)
        await decoder.aclose()
        return loop.time()

    assert run(main) == 30.0


def test_a_coder_says_how_much_longer_its_sound_is() -> None:
    coder, pcm = Mp3Coder(RATE, 32_000), tone(1.0)
    frames = len(coder.code(pcm)) // 104  # of 104 or 105 bytes each
    rest, longer = coder.end()
    assert frames + len(rest) // 104 == (len(pcm) + longer) / 576
    assert 1105 <= longer <= 1105 + 3 * 576
    again = Mp3Coder(RATE, 32_000)
    assert (again.code(pcm), again.end()) != (b"", (b"", 0))
    assert pieces(0.7) == pieces(0.7)
    with pytest.raises(Exception, match="avcodec_open2"):
        Mp3Coder(12_345, 32_000)
