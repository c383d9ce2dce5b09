"""Token counts."""

from __future__ import annotations

import pytest

from labkit.providers import tokens


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        # Known o200k_base encodings.
        ("hello world", [24912, 2375]),
        ("antidisestablishmentarianism", [493, 129901, 376, 160388, 21203, 2367]),
        ("The quick brown fox", [976, 4853, 19705, 68347]),
        ("", []),
    ],
)
def test_the_vocabulary_is_o200k(text: str, numbers: list[int]) -> None:
    assert tokens.ids(text) == b"".join(n.to_bytes(4, "little") for n in numbers)
    assert tokens.count(text) == len(numbers)


@pytest.mark.parametrize(
    "text", ["Thanks, I found it.", "naïve 😀 日本語です", "<|endoftext|>", ""]
)
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(tokens.pieces(text)) == text
    assert len(tokens.pieces(text)) <= tokens.count(text)


def test_a_message_costs_four_tokens_more_than_its_words() -> None:
    # OpenAI's cookbook counts three for the markup and one for the role.
    text = "You are a helpful assistant."
    assert len(tokens.message_segment("system", [text])) // 4 == tokens.count(text) + 4


def test_tools_weigh_something_and_depend_on_their_order() -> None:
    one = {"name": "one", "description": "The first.", "parameters": {"properties": {}}}
    two = {"name": "two", "parameters": {"properties": {"x": {"type": "string", "enum": ["a"]}}}}
    assert tokens.tools_segment([]) == b""
    assert tokens.tools_segment([one, two]) != tokens.tools_segment([two, one])
    assert len(tokens.tools_segment([one, two])) > len(tokens.tools_segment([one]))
