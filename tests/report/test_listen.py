"""Listening: the moment that a row is about, run again and cut out."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from labkit.engine.run import run
from labkit.report.listen import AFTER_S, BEFORE_S, ListenError, listen
from labkit.world.scene import SAMPLE_RATE_HZ

LOUD = 184


@pytest.fixture(scope="module")
def turns():
    settings = {"caller.persona": "hesitant", "endpointing.max_delay_s": 1.0}
    return run("vanilla", calls=1, turns=3, first=2, settings=settings).turns


def test_a_row_is_enough_to_hear_its_turn_again(turns) -> None:
    row = turns.iloc[1]
    moment = listen(row)
    length_s = len(moment.stereo) / moment.rate_hz
    assert moment.rate_hz == SAMPLE_RATE_HZ
    assert moment.from_s == pytest.approx(row["at_caller_started_s"] - BEFORE_S, abs=1e-3)
    assert moment.from_s + length_s == pytest.approx(row["at_reply_heard_s"] + AFTER_S, abs=1e-3)

    def at(t_s: float) -> int:
        return round((t_s - moment.from_s) * SAMPLE_RATE_HZ)

    caller, agent = np.abs(moment.stereo.T.astype(int))
    # the caller is heard from the first sound to the last, the agent from the reply's first
    assert caller[at(row["at_caller_started_s"]) :][:800].max() > LOUD
    assert not caller[at(row["at_caller_stopped_s"]) + 1 : at(row["at_reply_heard_s"])].any()
    first = int(np.flatnonzero(agent[at(row["at_caller_started_s"]) :] > LOUD)[0])
    heard_s = row["at_caller_started_s"] + first / SAMPLE_RATE_HZ
    assert heard_s == pytest.approx(row["at_reply_heard_s"], abs=0.002)


def test_a_noisy_call_is_replayed_to_the_sample() -> None:
    noisy = {"caller.noise_snr_db": 15}
    first = run("vanilla", calls=1, turns=3, first=1, settings=noisy).turns.iloc[0]
    again = listen(first)  # raises if the caller or a detector heard anything else
    assert again.stereo[:, 0].any()


def test_a_row_of_the_wall_clock_is_refused(turns) -> None:
    with pytest.raises(ListenError, match=r"wall clock.*--wav"):
        listen(turns.iloc[0].replace("virtual", "wall"))


def test_the_picture_shows_both_tracks_and_the_milestones(turns) -> None:
    figure = listen(turns.iloc[0]).figure()
    upper, lower = figure.axes
    assert upper.get_ylabel() == "caller" and lower.get_ylabel() == "agent, as heard"
    names = {text.get_text() for text in upper.texts}
    assert {"caller's last sound", "committed", "reply heard"} <= names
    assert "turn 0" in upper.get_title(loc="left") + upper.get_title()


def test_a_notebook_shows_a_player_in_stereo(turns, monkeypatch) -> None:
    from IPython import display

    shown: list = []
    monkeypatch.setattr(display, "display", lambda *things: shown.extend(things))
    moment = listen(turns.iloc[0])
    moment._ipython_display_()
    _, player = shown
    with wave.open(io.BytesIO(player.data)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, SAMPLE_RATE_HZ)
        assert sound.getnframes() == len(moment.stereo)


def test_a_row_of_another_version_is_refused(turns) -> None:
    row = turns.iloc[1].copy()
    row["at_caller_started_s"] += 0.4
    with pytest.raises(ListenError, match="another version of labkit or of the agent"):
        listen(row)


def test_a_row_that_names_no_call_is_refused(turns) -> None:
    with pytest.raises(ListenError, match="no agent, settings"):
        listen(turns[["call", "turn", "seed", "at_caller_started_s"]].iloc[0])
