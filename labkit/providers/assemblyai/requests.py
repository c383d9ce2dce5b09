"""What a client may ask of AssemblyAI's streaming recognition, and how it is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from labkit.errors import one_of
from labkit.providers.profile import Profile
from labkit.providers.server import RequestError, shown

INVALID, DURATION, EXPIRED, TOO_MANY, UNAUTHORIZED = 3006, 3007, 3008, 3009, 1008
"""Close codes of the service."""
_TEXTS = ("prompt", "agent_context", "keyterms_prompt", "language_codes", "domain", "mode")
LONGEST_CONTEXT = 1750
"""Characters of a prompt or of an agent's context."""


def closing(code: int, reason: str) -> RequestError:
    """An error after which the service closes the socket with ``code``."""
    return RequestError(400, reason, str(code))


@dataclass(frozen=True)
class Asked:
    """The query of ``/v3/ws``; what :meth:`change` names may change while the socket is open.

    Attributes:
        model: The model's name in the profile.
        sample_rate_hz: Of the audio.
        format_turns: Whether an older model says each finished turn again, as written.
        min_silence_s: Silence after which an end of the turn is looked for.
        max_silence_s: Silence that ends the turn in any case.
        threshold: Confidence from which an older model takes a turn for over (0 to 1).
        early_s: Speech after which a newer model first says what it has heard, seconds.
        continuous: Whether a newer model says so again while a turn goes on.
    """

    model: str
    sample_rate_hz: int
    format_turns: bool
    min_silence_s: float
    max_silence_s: float
    threshold: float
    early_s: float
    continuous: bool

    @classmethod
    def parse(cls, query: Mapping[str, str], profile: Profile) -> Asked:
        """Reads a query.

        Raises:
            RequestError: with the code and the reason the service would close with.
        """
        known, model = profile.names("models"), query.get("speech_model", "")
        if model not in known:
            raise closing(INVALID, f"speech_model {shown(model)!r} {one_of(model, known)}")
        encoding = query.get("encoding", "pcm_s16le")
        if encoding != "pcm_s16le":
            raise closing(INVALID, f"encoding {shown(encoding)!r}: only pcm_s16le is decoded here")

        def default(name: str) -> Any:
            return profile.value("models", model, name)

        asked = cls(
            model=model,
            sample_rate_hz=int(_number("sample_rate", query.get("sample_rate"), 8_000, 48_000)),
            format_turns=_flag("format_turns", query.get("format_turns", "false")),
            min_silence_s=default("min_turn_silence_s"),
            max_silence_s=default("max_turn_silence_s"),
            threshold=default("end_of_turn_confidence_threshold"),
            early_s=default("early_partial_s"),
            continuous=True,
        )
        return asked.change({name: query[name] for name in _CHANGES if name in query})

    def change(self, wanted: Mapping[str, Any]) -> Asked:
        """The same with other values, as ``UpdateConfiguration`` names them.

        Raises:
            RequestError: one of them is not as it should be.
        """
        changes: dict[str, Any] = {}
        for name, given in wanted.items():
            if name in _NUMBERS:
                field, low, high, unit = _NUMBERS[name]
                changes[field] = _number(name, given, low, high) / unit
            elif name == "continuous_partials":
                changes["continuous"] = _flag(name, given)
            elif name == "interruption_delay":
                # the first partial comes 250 ms after the delay: 750 ms by default
                changes["early_s"] = 0.25 + _number(name, given, 0, 1_000) / 1000
            elif name in _TEXTS and len(json.dumps(given)) > LONGEST_CONTEXT + 2:
                raise closing(
                    INVALID, f"{name} exceeds maximum length of {LONGEST_CONTEXT} characters"
                )
        return replace(self, **changes)


_NUMBERS = {  # name on the wire -> field, range, units of it in one of ours
    "min_turn_silence": ("min_silence_s", 0, 60_000, 1000),
    "min_end_of_turn_silence_when_confident": ("min_silence_s", 0, 60_000, 1000),
    "max_turn_silence": ("max_silence_s", 0, 60_000, 1000),
    "end_of_turn_confidence_threshold": ("threshold", 0, 1, 1),
}
_CHANGES = (*_NUMBERS, "continuous_partials", "interruption_delay", *_TEXTS)


def _number(name: str, given: Any, low: float, high: float) -> float:
    try:
        value = float(str(given).replace("_", "?"))
    except ValueError:
        raise closing(INVALID, f"{name}={shown(given)} is not a number") from None
    if not low <= value <= high:
        raise closing(INVALID, f"{name}={value:g} must be from {low:g} to {high:g}")
    return value


def _flag(name: str, given: Any) -> bool:
    text = str(given).lower()
    if text not in ("true", "false"):
        raise closing(INVALID, f"{name}={shown(given)} must be true or false")
    return text == "true"
