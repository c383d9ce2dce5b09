"""One request on its way to an answer, and the answer cut into pieces."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.providers import tokens
from labkit.providers.conversation import Answer, Message
from labkit.providers.pacing import Burst
from labkit.providers.prompt_cache import Lookup
from labkit.providers.tool_calls import ToolCall
from labkit.world.request_role import RequestRole

_CALL_MARKUP = 7
"""Tokens around a call's name and arguments: a call of get_weather with one short argument, in
OpenAI's function calling guide (2025), is billed about nine more than its arguments have."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a request asks of the answer.

    Attributes:
        max_tokens: Longest answer.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
        parallel: Several tools may be called at once.
        json_wanted: The answer is to be JSON.
        schema: The JSON schema it is to follow, if any.
        stops: Texts before which it ends.
        choices: How many answers are wanted.
        think: The model may reason first, unseen.
        show_thought: It reasons first, and shows it.
    """

    max_tokens: int | None
    tool_choice: str = "auto"
    parallel: bool = True
    json_wanted: bool = False
    schema: Mapping[str, Any] | None = None
    stops: Sequence[str] = ()
    choices: int = 1
    think: bool = False
    show_thought: bool = False


@dataclass(kw_only=True)
class Generation:
    """One admitted request on its way to an answer.

    Attributes:
        id: The response's id, unique within a study.
        role: What the request is for.
        model: The model's name in the profile.
        prompt_tokens: Length of the whole prompt.
        cache: What it reads from and writes to the prompt cache.
        answer: What the model will say.
        pieces: The answer, token by token; for calls one row each (see :func:`call_pieces`).
        cut: Whether the answer was cut off at the request's token limit.
        tokens_per_piece: Tokens the provider counts for one piece.
        arrived_s: Loop time of its arrival.
        wait_s: From arrival to the first token.
        bursts: When the pieces leave, from the first token on.
        thought_tokens: Tokens of hidden reasoning, generated during ``wait_s``.
        stopped: The stop sequence the answer ends before, if it met one.
        choices: How many answers were asked for; all of them are the same.
        thought: How many of the first rows of ``pieces`` are reasoning that is shown.
        sent: How many pieces have left.
    """

    id: str
    role: RequestRole
    model: str
    prompt_tokens: int
    cache: Lookup
    answer: Answer
    pieces: list[tuple[str, ...]]
    cut: bool
    tokens_per_piece: float
    arrived_s: float
    wait_s: float
    bursts: list[Burst]
    thought_tokens: int = 0
    stopped: str | None = None
    choices: int = 1
    thought: int = 0
    sent: int = 0

    def output_tokens(self, pieces: int | None = None) -> int:
        """Output tokens the provider counts for the whole answer or its first ``pieces``."""
        total = sum(map(len, self.pieces)) if pieces is None else pieces
        return round(total * self.tokens_per_piece) * self.choices

    def pace(self) -> tuple[tuple[float, int], ...]:
        """When how much of the text has left: seconds after the first token, characters by then."""
        thought = sum(map(len, self.pieces[: self.thought]))
        lengths = [0] * thought + [len(piece) for piece in self.said[0]] if self.said else []
        characters = [0, *itertools.accumulate(lengths)]
        sent = itertools.accumulate(burst.tokens for burst in self.bursts)
        return tuple(
            (burst.after_s, characters[min(n, len(lengths))])
            for burst, n in zip(self.bursts, sent, strict=True)
        )

    @property
    def said(self) -> list[tuple[str, ...]]:
        """The rows of ``pieces`` that are the answer itself."""
        return self.pieces[self.thought :]


@dataclass(frozen=True)
class Wire:
    """A streamed answer as bytes: what precedes the first piece, each piece, what follows all."""

    begin: bytes
    pieces: list[bytes]
    end: bytes


def last_user(messages: Sequence[Message]) -> tuple[str, int]:
    """The last user message, and how many tool results follow it."""
    step = 0
    for message in reversed(messages):
        if message.role == "user":
            return message.text, step
        step += message.role == "tool"
    return "", step


def stopped_at(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """A text up to the first of some stop sequences, and which one that was."""
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop


def call_pieces(call: ToolCall) -> tuple[str, ...]:
    """A call's arguments, token by token, after empty pieces for what the client never sees.

    A model also writes the function's name and some markup, which takes time and is billed.
    """
    arguments = json.dumps(dict(call.arguments), separators=(",", ":"))
    return ("",) * (_CALL_MARKUP + tokens.count(call.name)) + tokens.pieces(arguments)


def limited(
    texts: Sequence[tuple[str, ...]], max_tokens: int | None, tokens_per_piece: float
) -> tuple[list[tuple[str, ...]], bool]:
    """The texts' pieces up to the request's token limit, and whether that cut anything off."""
    room = sum(map(len, texts)) if max_tokens is None else int(max_tokens / tokens_per_piece)
    out, cut = [], False
    for pieces in texts:
        out.append(pieces[:room])
        cut = cut or room < len(pieces)
        room = max(room - len(pieces), 0)
    return out, cut
