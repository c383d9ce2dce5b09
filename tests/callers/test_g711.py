"""A telephone's band and bits, and that a sound keeps its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.callers.ear import VOICED_LEVEL
from labkit.callers.g711 import G711, LOOK_AHEAD_S
from labkit.world.dialogue import load_dialogues
from labkit.world.speech import SpeechCorpus

RATES = pytest.mark.parametrize("rate_hz", [16_000, 24_000])
CORPUS = SpeechCorpus.load()


def tone(hz: float, rate_hz: int, level: float = 8000.0) -> np.ndarray:
    return np.round(level * np.sin(2 * np.pi * hz * np.arange(rate_hz) / rate_hz)).astype(np.int16)


def gain_db(hz: float, rate_hz: int) -> float:
    sent = tone(hz, rate_hz)
    heard = G711(rate_hz).carry(sent)[rate_hz // 2 : rate_hz * 3 // 4]
    at = np.exp(-2j * np.pi * hz * np.arange(len(heard)) / rate_hz)
    return float(20 * np.log10(2 * abs(np.mean(heard * at)) / 8000 + 1e-9))


@RATES
@pytest.mark.parametrize(
    ("hz", "least_db", "most_db"),
    [  # ITU-T G.712, figure 1, for either end; here both ends are one
        (50, -99, -25), (100, -99, -15), (300, -3.4, 0.6), (500, -1, 0.6), (1000, -0.6, 0.6),
        (2000, -0.6, 0.6), (3000, -1.8, 0.6), (3400, -3.6, 0.6), (4600, -999, -32),
        (6000, -999, -32),
    ],
)  # fmt: skip
def test_the_band_is_that_of_a_telephone(
    hz: float, least_db: float, most_db: float, rate_hz: int
) -> None:
    assert least_db <= gain_db(hz, rate_hz) <= most_db


@RATES
@pytest.mark.parametrize("level", [1000.0, 8000.0, 30_000.0])
def test_eight_bits_leave_38_decibels_whatever_the_level(level: float, rate_hz: int) -> None:
    heard = G711(rate_hz).carry(tone(1020, rate_hz, level))[rate_hz // 4 :].astype(float)
    window = np.hanning(len(heard))
    power = np.abs(np.fft.rfft(heard * window)) ** 2
    at = round(1020 * len(heard) / rate_hz)
    own = power[at - 4 : at + 5].sum()
    ratio_db = 10 * np.log10(own / (power.sum() - own))
    # ITU-T G.712, figure 5: at least 33 dB from -30 dBm0 up; 38 is what the law itself gives
    assert 33 <= ratio_db <= 42


@RATES
def test_silence_stays_silent(rate_hz: int) -> None:
    assert not G711(rate_hz).carry(np.zeros(rate_hz, np.int16)).any()


@RATES
@pytest.mark.parametrize("hz", [500, 1000, 2000])
def test_a_sound_keeps_its_place_to_half_a_millisecond(hz: float, rate_hz: int) -> None:
    swell = np.exp(-0.5 * ((np.arange(rate_hz) / rate_hz - 0.5) / 0.01) ** 2)
    heard = G711(rate_hz).carry((tone(hz, rate_hz) * swell).astype(np.int16)).astype(float)
    centre_s = np.sum(heard**2 * np.arange(len(heard))) / np.sum(heard**2) / rate_hz
    assert centre_s == pytest.approx(0.5, abs=0.0005)


@RATES
def test_nothing_is_heard_before_it_was_said(rate_hz: int) -> None:
    sent = np.concatenate([np.zeros(rate_hz // 2, np.int16), tone(1000, rate_hz)])
    heard = G711(rate_hz).carry(sent)
    first = np.flatnonzero(heard)[0] / rate_hz
    assert 0.5 - LOOK_AHEAD_S <= first < 0.5005


@RATES
def test_what_comes_out_is_as_long_but_for_the_look_ahead(rate_hz: int) -> None:
    coder = G711(rate_hz)
    assert coder.look_ahead == LOOK_AHEAD_S * rate_hz
    size = rate_hz // 20
    lengths = [len(coder.carry(np.zeros(n, np.int16))) for n in (size + coder.look_ahead, size)]
    assert lengths == [size, size]


@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.sampled_from([16_000, 24_000]))
def test_how_sound_is_cut_into_pieces_does_not_matter(sizes: list[int], rate_hz: int) -> None:
    sent = np.random.default_rng(1).normal(0, 3000, sum(sizes)).astype(np.int16)
    whole = G711(rate_hz).carry(sent)
    coder, pieces = G711(rate_hz), np.split(sent, np.cumsum(sizes)[:-1])
    parts = np.concatenate([coder.carry(piece) for piece in pieces])
    # sums in another order round a sample another way, and so perhaps one of the eight bits
    assert len(parts) == len(whole)
    assert np.count_nonzero(np.abs(parts.astype(int) - whole) > 2) <= len(whole) // 100


def test_most_speech_begins_and_ends_where_it_did_and_low_sounds_are_lost() -> None:
    begins_s, ends_s = [], []
    for name, dialogue in load_dialogues().items():
        for voice in CORPUS.dialogue_voices(name):
            pcm = CORPUS.clip(dialogue=name, turn=dialogue.turns[0].id, voice=voice).pcm
            said = np.pad(pcm, 800)
            heard = G711(16_000).carry(said)
            a, b = (np.flatnonzero(np.abs(x.astype(int)) > VOICED_LEVEL) for x in (said, heard))
            begins_s.append((b[0] - a[0]) / 16_000)
            ends_s.append((b[-1] - a[-1]) / 16_000)
    assert len(begins_s) >= 20
    assert np.median(np.abs(begins_s)) < 0.0015 and np.median(np.abs(ends_s)) < 0.003
    # its filters ring a little to either side
    assert min(begins_s) >= -0.001 and max(ends_s) < 0.002, "nothing is added at either end"
    assert np.mean(np.abs(begins_s) < 0.01) > 0.9
