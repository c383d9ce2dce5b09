"""The agent's audio ends and the line between them and the caller."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile
from livekit import rtc

from labkit.callers.caller import Mouth
from labkit.callers.ear import VOICED_LEVEL, Ear
from labkit.callers.g711 import G711
from labkit.callers.line import Line
from labkit.engine.run import run
from labkit.settings import Settings
from labkit.tunnel.audio import FRAME_S, OUTPUT_RATE_HZ, Captions, Microphone, Speaker
from labkit.world.scene import SAMPLE_RATE_HZ, Scene
from labkit.world.speech import SpeechCorpus

CLIP = SpeechCorpus.load().clip(dialogue="order_status", turn="keep_the_desk", voice="joe")
REPLY = np.repeat(CLIP.pcm, 2)[: 3 * OUTPUT_RATE_HZ // 2]  # speech enough at another rate


def line(**chosen: object) -> Line:
    names = {f"links.caller.{k}": v for k, v in chosen.items()}
    return Line.of(Settings(names), 7, 0)


class Playing:
    """A speaker on a clock that is moved by hand."""

    def __init__(self, way: Line) -> None:
        self.now_s, self.line, self.ear = 1.0, way, Ear()
        self.speaker = Speaker(self.ear, Captions(), way, lambda: self.now_s, lambda: 0)

    async def push(self, pcm: np.ndarray) -> None:
        frame = rtc.AudioFrame(pcm.astype(np.int16).tobytes(), OUTPUT_RATE_HZ, 1, len(pcm))
        await self.speaker.capture_frame(frame)

    def heard(self, from_s: float, n: int) -> np.ndarray:
        """Samples at the ear from a moment on, zero where there is nothing."""
        call = np.zeros(10 * OUTPUT_RATE_HZ, np.int16)
        for segment in self.ear.segments:
            for piece in segment.heard:
                at = round(piece.start_s * piece.rate_hz)
                call[at : at + len(piece.pcm)] = piece.pcm
        first = round(from_s * OUTPUT_RATE_HZ)
        return call[first : first + n]


@pytest.mark.parametrize("codec", ["opus", "g711"])
def test_pieces_of_a_reply_are_heard_as_one_a_line_later(codec: str) -> None:
    way = line(codec=codec, **{"down.jitter_buffer_s": 0.07})
    playing = Playing(way)

    async def play() -> None:
        for piece in np.split(REPLY, [4801, 4813, 20_000]):
            await playing.push(piece)

    asyncio.run(play())
    heard = playing.heard(1.0 + 0.02 + 0.0265 + 0.07, len(REPLY))
    wanted = REPLY if codec == "opus" else G711(OUTPUT_RATE_HZ).carry(REPLY)
    assert np.abs(heard[: len(wanted)].astype(int) - wanted).max() <= (
        0 if codec == "opus" else 600
    )
    assert np.mean(heard[: len(wanted)] != wanted) < 0.02


@pytest.mark.parametrize("codec", ["opus", "g711"])
@pytest.mark.parametrize("again_s", [1.5, 2.0])
def test_speech_that_was_paused_goes_on_as_the_agent_sent_it(codec: str, again_s: float) -> None:
    """What is sent anew has been through no codec and has lost no packet before."""
    playing = Playing(line(codec=codec))
    done = 12_000  # samples that have left when it is paused, at 1.5 s

    async def play() -> None:
        await playing.push(REPLY)
        playing.now_s = 1.5
        playing.speaker.pause()
        playing.now_s = again_s
        playing.speaker.resume()

    asyncio.run(play())
    rest = REPLY[done:]
    heard = playing.heard(again_s + playing.line.down_s, len(rest))
    wanted = rest if codec == "opus" else G711(OUTPUT_RATE_HZ).carry(rest)
    assert np.array_equal(heard[: len(wanted)], wanted)
    meanwhile = round((again_s - 1.5) * OUTPUT_RATE_HZ)
    assert not playing.heard(1.5 + playing.line.down_s, meanwhile).any()


def test_a_pause_on_a_lossy_line_loses_no_packet_twice() -> None:
    playing = Playing(line(loss=0.3))

    async def play() -> None:
        await playing.push(np.full(OUTPUT_RATE_HZ * 4, 9000))
        for at_s in (1.02, 1.04, 1.06, 1.08, 1.10, 1.12):
            playing.now_s = at_s
            playing.speaker.pause()
            playing.speaker.resume()

    asyncio.run(play())
    lost = np.mean(playing.heard(1.2 + playing.line.down_s, OUTPUT_RATE_HZ * 3) == 0)
    assert lost == pytest.approx(0.3, abs=0.08), "and not 1 - 0.7 ** 7"


@pytest.mark.parametrize("codec", ["opus", "g711"])
def test_the_scene_is_told_what_leaves_the_callers_device(codec: str) -> None:
    scene, way = Scene(), line(codec=codec)
    mouth = Mouth(scene, np.full(1600, 40, np.int16))
    end_s = mouth.say(CLIP, 0.5, 0)
    microphone = Microphone(mouth, way, lambda: 60.0)

    async def frames(n: int) -> bytes:
        return b"".join([bytes((await microphone.__anext__()).data) for _ in range(n)])

    n = round((end_s + 0.5) / FRAME_S)
    sent = asyncio.run(frames(n))
    assert len(sent) == 2 * round(n * FRAME_S * SAMPLE_RATE_HZ)
    assert sent == bytes(scene.track.pcm)
    left, heard = (np.frombuffer(bytes(x), np.int16).astype(int) for x in (mouth.pcm, sent))
    assert (codec == "opus") == np.array_equal(left[: len(heard)], heard)
    # what lies behind the words is not among them, but in all that left
    words = mouth.speech().astype(int)
    assert np.array_equal(left - words, np.full(len(left), 40))
    loud = np.flatnonzero(np.abs(heard) > VOICED_LEVEL)[[0, -1]] / SAMPLE_RATE_HZ
    assert loud == pytest.approx([0.5, end_s], abs=0.02)


def test_a_telephone_call_adds_up_and_loses_no_word() -> None:
    results = run(
        "vanilla",
        calls=2,
        turns=3,
        seed=7,
        settings={"caller.line": "sip", "caller.persona": "fluent"},
    )
    turns = results.turns
    assert set(turns["outcome"]) == {"answered"} and turns["deletions"].sum() == 0
    assert turns["residual_s"].abs().max() < 0.005
    assert turns["downlink_s"].to_numpy() == pytest.approx(0.1625, abs=1e-6)
    waited = turns["uplink_s"].to_numpy()  # a frame of 50 ms is waited for
    assert ((waited >= 0.1625 - 1e-6) & (waited <= 0.1625 + FRAME_S)).all()


def test_two_ways_that_differ_add_up() -> None:
    uneven = {"links.caller.up.jitter_buffer_s": 0.11, "links.caller.down.jitter_buffer_s": 0.02}
    turns = run("vanilla", calls=2, turns=3, seed=7, settings=uneven).turns
    assert turns["residual_s"].abs().max() < 0.005
    assert turns["downlink_s"].to_numpy() == pytest.approx(0.0665, abs=1e-6)
    assert (turns["length_uplink_s"].to_numpy() >= 0.1565 - 1e-6).all()


def test_a_noisy_caller_leaves_the_words_alone_beside_the_call(tmp_path: Path) -> None:
    settings = {"caller.noise_snr_db": 10.0}
    run("vanilla", calls=1, turns=1, seed=7, settings=settings, tracks=tmp_path)
    stereo, rate_hz = soundfile.read(tmp_path / "call-0000.wav", dtype="int16")
    words, again_hz = soundfile.read(tmp_path / "call-0000-speech.wav", dtype="int16")
    assert rate_hz == again_hz and len(words) == len(stereo)
    assert not words[:8000].any() and stereo[:8000, 0].any(), "it speaks after 0.8 s"
    run("vanilla", calls=1, turns=1, seed=7, tracks=tmp_path / "quiet")
    assert [p.name for p in (tmp_path / "quiet").iterdir()] == ["call-0000.wav"]
