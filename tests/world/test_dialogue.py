"""Dialogues: the packaged ones are complete, and a wrong one says what is wrong with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from labkit.world.dialogue import (
    KINDS,
    Dialogue,
    DialogueError,
    load_dialogues,
    load_intents,
    mentions,
    normalise,
    sentences,
    split_pauses,
)
from labkit.world.turn import pause_kinds

DICTATION = ("account_opening", "contact_update", "gym_booking", "insurance_claim")

GOOD = """
name = "call"
tenant = "acme"
system = "You are helpful."

[[tool]]
name = "lookup"
description = "Finds an order."
parameters = { order_id = { type = "string", description = "Number." } }

[[turn]]
id = "number"
says = "It's four five."
hesitates = "It's, um, [0.9] four five."
intent = "give_order_id"
kind = "statement"
tool = "lookup"
arguments = { order_id = "45" }
tool_result = '{"found": true}'
reply = "Found it."
gives = { order_id = "four five" }

[[turn]]
id = "again"
says = "Which one?"
intent = "ask_recall"
kind = "question"
needs = ["order_id"]
reply = "Four five."
reply_without = "Which order?"
near_misses = [{ text = "Which two?", reply = "None." }]
"""


def _load(folder: Path, text: str) -> Dialogue:
    (folder / "call.toml").write_text(text, encoding="utf-8")
    return load_dialogues(folder)["call"]


@pytest.fixture(scope="module")
def packaged() -> dict[str, Dialogue]:
    return load_dialogues()


def test_good_dialogue_is_read(tmp_path: Path) -> None:
    dialogue = _load(tmp_path, GOOD)
    number, again = dialogue.turns
    assert dialogue.tools[0].parameters["order_id"].type == "string"
    assert number.variants == ("fluent", "hesitant")
    assert number.text("hesitant") == "It's, um, four five."
    assert (number.index, again.index, again.heavy) == (0, 1, False)
    assert again.right_reply() == "Four five."
    assert again.right_reply("near_miss") == "None."
    assert dialogue.fact("order_id", before=1) == "four five"
    assert dialogue.fact("order_id", before=0) is None
    with pytest.raises(
        DialogueError, match=r"unknown variant 'terse'.*must be one of fluent, hesitant"
    ):
        number.text("terse")
    with pytest.raises(DialogueError, match=r"unknown turn 'agian'.*did you mean again"):
        dialogue.turn("agian")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tenant = "acme"', "", r"call\.toml: 'tenant' is missing"),
        ('tenant = "acme"', 'tenent = "acme"', r"unknown key 'tenent' .*did you mean tenant"),
        ('name = "call"', 'name = "other"', r"name = 'other' must be the file's: 'call'"),
        ("reply = ", "replly = ", r"turn 'number': unknown key 'replly' .*did you mean reply"),
        ('"give_order_id"', '"give_oder_id"', r"unknown intent 'give_oder_id'.*give_order_id"),
        ('kind = "statement"', 'kind = "statment"', r"unknown kind .*did you mean statement"),
        ('tool = "lookup"', 'tool = "lookpu"', r"unknown tool 'lookpu' .did you mean lookup"),
        ('order_id = "45"', 'order = "45"', r"unknown argument of lookup 'order'"),
        ('order_id = "45"', "order_id = 45", r"argument order_id = 45 must be a string"),
        ('{ order_id = "45" }', "{}", r"lookup also needs the arguments order_id"),
        ("'{\"found\": true}'", '"{found}"', r"tool_result is not JSON"),
        ("[0.9]", "[long]", r"pause mark that is not \[seconds\]"),
        ("[0.9]", "[9.0]", r"pause outside 0-5 seconds"),
        ("[0.9] ", "", r"hesitates has no \[seconds\] pause"),
        ('says = "Which one?"', 'says = "Which [0.4] one?"', r"only hesitates may have one"),
        ('["order_id"]', '["oder_id"]', r"needed fact 'oder_id'.*must be one of order_id"),
        ('"four five" }', '"four six" }', r"gives order_id = 'four six', which its fluent text"),
        ('reply_without = "Which order?"', "", r"needs and reply_without must be given together"),
        ('id = "again"', 'id = "number"', r"duplicate turn id"),
        ('text = "Which two?"', "text = 2", r"near_misses: text = 2 must be a str"),
        (
            'type = "string"',
            'type = "text"',
            r"unknown type 'text'.*must be one of string, integer",
        ),
        ('id = "number"', 'id = "number', r"call\.toml: not valid TOML"),
    ],
)
def test_wrong_dialogue_names_the_mistake(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(DialogueError, match=message):
        _load(tmp_path, GOOD.replace(old, new, 1))


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DialogueError, match=r"no dialogue"):
        load_dialogues(tmp_path)


def test_text_helpers() -> None:
    assert normalise("It's  order, 4571 - OK?") == "its order 4571 ok"
    assert mentions("It's order, um, four five.", "Four five")
    assert not mentions("It's fortyfour five", "four five")
    assert sentences("Yes. It's open! Really?") == ("Yes.", "It's open!", "Really?")
    assert split_pauses("Hi, um, [0.6] I'm [0.8] here.") == (
        ["Hi, um,", "I'm", "here."],
        [0.6, 0.8],
    )


@pytest.mark.parametrize(
    ("marked", "kinds"),
    [
        ("It's order, um, [0.9] four five [0.7] seven one.", ("filler", "number")),
        ("It's, um~, [0.9] four.", ("filler",)),
        ("For the~ [0.6] fourth [0.7] of May.", ("drawn", "cut")),
        ("I live here. [0.8] Do you mind, [0.5] perhaps?", ("clause", "clause")),
        ("M E Y [0.5] E R, um [0.5] at [0.6] bluebird", ("number", "filler", "cut")),
        ("zero one, [0.5] nine eight", ("number",)),
        ("zero one~ [0.5] nine eight", ("number",)),
        ("It's like [0.5] a hum [0.5] in here.", ("filler", "cut")),
        ("None.", ()),
    ],
)
def test_a_pause_is_named_by_what_comes_before(marked: str, kinds: tuple[str, ...]) -> None:
    assert pause_kinds(marked) == kinds


def test_marks_of_drawn_out_words_are_not_in_the_transcript(tmp_path: Path) -> None:
    drawn = GOOD.replace("It's, um, [0.9] four", "It's, um~, [0.9] the~ four")
    assert _load(tmp_path, drawn).turns[0].text("hesitant") == "It's, um, the four five."


def test_a_filler_inside_a_fact_does_not_hide_it(tmp_path: Path) -> None:
    inside = GOOD.replace("um, [0.9] four five", "four, um, [0.9] five")
    assert _load(tmp_path, inside).turns[0].gives == {"order_id": "four five"}


@pytest.mark.parametrize("name", DICTATION)
def test_dictation_comes_early_and_with_pauses_inside(
    packaged: dict[str, Dialogue], name: str
) -> None:
    texts = [t.marked("hesitant") for t in packaged[name].turns[:5] if t.hesitates]
    assert sum("number" in pause_kinds(t) for t in texts) >= 2


def test_packaged_dialogues_are_enough(packaged: dict[str, Dialogue]) -> None:
    turns = [t for d in packaged.values() for t in d.turns]
    kinds = Counter(t.kind for t in turns)
    assert len(packaged) >= 17
    assert all(9 <= len(d.turns) <= 12 for d in packaged.values())
    assert len(turns) >= 110
    assert sum(t.hesitates is not None for t in turns) >= 50
    assert sum(t.terse is not None for t in turns) >= 30
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 5
    assert 0.15 <= sum(t.tool is not None for t in turns) / len(turns) <= 0.3
    assert sum(t.heavy for t in turns) >= 20
    assert any(t.heavy and len(t.says.split()) <= 4 for t in turns), "no short but hard turn"
    assert {t.intent for t in turns} <= set(load_intents())


def test_packaged_questions_can_be_asked_otherwise(packaged: dict[str, Dialogue]) -> None:
    for dialogue in packaged.values():
        for turn in dialogue.turns:
            if turn.kind == "question":
                assert 3 <= len(turn.paraphrases) <= 6, f"{dialogue.name}/{turn.id}"
            said = [normalise(p) for p in (turn.says, *turn.paraphrases)]
            said += [normalise(m.text) for m in turn.near_misses]
            assert len(set(said)) == len(said), f"{dialogue.name}/{turn.id} says a thing twice"
            for miss in turn.near_misses:
                assert normalise(miss.reply) != normalise(turn.reply)


def test_packaged_speech_has_no_digits(packaged: dict[str, Dialogue]) -> None:
    for dialogue in packaged.values():
        for turn in dialogue.turns:
            texts = [turn.text(v) for v in turn.variants] + [turn.reply, turn.reply_without or ""]
            texts += [m.reply for m in turn.near_misses] + list(turn.paraphrases)
            assert not any(c.isdigit() for t in texts for c in t), f"{dialogue.name}/{turn.id}"


def test_tenants_answer_the_same_question_differently(packaged: dict[str, Dialogue]) -> None:
    answers: dict[str, dict[str, str]] = {}
    for dialogue in packaged.values():
        for turn in dialogue.turns:
            if turn.kind == "question" and not turn.needs:
                answers.setdefault(normalise(turn.says), {})[dialogue.tenant] = turn.reply
    shared = [a for a in answers.values() if len(a) > 1]
    assert len(shared) >= 5
    for by_tenant in shared:
        assert len({normalise(r) for r in by_tenant.values()}) == len(by_tenant)
