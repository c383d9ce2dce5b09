"""What an emulated language model says, decided only by the request it received.

The dialogues hold the right answer to every scripted turn. The model finds the turn by the words in
the last user message and by the conversation before it, so it fails where a real one would: a
partial transcript gets an answer to the fragment, a stripped history loses the thread
(``reply_without``), a near miss gets its own answer, and words nobody scripted get a reply that
repeats part of them. Nothing here knows what the caller *truly* said.

Requests that are no conversation are recognised too: an instruction to speak (a trailing system
message, or no user message), and a judge's or guardrail's prompt that demands a ruling.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from labkit.providers import tokens
from labkit.providers.conversation import Answer, Message
from labkit.providers.instructions import follow, is_instruction, order
from labkit.providers.matching import Match, PhraseIndex
from labkit.providers.rulings import ruling
from labkit.providers.tool_calls import (
    Tool,
    ToolCall,
    completed_call,
    guessed_call,
    guessed_calls,
    scripted_call,
)
from labkit.providers.wording import canonical, contains
from labkit.world.dialogue import load_dialogues
from labkit.world.turn import Dialogue, Turn

__all__ = ["Answer", "Message", "answer", "warm_up"]

_GO_ON = "Please go on."
_GENERAL = "Sure, I can help you with that. Is there anything else you would like to know?"
_LONGEST_QUOTE = 400  # characters
_LONGEST_ORDER = 2_000  # characters of what a tool is called for
_LONGEST_RESULT = 20_000  # characters
_MOST_MESSAGES = 500
_MOST_TEXT = 200_000  # characters


@lru_cache(maxsize=1)
def _packaged() -> PhraseIndex:
    return PhraseIndex(load_dialogues())


_INDEXES: dict[tuple[int, ...], PhraseIndex] = {}


def _index(dialogues: Mapping[str, Dialogue] | None) -> PhraseIndex:
    if not dialogues:
        return _packaged()
    # The index holds on to the dialogues, so their identities cannot be taken over by others.
    key = tuple(map(id, dialogues.values()))
    if key not in _INDEXES:
        if len(_INDEXES) >= 16:
            _INDEXES.clear()
        _INDEXES[key] = PhraseIndex(dialogues)
    return _INDEXES[key]


def warm_up() -> None:
    """Builds the index of the packaged dialogues, so that no request waits for it."""
    _packaged()
    tokens.count("")


def answer(
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    *,
    dialogues: Mapping[str, Dialogue] | None = None,
    tool_choice: str = "auto",
    json_wanted: bool = False,
    parallel: bool = False,
) -> Answer:
    """Decides what the model answers.

    Args:
        messages: The request's messages, oldest first.
        tools: The functions it offers.
        dialogues: What the model knows; the packaged dialogues if empty.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
        json_wanted: The request asks for a JSON object.
        parallel: Several tools may be called at once.
    """
    messages = _within_reason(messages)
    system = "\n".join(m.text for m in messages if m.role == "system")
    talk = [m for m in messages if not is_instruction(m)]
    users = [i for i, m in enumerate(talk) if m.role == "user"]
    ordered = order(messages, talk)
    told = Answer(follow(ordered or "", system), kind="instructed")
    since = talk[users[-1] + 1 :] if users else []
    if ordered or (ordered is not None and not any(m.role == "tool" for m in since)):
        return told
    found = _to_user(system, talk, users[-1], tools, dialogues, tool_choice, json_wanted, parallel)
    # a filler may have been said before a tool's result was there: then that is not answered yet
    answered = ordered is not None and found.text in [m.text.strip() for m in since]
    return told if answered else found


def _to_user(
    system: str,
    talk: Sequence[Message],
    last: int,
    tools: Sequence[Tool],
    dialogues: Mapping[str, Dialogue] | None,
    tool_choice: str,
    json_wanted: bool,
    parallel: bool,
) -> Answer:
    """What the model answers to the message with the number ``last``, a user's."""
    index = _index(dialogues)
    homes = index.homes(system)
    text = talk[last].text.strip()
    results = [m for m in talk[last + 1 :] if m.role == "tool"]
    offered = () if tool_choice == "none" else tuple(tools)
    if not homes and not tools:
        ruled = ruling(system, text, json_wanted=json_wanted)
        if ruled is not None:
            return Answer(ruled, kind="ruling")
    if not canonical(text) and not results:
        return Answer("Sorry, I didn't catch that. Could you say it again?", kind="empty")
    match, text = _match(index, homes, talk, last)
    if match is not None:
        if match.partial and not results:
            return _fragment(text, match)
        named = [t for t in offered if tool_choice in ("auto", "required", t.name)]
        return _scripted(match, text, talk, last, results, named)
    if results:
        return Answer(" ".join(map(_report, _last_batch(talk))), kind="after_tool")
    wanted = [t for t in offered if tool_choice in ("auto", "required", t.name)]
    must, text = tool_choice not in ("auto", "none"), text[-_LONGEST_ORDER:]
    if parallel:
        calls = guessed_calls(text, wanted, must=must)
    else:
        call = guessed_call(text, wanted, must=must)
        calls = () if call is None else (call,)
    if calls:
        return Answer(tool_calls=calls, kind="tool_call")
    return Answer(_unknown(text), kind="fallback")


def _within_reason(messages: Sequence[Message]) -> Sequence[Message]:
    """The newest messages, cut to what a call may hold: nobody speaks for hours in one turn."""
    if len(messages) <= _MOST_MESSAGES and sum(len(m.text) for m in messages) <= _MOST_TEXT:
        return messages
    system = [m for m in messages if m.role == "system"][:8]
    talk = [m for m in messages if m.role != "system"][-_MOST_MESSAGES:]
    each = _MOST_TEXT // (len(system) + len(talk))
    kept = {id(m) for m in (*system, *talk)}
    return [replace(m, text=m.text[:each]) for m in messages if id(m) in kept]


def _match(
    index: PhraseIndex, homes: frozenset[str], talk: Sequence[Message], last: int
) -> tuple[Match | None, str]:
    """The scripted turn meant by the last user message, and the words taken for it.

    Where the user message before it was answered with a request to go on, or not at all, both
    together are tried as well: a hesitating caller's sentence arrives in pieces.
    """
    text = talk[last].text.strip()
    before = next((i for i in range(last - 1, -1, -1) if talk[i].role == "user"), None)
    tries = [text]
    if before is not None:
        between = [m.text for m in talk[before + 1 : last] if m.role == "assistant"]
        if not between or between[-1].endswith(_GO_ON):
            tries.append(f"{talk[before].text.strip()} {text}")
    at = _position(index, homes, talk[:last])
    best: tuple[float, Match, str] | None = None
    for words in tries:
        for match in index.find(words, homes):
            step = match.phrase.turn.index - at[1]
            near = 0.02 if step == 1 else -0.001 * min(abs(step - 1), 20)
            same = 0.02 if match.phrase.dialogue.name == at[0] else 0.0
            value = match.score + near + same - (1.0 if match.partial else 0.0)
            if best is None or value > best[0]:
                best = (value, match, words)
    return (best[1], best[2]) if best else (None, text)


def _position(
    index: PhraseIndex, homes: frozenset[str], earlier: Sequence[Message]
) -> tuple[str, int]:
    """Dialogue and index of the last scripted turn that the history holds."""
    for message in reversed(earlier):
        if message.role == "user":
            found = index.find(message.text.strip(), homes)
            if found and not found[0].partial:
                phrase = found[0].phrase
                return phrase.dialogue.name, phrase.turn.index
    return "", -1


def _fragment(text: str, match: Match) -> Answer:
    dialogue, turn = match.phrase.dialogue.name, match.phrase.turn.id
    return Answer(
        f'I have "{_quote(text)}" so far. {_GO_ON}', kind="partial", dialogue=dialogue, turn=turn
    )


def _quote(text: str, words: int = 8) -> str:
    said = text.split()
    return " ".join(said[-words:])[-_LONGEST_QUOTE:].rstrip(".,!?")


def _unknown(text: str) -> str:
    return f'You said "{_quote(text)}". Could you tell me a little more about that?'


def _scripted(
    match: Match,
    text: str,
    talk: Sequence[Message],
    last: int,
    results: Sequence[Message],
    tools: Sequence[Tool],
) -> Answer:
    phrase, turn = match.phrase, match.phrase.turn

    def says(text: str, kind: str, *calls: ToolCall) -> Answer:
        return Answer(text, calls, kind, phrase.dialogue.name, turn.id)

    history = [canonical(m.text) for m in talk[: last + 1]]
    history += [a + b for a, b in pairwise(history)]
    if any(_known(phrase.dialogue, fact, history) is None for fact in turn.needs):
        return says(turn.reply_without or _unknown(text), "without")
    reply = phrase.near_miss.reply if phrase.near_miss else turn.reply
    if not phrase.dialogue.system:
        return _own_line(says, turn, text, talk, results, tools)
    if not results:
        if turn.tool is not None and any(t.name == turn.tool for t in tools):
            return says("", "tool_call", scripted_call(turn, text))
        kind = "near_miss" if phrase.near_miss else "reply"
        return says(_as_known(reply, phrase.dialogue, turn, history), kind)
    if results[-1].failed:
        return says("I'm sorry, I couldn't look that up just now.", "after_tool")
    if phrase.near_miss or _same_result(results[-1].text, turn):
        return says(reply, "after_tool")
    return says(_report(results[-1]), "after_tool")


def _own_line(
    says: Callable[..., Answer],
    turn: Turn,
    text: str,
    talk: Sequence[Message],
    results: Sequence[Message],
    tools: Sequence[Tool],
) -> Answer:
    """The answer to a line of a user's own dialogue, with the agent's own tools.

    The tool that the line names is called if it is offered; without a name the words decide.
    """
    if results:
        return says(turn.reply or " ".join(map(_report, _last_batch(talk))), "after_tool")
    wanted = next((t for t in tools if t.name == turn.tool), None)
    if wanted is not None:
        return says("", "tool_call", completed_call(wanted, turn.arguments, text))
    if turn.tool is None:
        calls = guessed_calls(text, tools)
        if calls:
            return says("", "tool_call", *calls)
    return says(turn.reply or _GENERAL, "reply")


def _known(dialogue: Dialogue, fact: str, history: Sequence[tuple[str, ...]]) -> str | None:
    """The words of a fact that the history holds, from the latest turn that gives it."""
    for turn in reversed(dialogue.turns):
        words = turn.gives.get(fact)
        if words and any(contains(said, canonical(words)) for said in history):
            return words
    return None


def _as_known(
    reply: str, dialogue: Dialogue, turn: Turn, history: Sequence[tuple[str, ...]]
) -> str:
    """The reply with the value the history holds, where the scripted one never arrived."""
    for fact in turn.needs:
        scripted = dialogue.fact(fact, before=turn.index)
        known = _known(dialogue, fact, history)
        if scripted and known and scripted != known:
            reply = reply.replace(scripted, known)
    return reply


def _parsed(text: str) -> Any:
    if len(text) > _LONGEST_RESULT:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _same_result(text: str, turn: Turn) -> bool:
    """Whether a tool returned what the script says: equal, or every scripted value in the text."""
    scripted = _parsed(turn.tool_result or "")
    if scripted is None or _parsed(text) == scripted:
        return True
    if not isinstance(scripted, dict) or isinstance(_parsed(text), dict):
        return False
    said = canonical(text)
    return all(contains(said, canonical(str(v))) for v in scripted.values() if str(v))


def _last_batch(talk: Sequence[Message]) -> list[Message]:
    """The results of the tools that were called together last."""
    last = max(i for i, m in enumerate(talk) if m.role == "tool")
    first = last
    while first and talk[first - 1].role == "tool":
        first -= 1
    return list(talk[first : last + 1])


def _report(result: Message) -> str:
    """A tool result that no script knows, read out."""
    if result.failed:
        return "I'm sorry, I couldn't look that up just now."
    value = _parsed(result.text)
    if isinstance(value, dict) and value:
        parts = [f"{str(k).replace('_', ' ')} {v}"[:200] for k, v in list(value.items())[:4]]
        return f"Here is what I found: {', '.join(parts)}."
    return f"Here is what I found: {result.text.strip()[:200].rstrip('.')}."
