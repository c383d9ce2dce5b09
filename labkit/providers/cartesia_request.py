"""What a client may ask of Cartesia, and how it is refused."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.providers.profile import Profile
from labkit.providers.voice import Pcm

_RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)


class Refused(Exception):
    """A request the service answers with an error."""

    def __init__(self, status: int, code: str, title: str, message: str) -> None:
        super().__init__(f"{title}: {message}")
        self.status, self.code, self.title, self.message = status, code, title, message

    def body(self) -> dict[str, Any]:
        """The fields of the error object."""
        return {"error_code": self.code, "title": self.title, "message": self.message}


@dataclass(frozen=True)
class Wanted:
    """What a request asks for, apart from its text."""

    model: str
    rate_hz: int
    encoding: str
    container: str
    timestamps: bool
    buffer_s: float

    @classmethod
    def parse(cls, message: Mapping[str, Any], profile: Profile, *, streaming: bool) -> Wanted:
        """Reads a request.

        Raises:
            Refused: with the service's error.
        """
        model = _known_model(str(message.get("model_id") or ""), profile)
        _check_voice(message.get("voice"))
        form = message.get("output_format") or {}
        container = str(form.get("container", "raw"))
        encoding = str(form.get("encoding", "pcm_s16le"))
        if container not in (("raw",) if streaming else ("raw", "wav")):
            raise _invalid("output_format", f"container {container!r} is not emulated here")
        if encoding not in ("pcm_s16le", "pcm_f32le") or (container, encoding[4:]) == (
            "wav",
            "f32le",
        ):
            raise _invalid("output_format", f"encoding {encoding!r} is not emulated here")
        rate_hz = form.get("sample_rate", 0)
        if rate_hz not in _RATES_HZ:
            raise _invalid("output_format", f"sample_rate must be one of {_RATES_HZ}")
        default_ms = profile.value("contexts", "max_buffer_delay_ms")
        delay_ms = message.get("max_buffer_delay_ms", default_ms)
        if not isinstance(delay_ms, (int, float)) or not 0 <= delay_ms <= 5000:
            raise _invalid("max_buffer_delay_ms", "it must be from 0 to 5000")
        return cls(
            model=model,
            rate_hz=rate_hz,
            encoding=encoding,
            container=container,
            timestamps=bool(message.get("add_timestamps", False)),
            buffer_s=delay_ms / 1000,
        )

    def encode(self, pcm: Pcm) -> bytes:
        """Samples as they go over the wire."""
        if self.encoding == "pcm_f32le":
            return (pcm.astype("<f4") / 32768).tobytes()
        return pcm.tobytes()


def _invalid(field: str, why: str) -> Refused:
    return Refused(400, f"invalid_{field}", f"Invalid {field}", f"{field}: {why}.")


def _known_model(model: str, profile: Profile) -> str:
    known = profile.names("models")
    for name in sorted(known, key=len, reverse=True):  # dated snapshots follow their model
        if model == name or model.startswith(name + "-"):
            return name
    raise Refused(
        400,
        "model_not_found",
        "Invalid model",
        f"The model {model!r} is not valid, make sure it is a valid model ID. "
        f"Emulated here: {', '.join(known)}.",
    )


def _check_voice(voice: object) -> None:
    if isinstance(voice, Mapping):
        if voice.get("mode") == "embedding" and isinstance(voice.get("embedding"), list):
            return
        try:
            uuid.UUID(str(voice.get("id")))
            return
        except ValueError:
            pass
    raise Refused(
        400,
        "voice_not_found",
        "Invalid voice",
        "The voice is not valid, make sure it is a valid voice ID.",
    )


def too_many() -> Refused:
    """More at once than the plan allows."""
    return Refused(
        429,
        "concurrency_limited",
        "Too many concurrent requests",
        "You have exceeded your plan's concurrency limit.",
    )
