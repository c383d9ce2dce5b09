"""What a client may ask of Deepgram: in the address, and in messages on the socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from labkit.providers import tokens
from labkit.providers.bodies import FailFast, Flaw, checked, strictly
from labkit.providers.server import RequestError, shown

_MOST_KEYTERM_TOKENS = 500
# Encodings the true service accepts; only the first can be decoded here.
_ENCODINGS = (
    *("linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb"),
    *("opus", "ogg-opus", "speex", "g729"),
)


class BadQuery(RequestError):
    """A query, or a change to it, that the service does not accept; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        message = f"Failed to deserialize query parameters: {reason}"
        super().__init__(400, message, "INVALID_QUERY_PARAMETER")
        self.reason = reason


def _boolean(query: Mapping[str, str], name: str, default: bool) -> bool:
    value = query.get(name, str(default)).lower()
    if value not in ("true", "false"):
        raise BadQuery(f"{name}: provided string was not `true` or `false`")
    return value == "true"


def _integer(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadQuery(f"{name}: invalid digit found in string")
    if not low <= int(text) <= high:
        raise BadQuery(f"{name} must be from {low} to {high}, got {text}")
    return int(text)


def _encoding(query: Mapping[str, str], *, needed: bool) -> bool:
    """Whether raw samples will come (else a WAV stream, which says its own format)."""
    encoding = query.get("encoding", "")
    if encoding and encoding not in _ENCODINGS:
        raise BadQuery(f"encoding: unknown variant `{shown(encoding)}`")
    if encoding not in ("", "linear16"):
        raise BadQuery(f"encoding `{encoding}` exists, but this emulator decodes only linear16")
    if needed and not encoding:
        raise BadQuery("encoding is required")
    return bool(encoding)


@dataclass(frozen=True)
class ListenQuery:
    """The query of ``/v1/listen``, with the service's defaults; times in seconds."""

    model: str = "nova-3"
    raw: bool = True
    sample_rate_hz: int = 16_000
    channels: int = 1
    interim_results: bool = False
    vad_events: bool = False
    written: bool = False
    """Punctuation and capitals (``punctuate`` or ``smart_format``)."""
    filler_words: bool = False
    endpointing_s: float | None = 0.010
    """Silence that ends speech; ``None`` if switched off."""
    utterance_end_s: float | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ListenQuery:
        """Reads a query.

        Raises:
            BadQuery: with the reason the service would give.
        """
        raw = _encoding(query, needed=False)
        if raw and "sample_rate" not in query:
            raise BadQuery("sample_rate is required when encoding is linear16")
        interim = _boolean(query, "interim_results", False)
        ending = query.get("endpointing", "true").lower()
        endpointing_s: float | None = 0.010
        if ending == "false":
            endpointing_s = None
        elif ending != "true":
            endpointing_s = _integer(query, "endpointing", 10, 0, 60_000) / 1000
        utterance_end_s = None
        if "utterance_end_ms" in query:
            utterance_end_s = _integer(query, "utterance_end_ms", 1000, 1000, 60_000) / 1000
            if not interim:
                raise BadQuery("utterance_end_ms requires interim_results=true")
        return cls(
            model=query.get("model", "base-general"),
            raw=raw,
            sample_rate_hz=_integer(query, "sample_rate", 16_000, 8_000, 48_000),
            channels=_integer(query, "channels", 1, 1, 20),
            interim_results=interim,
            vad_events=_boolean(query, "vad_events", False),
            written=_boolean(query, "punctuate", False) | _boolean(query, "smart_format", False),
            filler_words=_boolean(query, "filler_words", False),
            endpointing_s=endpointing_s,
            utterance_end_s=utterance_end_s,
        )


_LIMITS = {  # name of a threshold -> the range the service accepts
    "eot_threshold": (0.5, 1.0),
    "eager_eot_threshold": (0.3, 0.9),
    "eot_timeout_ms": (500.0, 60_000.0),
}


@dataclass
class FluxQuery:
    """The query of ``/v2/listen``; the thresholds may change while the socket is open."""

    model: str = "flux-general-en"
    sample_rate_hz: int = 16_000
    eot_threshold: float = 0.7
    eager_eot_threshold: float | None = None
    eot_timeout_ms: float = 5000.0
    keyterms: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, query: Mapping[str, str], keyterms: list[str]) -> FluxQuery:
        """Reads a query.

        Raises:
            BadQuery: with the reason the service would give.
        """
        if "model" not in query:
            raise BadQuery("missing field `model`")
        _encoding(query, needed=True)
        rate_hz = _integer(query, "sample_rate", 16_000, 8_000, 48_000)
        check_keyterms(keyterms)
        asked = cls(model=query["model"], sample_rate_hz=rate_hz, keyterms=keyterms)
        asked.change({name: query[name] for name in _LIMITS if name in query})
        return asked

    def change(self, thresholds: Mapping[str, object]) -> None:
        """Sets thresholds.

        Raises:
            BadQuery: one is out of its range; then none is changed.
        """
        values: dict[str, float | None] = {}
        for name, given in thresholds.items():
            if name not in _LIMITS:
                raise BadQuery(f"unknown field `{shown(name)}`")
            if given is None and name == "eager_eot_threshold":
                values[name] = None
                continue
            low, high = _LIMITS[name]
            try:
                value = float(str(given).replace("_", "?"))
            except ValueError:
                raise BadQuery(f"{name}: invalid number `{shown(given)}`") from None
            if not low <= value <= high:
                raise BadQuery(f"{name} must be between {low:g} and {high:g}, got {value:g}")
            values[name] = value
        eager = values.get("eager_eot_threshold", self.eager_eot_threshold)
        end = values.get("eot_threshold", self.eot_threshold)
        if eager is not None and end is not None and eager > end:
            raise BadQuery("eager_eot_threshold must not exceed eot_threshold")
        for name, change in values.items():
            setattr(self, name, change)


def check_keyterms(keyterms: list[str]) -> None:
    """Refuses more keyterms than the service accepts.

    Raises:
        BadQuery: there are.
    """
    if sum(map(tokens.count, keyterms)) > _MOST_KEYTERM_TOKENS:
        raise BadQuery(
            "Keyterm limit exceeded. The maximum number of tokens across all keyterms is "
            f"{_MOST_KEYTERM_TOKENS}."
        )


@strictly
class Thresholds(TypedDict):
    """Thresholds to change; their ranges are checked by :meth:`FluxQuery.change`."""

    eot_threshold: NotRequired[float]
    eager_eot_threshold: NotRequired[float | None]
    eot_timeout_ms: NotRequired[float]


@strictly
class Configure(TypedDict):
    """The message that changes an open ``/v2/listen`` socket."""

    type: str
    thresholds: NotRequired[Thresholds]
    keyterms: NotRequired[Annotated[list[str], FailFast, Field(max_length=100)]]
    language_hints: NotRequired[Annotated[list[str], FailFast, Field(max_length=100)]]


_CONFIGURE: TypeAdapter[Configure] = TypeAdapter(Configure)


def configured(message: object) -> Configure:
    """A ``Configure`` message.

    Raises:
        BadQuery: something in it is not as it should be.
    """

    def refusal_of(flaw: Flaw) -> BadQuery:
        return BadQuery(shown(f"{'.'.join(map(str, flaw.at))}: {flaw.text}"))

    return checked(_CONFIGURE, message, refusal_of)
