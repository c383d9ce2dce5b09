"""Turns as an agent hears them: silences found where they are, speech where it is said."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.callers.plan import plan_call
from labkit.engine.marked import (
    LEAD_S,
    TAIL_S,
    MarkedTurn,
    found_silences,
    silent_spans,
    sounding,
    spoken,
)
from labkit.settings import Settings
from labkit.world.clips import Pcm
from labkit.world.dialogue import load_dialogues
from labkit.world.speech import SpeechCorpus

RATE = 16_000


def tone(*parts: tuple[float, float]) -> Pcm:
    """Sound of some lengths (s) and levels (dB below full scale); a level of 0 is silence."""
    rng = np.random.default_rng(1)
    made = [
        rng.standard_normal(round(length_s * RATE)) * (3000 * 10 ** (level_db / 20) if level_db < 1
                                                       else 0)
        for length_s, level_db in parts
    ]  # fmt: skip
    return np.concatenate(made).astype(np.int16)


SILENT = 1.0


def test_silences_are_found_to_the_frame() -> None:
    pcm = tone((0.5, 0.0), (0.25, SILENT), (0.3, 0.0), (0.08, SILENT), (0.4, 0.0))
    assert found_silences(pcm) == [pytest.approx((0.5, 0.75)), pytest.approx((1.05, 1.13))]
    assert silent_spans(pcm, (), 1.53) == (pytest.approx((0.5, 0.75)),)


def test_a_frame_is_silent_more_than_35_db_below_the_loudest() -> None:
    quiet, softer = tone((0.5, 0.0), (0.2, -32.0)), tone((0.5, 0.0), (0.2, -39.0))
    assert sounding(quiet).all()
    assert not sounding(softer)[50:].any()


def test_what_was_marked_and_what_was_found_are_joined() -> None:
    pcm = tone((0.5, 0.0), (0.3, SILENT), (0.5, 0.0), (0.2, SILENT), (0.5, 0.0))
    spans = silent_spans(pcm, [(0.6, 0.9)], 2.0)
    assert spans == (pytest.approx((0.5, 0.9)), pytest.approx((1.3, 1.5)))


def test_silence_after_the_end_is_no_pause() -> None:
    pcm = tone((0.5, 0.0), (0.3, SILENT), (0.5, 0.0), (0.5, SILENT))
    assert silent_spans(pcm, (), 1.3) == (pytest.approx((0.5, 0.8)),)
    assert silent_spans(np.zeros(RATE, np.int16), (), 1.0) == ()


def heard(**settings: object) -> list[MarkedTurn]:
    given = {name.replace("__", "."): value for name, value in settings.items()}
    return list(spoken(Settings({"caller.persona": "hesitant", **given}), 7, 0, 3))


def test_the_turns_are_those_of_the_call() -> None:
    turns = heard()
    plan = plan_call(
        Settings({"caller.persona": "hesitant"}), 7, 0, 3, load_dialogues(), SpeechCorpus.load()
    )
    assert [t.name for t in turns] == [p.clip.clip_id for p in plan.turns]
    for turn, planned in zip(turns, plan.turns, strict=True):
        clip = planned.clip
        first = round(LEAD_S * RATE)
        assert np.array_equal(turn.pcm[first : first + len(clip.pcm)], clip.pcm)
        assert not turn.pcm[:first].any()
        assert turn.end_s == LEAD_S + clip.speech_end_s
        assert len(turn.pcm) >= round((turn.end_s + TAIL_S) * RATE) - 160
        for a, b in clip.pauses:
            assert any(x <= a + LEAD_S + 1e-9 and b + LEAD_S <= y + 1e-9 for x, y in turn.pauses)


def test_background_and_line_are_those_that_were_set() -> None:
    quiet, noisy = heard()[0], heard(caller__noise_floor_dbfs=-50.0)[0]
    before = noisy.pcm[: round(LEAD_S * RATE)].astype(float)
    assert 10 * np.log10(np.mean(before**2)) - 20 * np.log10(32768) == pytest.approx(-50, abs=1.5)
    lossy = heard(links__caller__loss=0.2)[0]
    lost = np.mean((lossy.pcm == 0) & (quiet.pcm != 0)) / np.mean(quiet.pcm != 0)
    assert 0.05 < lost < 0.4
    assert lossy.pauses == quiet.pauses, "what the caller does is not what the line does"
