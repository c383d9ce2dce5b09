"""What a client may ask of Cartesia, and how it is refused."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from labkit.providers.profile import Profile
from labkit.providers.server import RequestError
from labkit.providers.tts import Options

_RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)


def refused(status: int, code: str, title: str, message: str) -> RequestError:
    """A request the service answers with an error."""
    return RequestError(status, message, code, title=title)


def error_body(error: RequestError) -> dict[str, Any]:
    """The fields of the service's error object."""
    return {"error_code": error.code, **error.fields, "message": error.message}


def parse(message: Mapping[str, Any], profile: Profile, *, streaming: bool) -> Options:
    """Reads a request.

    Raises:
        RequestError: with the service's error.
    """
    model = _known_model(str(message.get("model_id") or ""), profile)
    _check_voice(message.get("voice"))
    form = message.get("output_format") or {}
    container = str(form.get("container", "raw"))
    encoding = str(form.get("encoding", "pcm_s16le"))
    if container not in (("raw",) if streaming else ("raw", "wav")):
        raise _invalid("output_format", f"container {container!r} is not emulated here")
    if encoding not in ("pcm_s16le", "pcm_f32le") or (container, encoding) == ("wav", "pcm_f32le"):
        raise _invalid("output_format", f"encoding {encoding!r} is not emulated here")
    rate_hz = form.get("sample_rate", 0)
    if rate_hz not in _RATES_HZ:
        raise _invalid("output_format", f"sample_rate must be one of {_RATES_HZ}")
    delay_ms = message.get("max_buffer_delay_ms", profile.value("contexts", "max_buffer_delay_ms"))
    if not isinstance(delay_ms, (int, float)) or not 0 <= delay_ms <= 5000:
        raise _invalid("max_buffer_delay_ms", "it must be from 0 to 5000")
    timestamps = bool(message.get("add_timestamps", False))
    return Options(model, rate_hz, encoding, container, timestamps, delay_ms / 1000)


def _invalid(field: str, why: str) -> RequestError:
    return refused(400, f"invalid_{field}", f"Invalid {field}", f"{field}: {why}.")


def _known_model(model: str, profile: Profile) -> str:
    known = profile.names("models")
    for name in sorted(known, key=len, reverse=True):  # dated snapshots follow their model
        if model == name or model.startswith(name + "-"):
            return name
    raise refused(
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
    raise refused(
        400,
        "voice_not_found",
        "Invalid voice",
        "The voice is not valid, make sure it is a valid voice ID.",
    )


def too_many() -> RequestError:
    """More at once than the plan allows."""
    return refused(
        429,
        "concurrency_limited",
        "Too many concurrent requests",
        "You have exceeded your plan's concurrency limit.",
    )
