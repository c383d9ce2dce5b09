"""The speech corpus: what its indexes say is what its audio holds."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from labkit.paths import data_dir
from labkit.world.clips import AGENT_RATE_HZ, CALLER_RATE_HZ, Clip
from labkit.world.dialogue import Dialogue, load_dialogues, normalise, split_pauses
from labkit.world.speech import SpeechCorpus, SpeechError
from labkit.world.turn import PAUSE_KINDS, pause_kinds

FRAME = CALLER_RATE_HZ // 100
LONGEST_UNMARKED_S = 0.25


@pytest.fixture(scope="module")
def corpus() -> SpeechCorpus:
    return SpeechCorpus.load()


@pytest.fixture(scope="module")
def dialogues() -> dict[str, Dialogue]:
    return load_dialogues()


@pytest.fixture(scope="module")
def clips(corpus: SpeechCorpus) -> list[Clip]:
    return list(corpus.clips())


def _energy_db(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Energy of each 10 ms frame relative to full scale."""
    frames = np.pad(pcm.astype(np.float64), (0, -len(pcm) % FRAME)).reshape(-1, FRAME) / 32768
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1) + 1e-12))


def _voiced(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    energy = _energy_db(pcm)
    return np.asarray(energy >= energy.max() - 35.0)


def test_every_turn_is_spoken(corpus: SpeechCorpus, dialogues: dict[str, Dialogue]) -> None:
    n_heard = 0
    for dialogue in dialogues.values():
        voices = corpus.dialogue_voices(dialogue.name)
        assert len(voices) == 3
        for turn in dialogue.turns:
            wanted = set(turn.variants) - {"paraphrase"}
            recorded = corpus.variants(dialogue.name, turn.id)
            assert wanted <= set(recorded) <= set(turn.variants), f"{dialogue.name}/{turn.id}"
            for variant in recorded:
                for voice in voices:
                    clip = corpus.clip(
                        dialogue=dialogue.name, turn=turn.id, variant=variant, voice=voice
                    )
                    assert clip.text == turn.text(variant)
                    pauses_s = split_pauses(turn.marked(variant))[1]
                    assert [e - s for s, e in clip.pauses] == pytest.approx(pauses_s, abs=1e-6)
                    n_heard += 1
    assert n_heard > 1500


def test_every_question_is_spoken_otherwise(
    corpus: SpeechCorpus, dialogues: dict[str, Dialogue]
) -> None:
    asked = [(d, t) for d in dialogues.values() for t in d.turns if t.intent == "ask_hours"]
    assert len(asked) >= 8
    for dialogue, turn in asked:
        assert "paraphrase" in corpus.variants(dialogue.name, turn.id)


SOURCES = {
    "hibari": {"heart"},
    "piper": {"joe"},
    "kokoro": {"alpha", "gongitsune", "kumo", "nezumi", "tebukuro"},
    "flite": {"awb", "rms"},
    "festival": {"slt"},
}


def test_ten_speakers_of_five_sources_share_the_turns(
    corpus: SpeechCorpus, clips: list[Clip]
) -> None:
    assert set(corpus.voices) == set().union(*SOURCES.values())
    assert len(corpus.voices) == 10
    turns = [c.voice for c in clips if c.dialogue]
    assert max(Counter(turns).values()) <= len(turns) / 5
    assert set(turns) == set(corpus.voices)


def test_the_first_five_turns_hold_many_different_clips(
    dialogues: dict[str, Dialogue], clips: list[Clip]
) -> None:
    early = {(d.name, t.id) for d in dialogues.values() for t in d.turns[:5]}
    usual = {"fluent", "hesitant", "terse"}
    heard = {c.pcm.tobytes() for c in clips if (c.dialogue, c.turn) in early and c.variant in usual}
    assert len(heard) > 500


def test_each_pause_says_what_came_before_it(
    dialogues: dict[str, Dialogue], clips: list[Clip]
) -> None:
    found: Counter[str] = Counter()
    for clip in clips:
        if clip.dialogue:
            marked = dialogues[clip.dialogue].turn(clip.turn).marked(clip.variant)
            assert clip.pause_kinds == pause_kinds(marked), clip.clip_id
        assert len(clip.pause_kinds) == len(clip.pauses)
        found.update(clip.pause_kinds)
    assert set(found) == set(PAUSE_KINDS)
    assert found["filler"] + found["drawn"] > 0.6 * found.total()


def test_a_drawn_out_word_lasts_longer(clips: list[Clip], dialogues: dict[str, Dialogue]) -> None:
    """The same filler, by the same speaker, before a pause."""
    seconds: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for clip in clips:
        if clip.variant == "hesitant":
            marked = dialogues[clip.dialogue].turn(clip.turn).marked("hesitant")
            tokens = " ".join(split_pauses(marked)[0]).split()
            for token, word in zip(tokens, clip.words, strict=True):
                if normalise(token) == "um":
                    seconds[clip.voice, "~" in token].append(word.end_s - word.start_s)
    for voice in {v for v, _ in seconds}:
        drawn, plain = (np.median(seconds[voice, d]) for d in (True, False))
        assert drawn > 1.3 * plain, voice


def test_text_is_its_words(clips: list[Clip]) -> None:
    for clip in clips:
        assert " ".join(w.text for w in clip.words) == clip.text, clip.clip_id


def test_words_sound_in_order(clips: list[Clip]) -> None:
    for clip in clips:
        voiced = _voiced(clip.pcm)
        now_s = 0.0
        for word in clip.words:
            assert now_s <= word.start_s < word.end_s <= clip.duration_s + 1e-6, clip.clip_id
            now_s = word.end_s
            inside = voiced[round(word.start_s * 100) : round(word.end_s * 100)]
            assert inside[[0, -1]].all(), f"{clip.clip_id}: {word} starts or ends in silence"


def test_all_voiced_sound_belongs_to_words(clips: list[Clip]) -> None:
    """Nearly all sound is inside some word, so a transcript by words misses nothing."""
    for clip in clips:
        voiced = _voiced(clip.pcm)
        covered = np.zeros(len(voiced), bool)
        for word in clip.words:
            covered[round(word.start_s * 100) : round(word.end_s * 100)] = True
        assert (voiced & ~covered).sum() <= 0.1 * voiced.sum(), clip.clip_id


def test_clips_start_and_end_with_sound(clips: list[Clip]) -> None:
    for clip in clips:
        voiced = _voiced(clip.pcm)
        assert voiced[[0, -1]].all(), clip.clip_id
        assert clip.speech_end_s == pytest.approx(clip.duration_s, abs=0.0101)
        assert clip.words[0].start_s == 0.0
        assert clip.words[-1].end_s == pytest.approx(clip.speech_end_s, abs=1e-6)


def test_pauses_are_digital_silence_between_words(clips: list[Clip]) -> None:
    for clip in clips:
        assert len(clip.pauses) == clip.n_pauses
        for start_s, end_s in clip.pauses:
            span = clip.pcm[round(start_s * CALLER_RATE_HZ) : round(end_s * CALLER_RATE_HZ)]
            assert not span.any()
            assert 0.35 <= end_s - start_s <= 1.5, clip.clip_id
            for word in clip.words:
                assert word.end_s <= start_s + 1e-6 or word.start_s >= end_s - 1e-6, clip.clip_id


def test_no_hidden_pause(clips: list[Clip]) -> None:
    """Silence that no mark asked for stays shorter than any VAD's patience."""
    for clip in clips:
        on = np.flatnonzero(_voiced(clip.pcm))
        gaps_s = np.sort((np.diff(on) - 1) / 100)[::-1]
        unmarked = gaps_s[clip.n_pauses :]
        assert unmarked.max(initial=0.0) <= LONGEST_UNMARKED_S, clip.clip_id


def test_level(clips: list[Clip]) -> None:
    for clip in clips:
        energy = _energy_db(clip.pcm)[_voiced(clip.pcm)]
        level_dbfs = 10 * np.log10(np.mean(10 ** (energy / 10)))
        assert level_dbfs == pytest.approx(-23.0, abs=0.5), clip.clip_id


def test_missing_speech_is_an_error(corpus: SpeechCorpus) -> None:
    voice = corpus.dialogue_voices("order_status")[0]
    with pytest.raises(SpeechError, match=r"order_status/okay 'hesitant'; must be one of f"):
        corpus.clip(dialogue="order_status", turn="okay", variant="hesitant", voice=voice)
    with pytest.raises(SpeechError, match=r"unknown voice of order_status 'nobody'"):
        corpus.clip(dialogue="order_status", turn="okay", voice="nobody")
    with pytest.raises(SpeechError, match=r"did you mean order_status"):
        corpus.variants("order_statsu", "okay")
    with pytest.raises(SpeechError, match=r"turn of order_status 'okey'.*did you mean okay"):
        corpus.variants("order_status", "okey")
    with pytest.raises(SpeechError, match=r"unknown voice 'nobody'"):
        corpus.barge_ins("nobody")


def test_every_voice_can_interrupt_and_listen(corpus: SpeechCorpus) -> None:
    for voice in corpus.voices:
        assert [c.text for c in corpus.backchannels(voice)] == [
            "Mhm.",
            "Uh-huh.",
            "Right.",
            "Okay.",
        ]
        assert len(corpus.barge_ins(voice)) == 4
        assert all(0.15 < c.duration_s < 0.9 for c in corpus.backchannels(voice))
        assert all(0.15 < c.duration_s < 2.0 for c in corpus.barge_ins(voice))


def test_agent_knows_every_reply(corpus: SpeechCorpus, dialogues: dict[str, Dialogue]) -> None:
    for dialogue in dialogues.values():
        for turn in dialogue.turns:
            replies = [turn.reply, *(m.reply for m in turn.near_misses)]
            for reply in [*replies, *([turn.reply_without] if turn.reply_without else [])]:
                spoken = corpus.agent_speech(reply)
                assert spoken is not None, reply
                assert [w.text for w in spoken.words] == reply.split() or normalise(
                    " ".join(w.text for w in spoken.words)
                ) == normalise(reply)
                assert 0.1 < spoken.duration_s / len(spoken.words) < 1.0
                assert spoken.words[-1].end_s <= spoken.duration_s + 0.011
    assert corpus.agent_sentence("Nobody ever wrote this.") is None
    assert corpus.agent_speech("Happy to help. Nobody ever wrote this.") is None
    assert corpus.agent_speech("") is None


def test_agent_audio_is_where_the_index_says(corpus: SpeechCorpus) -> None:
    """A lossy codec may smear a clip's edges by milliseconds, not move the clip."""
    reply = "Is there anything else you'd like to know about it?"
    clip = corpus.agent_sentence(reply.upper())
    assert clip is not None
    assert clip.text == reply
    frame = AGENT_RATE_HZ // 100
    n_frames = len(clip.pcm) // frame
    energy = (clip.pcm[: n_frames * frame].reshape(n_frames, frame).astype(float) ** 2).mean(axis=1)
    loud = np.flatnonzero(energy >= energy.max() * 10**-3.5)
    assert loud[0] <= 2
    assert loud[-1] >= n_frames - 3


def test_audio_cannot_be_changed_by_accident(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        clips[0].pcm[0] = 1


def test_files_are_the_hashed_ones(corpus: SpeechCorpus) -> None:
    folder = data_dir() / "speech"
    listed = {}
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ")
        listed[name] = digest
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    present = {p.relative_to(folder).as_posix() for p in _audio_and_indexes(folder)}
    assert set(listed) == present
    assert len(corpus.digest) == 64
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 60e6


def _audio_and_indexes(folder: Path) -> list[Path]:
    return [*folder.glob("*.csv"), *folder.glob("*.flac"), *folder.glob("agent/*.ogg")]


def test_loading_is_quick() -> None:
    started_s = time.perf_counter()
    corpus = SpeechCorpus(data_dir() / "speech")
    assert time.perf_counter() - started_s < 0.5
    voice = corpus.dialogue_voices("order_status")[0]
    corpus.clip(dialogue="order_status", turn="okay", voice=voice)
    assert corpus.agent_sentence("You're welcome.") is not None
    assert time.perf_counter() - started_s < 3.0
