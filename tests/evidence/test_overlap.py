"""The overlap model, on hand-made parts."""

import pandas as pd
import pytest

from labkit.evidence import overlap

BASE = pd.DataFrame(
    {
        "transcript_s": [0.3, 0.3],
        "commit_s": [0.5, 2.5],
        "hook_s": [0.0, 0.1],
        "llm_s": [0.6, 0.6],
        "sentence_s": [0.2, 0.2],
        "voice_s": [0.2, 0.2],
        "rest_s": [0.3, 0.3],
    },
    index=pd.MultiIndex.from_tuples([(0, 0), (0, 1)], names=["call", "turn"]),
)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("off", [1.8, 3.9]),  # everything in a row
        ("llm", [1.6, 3.1]),  # first turn waits for the model, second for the commit
        ("tts", [1.6, 2.9]),  # of the second turn only the commit is left
    ],
)
def test_what_is_hidden_does_not_count(mode: str, expected: list[float]) -> None:
    assert overlap.predict(BASE, mode).tolist() == pytest.approx(expected)


def test_savings_that_are_hidden_do_not_add_up() -> None:
    quick_model = BASE.assign(llm_s=BASE["llm_s"] - 0.4)
    quick_commit = BASE.assign(commit_s=BASE["commit_s"] - 0.2)
    both = overlap.combine(BASE, {"model": quick_model, "commit": quick_commit})
    assert both["llm_s"].tolist() == pytest.approx([0.2, 0.2])
    assert both["commit_s"].tolist() == pytest.approx([0.3, 2.3])
    before = overlap.predict(BASE)
    single = [before - overlap.predict(x) for x in (quick_model, quick_commit)]
    together = before - overlap.predict(both)
    assert [s.tolist()[0] for s in single] == pytest.approx([0.4, 0.0])
    assert together.tolist()[0] == pytest.approx(0.4)


def test_parts_of_a_plain_turn() -> None:
    nan = float("nan")
    at = {
        "caller_stopped": 10.0, "eager": nan, "transcript": 10.3,
        "committed": 10.5, "hook_done": 10.6,
        "llm_first_token": 11.2, "tts_text": 11.4, "agent_audio_left": 11.6, "reply_heard": 11.9,
    }  # fmt: skip
    row = {"call": 3, "turn": 1, "outcome": "answered", "served_model": "m"}
    row |= {f"at_{k}_s": v for k, v in at.items()}
    found = overlap.parts(pd.DataFrame([row, {**row, "turn": 2, "outcome": "missed"}]))
    assert found.index.tolist() == [(3, 1)]
    assert found.loc[(3, 1)].tolist() == pytest.approx([0.3, 0.5, 0.1, 0.6, 0.2, 0.2, 0.3])
    assert overlap.predict(found, "off").tolist() == pytest.approx([1.9])
    announced = overlap.parts(pd.DataFrame([{**row, "at_eager_s": 10.1}]))
    assert announced["transcript_s"].tolist() == pytest.approx([0.1])


def test_a_cached_answer_has_no_model_and_no_voice_to_wait_for() -> None:
    nan = float("nan")
    at = {
        "caller_stopped": 10.0, "eager": nan, "transcript": 10.3,
        "committed": 10.5, "hook_done": 10.5,
        "llm_first_token": nan, "tts_text": nan, "agent_audio_left": 10.5, "reply_heard": 10.6,
    }  # fmt: skip
    row = {"call": 3, "turn": 1, "outcome": "answered", "served_model": ""}
    row |= {f"at_{k}_s": v for k, v in at.items()}
    found = overlap.parts(pd.DataFrame([row]))
    assert found.loc[(3, 1)].tolist() == pytest.approx([0.3, 0.5, 0, 0, 0, 0, 0.1])
    # the same holes in a reply of a model are not guessed at
    assert overlap.parts(pd.DataFrame([{**row, "served_model": "m"}])).empty


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of off, llm, tts"):
        overlap.predict(BASE, "on")
