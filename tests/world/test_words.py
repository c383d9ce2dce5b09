"""How texts are taken apart and compared, whatever is in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.world.turn import mentions, normalise, sentences, split_pauses

WORDS = st.lists(st.from_regex(r"[A-Za-z]{1,6}", fullmatch=True), min_size=1, max_size=6)
PAUSES = st.integers(0, 5000).map(lambda n: n / 1000)


@given(st.lists(st.tuples(PAUSES, WORDS), max_size=4), WORDS)
def test_a_text_is_its_parts_with_the_seconds_between_them(rest: list, first: list[str]) -> None:
    parts = [" ".join(first), *(" ".join(words) for _, words in rest)]
    pauses = [pause for pause, _ in rest]
    marked = parts[0] + "".join(f" [{s}] {p}" for s, p in zip(pauses, parts[1:], strict=True))
    assert split_pauses(marked) == (parts, pauses)
    assert split_pauses(f"  {marked.replace(' [', '[').replace('] ', ']')} ") == (parts, pauses)


@pytest.mark.parametrize("text", ["a [x] b", "a [.5] b", "a [-1] b", "a [1,5] b", "a [1] b"])
def test_only_seconds_in_brackets_are_a_pause(text: str) -> None:
    assert split_pauses(text) == ((["a", "b"], [1.0]) if text == "a [1] b" else ([text], []))


@given(st.text())
def test_normal_words_are_lower_case_with_single_spaces_and_stay_so(text: str) -> None:
    words = normalise(text)
    assert normalise(words) == words
    assert not re.search(r"[.,;:!?\"'_-]|\s\s|^\s|\s$", words)
    assert normalise(f"  {text}!! ") == normalise(text)


@given(WORDS, WORDS, WORDS)
def test_whole_words_are_mentioned_whatever_surrounds_them(
    before: list[str], words: list[str], after: list[str]
) -> None:
    said = " ".join(words)
    assert mentions(f"{' '.join(before)}, {said.upper()}! {' '.join(after)}", said)


def test_a_part_of_a_word_is_no_mention() -> None:
    assert not mentions("the carpet", "car") and not mentions("a scar", "car")
    assert mentions("It's a car.", "car") and mentions("Order 4571 is here", "4571")
    assert not mentions("order four", "four two")


@given(st.lists(st.tuples(WORDS, st.sampled_from(".?!")), min_size=1, max_size=5))
def test_sentences_end_with_their_mark(said: list) -> None:
    expected = tuple(f"{' '.join(words)}{mark}" for words, mark in said)
    assert sentences(f" {'  '.join(expected)} ") == expected
    assert sentences("Version 1.5 is out. Yes") == ("Version 1.5 is out.", "Yes")
