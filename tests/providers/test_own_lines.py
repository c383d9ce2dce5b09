"""What the model answers to the lines of a user's own dialogue: the agent's own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labkit.providers.answers import answer
from labkit.providers.conversation import Answer, Message
from labkit.providers.tool_calls import Tool
from labkit.world.own import read_own

LINES = """
[[turn]]
says = "Please reserve something for Friday."
tool = "reserve"
arguments = {day = "Friday"}
reply = "It is reserved."
[[turn]]
says = "What is the weather in Oslo?"
[[turn]]
says = "What about the weather in Rome?"
tool = ""
"""
RESERVE = Tool(
    "reserve",
    "Books a table.",
    {
        "properties": {"day": {"type": "string"}, "guests": {"type": "integer"}},
        "required": ["day", "guests"],
    },
)
WEATHER = Tool(
    "lookup_weather",
    "The weather.",
    {"properties": {"location": {"type": "string"}}, "required": ["location"]},
)


def said(tmp_path: Path, text: str, *more: Message, tools: Any = (RESERVE, WEATHER)) -> Answer:
    path = tmp_path / "mine.toml"
    path.write_text(LINES)
    own = read_own(str(path)).dialogue
    messages = [Message("system", "You help."), Message("user", text), *more]
    return answer(messages, tools, dialogues={own.name: own}, parallel=True)


def test_a_line_calls_the_tool_it_names_with_what_it_still_needs(tmp_path: Path) -> None:
    found = said(tmp_path, "please reserve something for friday")
    (call,) = found.tool_calls
    assert (call.name, call.arguments) == ("reserve", {"guests": 0, "day": "Friday"})
    assert (found.dialogue, found.turn) == ("mine", "line_1")


def test_after_the_tool_the_line_gets_its_reply_or_the_result(tmp_path: Path) -> None:
    called = (Message("assistant", ""), Message("tool", "booked"))
    assert said(tmp_path, "Please reserve something for Friday.", *called).text == "It is reserved."
    report = said(tmp_path, "What is the weather in Oslo?", *called).text
    assert report == "Here is what I found: booked."


def test_without_a_name_the_words_decide_and_none_is_none(tmp_path: Path) -> None:
    (call,) = said(tmp_path, "What is the weather in Oslo?").tool_calls
    assert (call.name, call.arguments) == ("lookup_weather", {"location": "Oslo"})
    assert not said(tmp_path, "What about the weather in Rome?").tool_calls


def test_a_tool_that_another_agent_has_is_not_called(tmp_path: Path) -> None:
    found = said(tmp_path, "Please reserve something for Friday.", tools=(WEATHER,))
    assert (found.tool_calls, found.text) == ((), "It is reserved.")


def test_a_filler_said_before_the_tool_was_done_leaves_its_result_to_be_told(
    tmp_path: Path,
) -> None:
    called = (Message("assistant", ""), Message("tool", "booked"))
    filler, told = Message("assistant", "Still looking."), "Here is what I found: booked."
    line = "What is the weather in Oslo?"
    assert said(tmp_path, line, *called, filler).text == told
    again = said(tmp_path, line, *called, filler, Message("assistant", told))
    assert again.kind == "instructed", "it has been told"


def test_what_a_running_tool_has_its_agent_say_is_an_instruction(tmp_path: Path) -> None:
    order = Message("system", "Say that you are looking it up.")
    running = (Message("assistant", ""), Message("tool", "The tool call is still in progress."))
    line = "What is the weather in Oslo?"
    assert said(tmp_path, line, order, *running).text == "One moment, please."
    done = (Message("assistant", ""), Message("tool", "booked"))
    assert said(tmp_path, line, order, *done).text == "Here is what I found: booked."
