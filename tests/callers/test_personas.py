"""Personas: what each brings along, and what it does to a call."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labkit.callers import noise
from labkit.callers.caller import Mouth
from labkit.callers.ear import Ear, Heard
from labkit.callers.persona import PERSONAS
from labkit.callers.plan import BREATH_S, joined, plan_call
from labkit.engine.run import run
from labkit.settings import SETTINGS, SettingError, Settings
from labkit.world.clips import CALLER_RATE_HZ
from labkit.world.dialogue import load_dialogues
from labkit.world.scene import Scene
from labkit.world.speech import SpeechCorpus

CORPUS = SpeechCorpus.load()
VOICE = CORPUS.dialogue_voices("order_status")[0]
FLUENT = CORPUS.clip(dialogue="order_status", turn="keep_the_desk", voice=VOICE)


def plan(**settings: object):
    return plan_call(Settings(settings), 7, 3, 5, load_dialogues(), CORPUS)


def test_every_persona_can_be_chosen_and_says_whom_it_stands_for() -> None:
    assert set(SETTINGS["caller.persona"].choices) == set(PERSONAS)
    for persona in PERSONAS.values():
        assert persona.stands_for
        persona.settings(Settings(), 7, 0)  # every setting it brings along exists


def test_a_misspelt_persona_is_refused_with_the_closest() -> None:
    with pytest.raises(SettingError, match=r"hesitent.*did you mean hesitant"):
        Settings({"caller.persona": "hesitent"})


def test_what_a_study_sets_goes_before_what_a_persona_brings_along() -> None:
    own = Settings({"caller.persona": "noisy_line", "caller.noise_snr_db": 20.0})
    found = PERSONAS["noisy_line"].settings(own, 7, 0)
    assert found["caller.noise_snr_db"] == 20.0
    assert found["caller.noise"] == "office" and found["links.caller.loss"] == 0.03
    good = Settings({"caller.persona": "noisy_line", "links.caller.loss": 0})
    assert PERSONAS["noisy_line"].settings(good, 7, 0)["links.caller.loss"] == 0, (
        "its default, but chosen"
    )
    assert good.as_dict()["links.caller.loss"] == 0
    assert not Settings({"links.caller.loss": "default", "links.openai.rtt_s": 0.03}).as_dict()


def test_all_personas_say_the_same_turns_in_the_same_voice() -> None:
    plans = {name: plan(**{"caller.persona": name}) for name in PERSONAS}
    assert len({tuple(t.turn.id for t in p.turns) for p in plans.values()}) == 1
    assert len({p.voice for p in plans.values()}) == 1
    assert any(t.clip.n_pauses for t in plans["hesitant"].turns)
    assert not any(t.clip.n_pauses for t in plans["fluent"].turns)


@pytest.mark.parametrize("place", [*noise.RECORDINGS, "pink"])
@pytest.mark.parametrize("snr_db", [6.0, 20.0])
def test_noise_has_the_ratio_that_was_asked_for(place: str, snr_db: float) -> None:
    settings = Settings({"caller.noise": place, "caller.noise_snr_db": snr_db})
    loop = noise.background(settings, [FLUENT], 7, 0).astype(float)
    measured = 10 * np.log10(noise.speech_power([FLUENT]) / np.mean(loop**2))
    assert measured == pytest.approx(snr_db, abs=0.1)


def test_each_call_hears_another_part_of_a_place() -> None:
    settings = Settings({"caller.noise": "city", "caller.noise_snr_db": 10.0})
    first, again, other = (noise.background(settings, [FLUENT], 7, c) for c in (0, 0, 1))
    assert np.array_equal(first, again)
    assert len(first) == len(other) and not np.array_equal(first, other)


def test_room_tone_lies_under_noise_too() -> None:
    quiet = Settings({"caller.noise_floor_dbfs": -60.0})
    tone = noise.background(quiet, [FLUENT], 7, 0).astype(float)
    assert 10 * np.log10(np.mean(tone**2) / 32768**2) == pytest.approx(-60.0, abs=0.1)
    assert not len(noise.background(Settings(), [FLUENT], 7, 0))


def test_words_are_where_the_sound_is_when_two_clips_are_joined() -> None:
    stop = CORPUS.barge_ins(VOICE)[0]
    both = joined(stop, FLUENT)
    shift_s = stop.duration_s + BREATH_S
    assert both.text == f"{stop.text} {FLUENT.text}"
    assert len(both.words) == len(stop.words) + len(FLUENT.words)
    assert both.words[len(stop.words)].start_s == pytest.approx(FLUENT.words[0].start_s + shift_s)
    first = round(shift_s * CALLER_RATE_HZ)
    assert np.array_equal(both.pcm[first:], FLUENT.pcm)


def test_a_closed_microphone_takes_the_rest_of_the_words() -> None:
    mouth = Mouth(Scene(), np.zeros(0, np.int16))
    audible_s = FLUENT.words[3].end_s
    end_s = mouth.say(FLUENT, 0.0, 0, audible_s)
    assert end_s == pytest.approx(FLUENT.duration_s)  # the mouth goes on, only nobody hears it
    assert [w.text for w in mouth.scene.track.words] == [w.text for w in FLUENT.words[:4]]
    sent = mouth.emit(len(FLUENT.pcm))
    assert not sent[round(audible_s * CALLER_RATE_HZ) :].any()


def test_the_ear_knows_where_speech_broke_off_and_went_on() -> None:
    ear, loud = Ear(), np.full(1600, 9000, np.int16)
    segment = ear.begin(1.0)
    ear.add(segment, Heard(1.0, loud, 1600))
    ear.cut(segment, 1.4)
    assert ear.broken_off and segment.last_voiced_s == pytest.approx(1.4)
    ear.begin(1.6)  # nothing is heard of it yet
    assert ear.broken_off
    ear.add(segment, Heard(2.0, loud, 1600))
    assert not ear.broken_off
    (broken,) = segment.breaks
    assert (broken.at_s, broken.resumed_s) == (1.4, 2.0)
    assert segment.voiced() == ((1.0, pytest.approx(1.4)), (2.0, pytest.approx(3.0)))


def rows(turns: int = 4, **settings: object) -> pd.DataFrame:
    given = {name.replace("__", "."): value for name, value in settings.items()}
    given = {"caller.persona": "fluent"} | given
    results = run("vanilla", calls=1, turns=turns, settings=given)
    assert results.calls["status"].tolist() == ["ok"]
    return results.turns


def test_who_talks_over_begins_at_the_moment_and_loses_words_to_the_deaf_agent() -> None:
    turns = rows(caller__persona="barging_in")
    assert turns["barged_in"].any()
    barged = turns[turns["barged_in"]]
    before = turns.set_index("turn")["at_reply_heard_s"]
    after = barged["at_caller_started_s"].to_numpy() - before[barged["turn"] - 1].to_numpy()
    assert after == pytest.approx(1.0, abs=0.001)
    assert (barged["yield_s"] > 0).all() and (barged["n_premature_replies"] == 0).all()
    # during its first 3 s of speech the SDK hears nothing of the caller
    assert barged["leading_deletions"].iloc[0] > 0


def test_a_greeting_is_waited_for_and_can_be_talked_over() -> None:
    waited = rows(2, agent__greets=True)
    barged = rows(2, agent__greets=True, caller__barge_in_after_s=0.5)
    assert not waited["barged_in"].any() and (waited["n_premature_replies"] == 0).all()
    assert barged["barged_in"].tolist() == [True, True]
    assert barged["at_caller_started_s"][0] < waited["at_caller_started_s"][0] - 1


def test_who_hums_hums_while_the_agent_speaks_and_lets_it_finish() -> None:
    turns = rows(caller__backchannel_prob=1.0)
    assert turns["n_backchannels"].sum() >= 2
    assert not turns["barged_in"].any()
    assert turns["n_backchannels_answered"].sum() <= turns["n_backchannels"].sum()
    quiet = rows()
    assert quiet["n_backchannels"].sum() == 0 == quiet["n_false_interruptions"].sum()


def test_a_bad_line_loses_words_and_a_worse_one_more() -> None:
    lost = [
        rows(**{"caller__noise": "crowd", "caller__noise_snr_db": snr})["deletions"].sum()
        for snr in (20.0, -6.0)
    ]
    assert lost[0] <= 1 < lost[1]
