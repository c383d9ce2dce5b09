"""What the emulated model says to what reaches it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.providers.answers import Answer, Message, answer
from labkit.providers.tool_calls import Tool
from labkit.world.dialogue import load_dialogues

DIALOGUES = load_dialogues()
ORDER = DIALOGUES["order_status"]
LOOKUP = [Tool("lookup_order", "Finds an order.")]
SYSTEM = Message("system", ORDER.system)
HELPFUL = Message("system", "You are a helpful voice assistant.")


def hear(*users: str, tools: list[Tool] | None = None, system: Message = SYSTEM) -> Answer:
    """The answer to user messages that nobody answered in between."""
    return answer([system, *(Message("user", text) for text in users)], tools or ())


@pytest.mark.parametrize("name", DIALOGUES)
def test_every_way_to_say_a_turn_gets_the_right_reply(name: str) -> None:
    dialogue = DIALOGUES[name]
    history = [Message("system", dialogue.system)]
    for turn in dialogue.turns:
        for variant in turn.variants:
            found = answer([*history, Message("user", turn.text(variant))])
            assert (found.turn, found.text) == (turn.id, turn.right_reply(variant)), variant
        for text in turn.paraphrases:
            assert answer([*history, Message("user", text)]).text == turn.reply
        history += [Message("user", turn.says), Message("assistant", turn.reply)]


@pytest.mark.parametrize("name", DIALOGUES)
def test_scripted_tools_are_called_with_the_scripted_arguments(name: str) -> None:
    dialogue = DIALOGUES[name]
    tools = [Tool(tool.name, tool.description) for tool in dialogue.tools]
    history = [Message("system", dialogue.system)]
    for turn in dialogue.turns:
        if turn.tool is not None:
            asked = [*history, Message("user", turn.says)]
            (call,) = answer(asked, tools).tool_calls
            assert (call.name, dict(call.arguments)) == (turn.tool, dict(turn.arguments))
            served = [*asked, Message("assistant", ""), Message("tool", turn.tool_result or "")]
            assert answer(served, tools).text == turn.reply
        history += [Message("user", turn.says), Message("assistant", turn.reply)]


@pytest.mark.parametrize("text", ["It's order", "It's order four", "It's order 45", "Hi"])
def test_a_partial_transcript_gets_an_answer_to_the_fragment(text: str) -> None:
    found = hear(text, tools=LOOKUP)
    assert found.kind == "partial"
    assert text in found.text
    assert not found.tool_calls


def test_pieces_of_one_sentence_are_put_together_again() -> None:
    begun = hear("It's order four five")
    talk = [SYSTEM, Message("user", "It's order four five"), Message("assistant", begun.text)]
    (call,) = answer([*talk, Message("user", "seven one")], LOOKUP).tool_calls
    assert call.arguments == {"order_id": "4571"}


def test_a_near_miss_gets_its_own_answer_and_arguments() -> None:
    said = "It's order 4 5 7 9"
    (call,) = hear(said, tools=LOOKUP).tool_calls
    assert call.arguments == {"order_id": "4579"}
    assert hear(said).text == ORDER.turn("order_number").near_misses[0].reply


def test_without_the_needed_fact_the_thread_is_lost() -> None:
    question = "Which neighbor was it left with?"
    turn = ORDER.turn("which_neighbor")
    assert hear(question).text == turn.reply_without
    told = [SYSTEM, Message("user", "order 4571"), Message("assistant", "Found it.")]
    assert answer([*told, Message("user", question)]).text == turn.reply


def test_the_model_knows_only_the_value_that_arrived() -> None:
    told = [SYSTEM, Message("user", "my order is 4571"), Message("assistant", "Thanks.")]
    found = answer([*told, Message("user", "Which order number did we end up with?")])
    assert found.text == "We ended up with order four five seven one."


def test_words_nobody_scripted_are_quoted_back() -> None:
    found = hear("can I pay with bitcoin")
    assert found.kind == "fallback"
    assert "can I pay with bitcoin" in found.text


def test_another_tenants_question_is_not_answered_from_its_facts() -> None:
    olive = Message("system", DIALOGUES["restaurant_booking"].system)
    acme = hear("What time do you close on Saturday?")
    other = hear("What time do you close on Saturday?", system=olive)
    assert acme.dialogue == "order_status"
    assert other.dialogue == "restaurant_booking"
    assert acme.text != other.text


def test_a_failed_or_unexpected_tool_result_is_not_glossed_over() -> None:
    asked = [SYSTEM, Message("user", "It's order four five seven one."), Message("assistant", "")]
    failed = answer([*asked, Message("tool", "no such order", failed=True)], LOOKUP)
    assert "couldn't" in failed.text
    wrong = json.dumps({"order_id": "17", "status": "lost"})
    assert "status lost" in answer([*asked, Message("tool", wrong)], LOOKUP).text


WEATHER = Tool(
    "lookup_weather",
    "Called when the user asks about the weather.",
    {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
)


def test_a_users_own_tool_is_called_when_the_words_name_it() -> None:
    (call,) = hear(
        "What's the weather in New York today?", tools=[WEATHER], system=HELPFUL
    ).tool_calls
    assert (call.name, call.arguments) == ("lookup_weather", {"location": "New York"})
    assert not hear("How is the weather?", tools=[WEATHER], system=HELPFUL).tool_calls
    assert not hear("Tell me a joke in French.", tools=[WEATHER], system=HELPFUL).tool_calls


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        ({"type": "string", "enum": ["red", "blue"]}, "Set the light to blue.", "blue"),
        ({"type": "integer"}, "Set the light to seventy five percent.", 75),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "Turn off the light.", None),
    ],
)
def test_arguments_are_read_from_the_words(spec: dict[str, Any], text: str, value: Any) -> None:
    schema = {"type": "object", "properties": {"value": spec}, "required": ["value"]}
    (call,) = hear(text, tools=[Tool("set_light", "", schema)], system=HELPFUL).tool_calls
    assert call.arguments == {"value": value}


def test_tool_choice_is_obeyed() -> None:
    talk = [HELPFUL, Message("user", "Tell me a joke.")]
    assert answer(talk, [WEATHER], tool_choice="required").tool_calls
    asked = [HELPFUL, Message("user", "What's the weather in Rome?")]
    assert not answer(asked, [WEATHER], tool_choice="none").tool_calls


@pytest.mark.parametrize(
    "talk",
    [
        [SYSTEM],
        [SYSTEM, Message("system", "Greet the user and offer your help.")],
        [SYSTEM, Message("user", "(empty)")],
        [SYSTEM, Message("user", "<instructions>\nGreet the user.\n</instructions>")],
    ],
)
def test_instructions_without_a_user_get_a_greeting(talk: list[Message]) -> None:
    found = answer(talk)
    assert found.kind == "instructed"
    assert "Acme Home" in found.text


def test_a_quoted_instruction_is_spoken() -> None:
    talk = [SYSTEM, Message("user", "Thanks."), Message("system", 'Say "One moment, please."')]
    assert answer(talk).text == "One moment, please."


def test_added_context_does_not_keep_the_model_from_answering() -> None:
    talk = [SYSTEM, Message("user", "Thanks."), Message("system", "Today is Sunday.")]
    assert answer(talk).turn == "thanks"


def test_judges_and_guardrails_get_a_benign_ruling() -> None:
    guard = Message("system", "You are a guardrail. Answer with exactly one word: OK or BLOCK.")
    assert hear("Tell me a secret.", system=guard).text == "OK"
    judge = Message("system", 'Return JSON like {"score": 1-5, "flagged": false}.')
    assert json.loads(hear("Rate this.", system=judge).text) == {"score": 5.0, "flagged": False}
    plain = answer([HELPFUL, Message("user", "Rate this.")], json_wanted=True)
    assert json.loads(plain.text)["ok"] is True
