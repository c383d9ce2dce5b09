"""What happens at the emulated providers, one class per kind of event.

Providers log these objects and measurements read them, by role and kind and never by a provider's
name, so a further provider is measured as soon as it logs what its role demands:

* an STT logs :class:`Connected` (with its price), :class:`EagerEndOfTurn`, :class:`TurnResumed`;
* an LLM logs :class:`Request`, :class:`FirstToken` and :class:`Completed` or :class:`Cancelled`;
* a TTS logs :class:`Connected`, :class:`Text`, :class:`Voiced` and :class:`FirstAudio`.

All other events tell a reader of the log more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from labkit.world.clips import Word
from labkit.world.request_role import RequestRole


class Role(StrEnum):
    """What a host does for the agent."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    EMBEDDINGS = "embeddings"
    COLLECTOR = "collector"
    """Takes an agent's traces."""
    TURNS = "turns"
    """Judges turns: whether one is over, whether a caller interrupts."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events have; the log fills in all but ``usd``.

    Attributes:
        t_s: When it happened at the provider: loop time in the log, seconds from the start of the
            call in its record.
        role: What the provider does for the agent.
        provider: Its name, for provenance only.
        one_way_s: Propagation delay between the agent and the provider, known in the record,
            seconds.
        usd: What the provider charges for it, US dollars.
    """

    t_s: float = 0.0
    role: Role | None = None
    provider: str = ""
    one_way_s: float = 0.0
    usd: float = 0.0

    @property
    def sent_s(self) -> float:
        """When what caused it left the agent, seconds."""
        return self.t_s - self.one_way_s

    @property
    def arrives_s(self) -> float:
        """When the agent learns of it, seconds."""
        return self.t_s + self.one_way_s


@dataclass(frozen=True, kw_only=True)
class Connected(Event):
    """A WebSocket has been opened.

    Attributes:
        model: The model asked for, where the address names it.
        request_id: The provider's id of the connection.
        usd_per_minute: What a minute of the open socket costs, US dollars.
    """

    model: str = ""
    request_id: str = ""
    usd_per_minute: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Disconnected(Event):
    """A WebSocket has been closed, with the client's code; ``audio_s`` came in ``open_s``."""

    code: int | None
    audio_s: float = 0.0
    open_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Refused(Event):
    """A request was answered with an error: HTTP status, the provider's code and message."""

    status: int
    code: str | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Assumed(Event):
    """Something was emulated in a way that no source states, to be said with every result."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Unheeded(Event):
    """An option of a request that is not emulated, though it may matter: its name and value."""

    option: str
    value: str

    @property
    def text(self) -> str:
        """What the run's notes say of it."""
        return f"not emulated: {self.option}={self.value} of {self.provider}"


# speech to text


@dataclass(frozen=True, kw_only=True)
class _Heard(Event):
    """A message about the speech so far.

    Attributes:
        text: The words in it.
        audio_end_s: End of the last word, seconds of received audio.
        confidence: That the turn is over (0 to 1), where the model tells.
    """

    text: str
    audio_end_s: float
    confidence: float = 0.0


class SpeechStarted(_Heard):
    """Speech began."""


class Interim(_Heard):
    """Words that may still change."""


class EagerEndOfTurn(_Heard):
    """The turn is probably over; taken back by :class:`TurnResumed`."""


class TurnResumed(_Heard):
    """The turn goes on after all."""


@dataclass(frozen=True, kw_only=True)
class Transcript(_Heard):
    """Words that no longer change; ``speech_final`` if speech or the turn ended with them."""

    speech_final: bool


# language models


@dataclass(frozen=True, kw_only=True)
class Request(Event):
    """A request was admitted.

    Attributes:
        id: Names it in the events that follow; unique within a study.
        model: The model's name in the profile.
        prompt_tokens: Length of the whole prompt.
        cached_tokens: The part of it read from the prompt cache.
        last_user: The last user message.
        connection_requests: Which request it is on its TCP connection, from 1.
        request_role: What it is for.
        kind: How the answer was found; see :class:`labkit.providers.conversation.Answer`.
        dialogue: The dialogue it was found in, if any.
        tools: Names of the functions offered.
        stream: Whether a stream was asked for.
        service_tier: The tier that serves it.
    """

    id: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    connection_requests: int
    last_user: str = ""
    request_role: RequestRole = RequestRole.REPLY
    kind: str = ""
    dialogue: str | None = None
    tools: tuple[str, ...] = ()
    stream: bool = True
    service_tier: str = ""


@dataclass(frozen=True, kw_only=True)
class FirstToken(Event):
    """The first ``tokens`` of the answer to request ``id`` left.

    ``pace`` says when the rest leaves: pairs of seconds after the first token and how many
    characters of the answer's text have left by then.
    """

    id: str
    tokens: int = 1
    pace: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """A request is done with.

    Attributes:
        id: Which one.
        output_tokens: Tokens generated until then.
        text: The whole answer; empty if it was cut off, or calls tools.
        tool_calls: Name and arguments of each function called.
        finish_reason: Why it ended, in the provider's words.
    """

    id: str
    output_tokens: int
    text: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str = ""


class Completed(Ended):
    """The whole answer left."""


class Cancelled(Ended):
    """The client went away before the end of the answer."""


@dataclass(frozen=True, kw_only=True)
class Embedded(Event):
    """Texts were asked to be embedded."""

    model: str
    prompt_tokens: int
    inputs: int


# text to speech


@dataclass(frozen=True, kw_only=True)
class Text(Event):
    """Text to be spoken arrived: ``characters`` are charged for.

    Attributes:
        context: Names the utterance.
        text: As it came.
        characters: How many are charged for.
        model: The model asked for.
    """

    context: str
    text: str
    characters: int
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Voiced(Event):
    """The sound of a piece of text was made: its words, timed from the utterance's first sample."""

    context: str
    words: tuple[Word, ...]


@dataclass(frozen=True, kw_only=True)
class FirstAudio(Event):
    """The first audio of an utterance left."""

    context: str


@dataclass(frozen=True, kw_only=True)
class _Spoken(Event):
    """An utterance is over, after ``audio_s`` seconds of audio."""

    context: str
    audio_s: float


class AudioDone(_Spoken):
    """All audio of an utterance left."""


class AudioCut(_Spoken):
    """The client went away before the end of an utterance."""


class ContextExpired(_Spoken):
    """No text came in time for an utterance that could have gone on."""


# turns


@dataclass(frozen=True, kw_only=True)
class Scored(Event):
    """Whether a turn is over was asked, and is answered ``took_s`` later with ``probability``."""

    probability: float
    took_s: float


@dataclass(frozen=True, kw_only=True)
class Overlap(Event):
    """Speech over the agent was judged: whether it is taken for an interruption."""

    text: str
    interrupts: bool


# traces


@dataclass(frozen=True, kw_only=True)
class Spans(Event):
    """A batch of an agent's spans: name, id, parent, begin and end (ns), and some attributes."""

    spans: tuple[Mapping[str, Any], ...]


class EventLog:
    """What happened at the providers in one call, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: Event, t_s: float, role: Role, provider: str) -> None:
        """Takes down an event that happened at the loop time ``t_s``."""
        self.events.append(replace(event, t_s=t_s, role=role, provider=provider))

    def recorded(self, began_s: float, one_way_s: Mapping[str, float]) -> list[Event]:
        """The events on the clock of a call.

        Args:
            began_s: When the call began, loop time.
            one_way_s: Propagation delay to each provider, by name.
        """
        return [
            replace(e, t_s=e.t_s - began_s, one_way_s=one_way_s.get(e.provider, 0.0))
            for e in sorted(self.events, key=lambda e: e.t_s)  # behind a gateway some are later
        ]
