"""What a client may ask of Cartesia, and how it is refused."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from labkit.providers.bodies import Flaw, NotJson, checked, decoded
from labkit.providers.coding import COMPANDED
from labkit.providers.profile import Profile
from labkit.providers.server import RequestError, shown
from labkit.providers.tts import Options, speed_of

_RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)
_ENCODINGS = ("pcm_s16le", "pcm_f32le", *COMPANDED)
_SPEEDS = (0.6, 2.0)  # livekit-plugins-cartesia: what sonic-3 takes
_ALIASES = {"sonic-latest": "sonic-3", "sonic": "sonic-2"}
LONGEST_TRANSCRIPT = 20_000
"""Characters; twenty minutes of speech. The service publishes no limit."""
# The service ignores what it does not know.
_config = with_config(ConfigDict(extra="ignore", strict=True))


@_config
class OutputFormat(TypedDict):
    """What the audio shall be like."""

    container: NotRequired[str]
    encoding: NotRequired[str]
    sample_rate: NotRequired[int]
    bit_rate: NotRequired[int]


Generate = TypedDict(
    "Generate",
    {
        "model_id": str,
        "transcript": NotRequired[str | None],
        "voice": NotRequired[dict[str, Any] | None],
        "output_format": NotRequired[OutputFormat | None],
        "language": NotRequired[str | None],
        "context_id": NotRequired[Annotated[str, Field(max_length=256)] | None],
        "continue": NotRequired[bool | None],
        "flush": NotRequired[bool | None],
        "add_timestamps": NotRequired[bool | None],
        "add_phoneme_timestamps": NotRequired[bool | None],
        "use_normalized_timestamps": NotRequired[bool | None],
        "max_buffer_delay_ms": NotRequired[float | None],
        "generation_config": NotRequired[dict[str, Any] | None],
        "pronunciation_dict_id": NotRequired[str | None],
    },
)
"""A request for speech; in a dictionary, since a field is called ``continue``."""
Generate.__pydantic_config__ = ConfigDict(extra="ignore", strict=True)  # type: ignore[attr-defined]
_GENERATE: TypeAdapter[Generate] = TypeAdapter(Generate)


def refused(status: int, code: str, title: str, message: str) -> RequestError:
    """A request the service answers with an error."""
    return RequestError(status, message, code, title=title)


def error_body(error: RequestError) -> dict[str, Any]:
    """The fields of the service's error object."""
    return {"error_code": error.code, "title": "Invalid request", **error.fields} | {
        "message": error.message
    }


def _invalid(field: str, why: str) -> RequestError:
    return refused(400, f"invalid_{field}", f"Invalid {field}", f"{field}: {why}.")


def read(raw: bytes | str) -> Any:
    """A message.

    Raises:
        RequestError: it is no JSON object.
    """
    try:
        message = decoded(raw)
    except NotJson as error:
        raise refused(400, "invalid_json", "Invalid JSON", f"It is not JSON: {error}.") from None
    if not isinstance(message, dict):
        raise refused(400, "invalid_json", "Invalid JSON", "The message is not a JSON object.")
    return message


def parse(message: Any, profile: Profile, *, streaming: bool) -> tuple[Options, Generate]:
    """Reads a request for speech: how it shall sound, and the rest of it.

    Raises:
        RequestError: with the service's error.
    """
    if message.get("model_id") is None:
        raise _no_model(None, profile)
    body = checked(_GENERATE, message, _refusal_of)
    model = _known_model(body["model_id"], profile)
    _check_voice(body.get("voice"))
    form = body.get("output_format") or {}
    container, encoding = form.get("container", "raw"), form.get("encoding", "pcm_s16le")
    if container not in (("raw",) if streaming else ("raw", "wav")):
        raise _invalid("output_format", f"container {shown(container)!r} is not emulated here")
    if encoding not in _ENCODINGS or (container == "wav" and encoding != "pcm_s16le"):
        raise _invalid("output_format", f"encoding {shown(encoding)!r} is not emulated here")
    rate_hz = form.get("sample_rate", 0)
    if rate_hz not in _RATES_HZ:
        raise _invalid("output_format", f"sample_rate must be one of {_RATES_HZ}")
    delay_ms = body.get("max_buffer_delay_ms")
    if delay_ms is None:
        delay_ms = float(profile.value("contexts", "max_buffer_delay_ms"))
    if not 0 <= delay_ms <= 5000:
        raise _invalid("max_buffer_delay_ms", "it must be from 0 to 5000")
    if len(body.get("transcript") or "") > LONGEST_TRANSCRIPT:
        raise _invalid("transcript", f"at most {LONGEST_TRANSCRIPT} characters are accepted here")
    given = (body.get("generation_config") or {}).get("speed")
    speed = speed_of(given, *_SPEEDS)
    if speed is None:
        text = "speed {} must be from {} to {}".format(shown(given), *_SPEEDS)
        raise _invalid("generation_config", text)
    timestamps = bool(body.get("add_timestamps"))
    buffer_s = delay_ms / 1000
    return Options(model, rate_hz, encoding, container, timestamps, buffer_s, speed=speed), body


def _refusal_of(flaw: Flaw) -> RequestError:
    """A flaw in a message; a field's name is in the code."""
    field = str(flaw.at[0]) if flaw.at else "message"
    if field == "model_id":
        return refused(400, "model_not_found", "Invalid model", f"model_id: {flaw.text}.")
    if field == "voice":
        return _no_voice()
    path = shown(".".join(map(str, flaw.at)))
    return refused(400, f"invalid_{field}", f"Invalid {field}", f"{path}: {flaw.text}.")


def _known_model(asked: str, profile: Profile) -> str:
    """A model's name in the profile, also of a dated snapshot or of an alias."""
    if asked in _ALIASES:
        return _ALIASES[asked]
    for name in sorted(profile.names("models"), key=len, reverse=True):
        if asked == name or asked.startswith(name + "-"):
            return name
    raise _no_model(asked, profile)


def _no_model(asked: str | None, profile: Profile) -> RequestError:
    return refused(
        400,
        "model_not_found",
        "Invalid model",
        f"The model {shown(asked)!r} is not valid, make sure it is a valid model ID. "
        f"Emulated here: {', '.join(profile.names('models'))}.",
    )


def _check_voice(voice: dict[str, Any] | None) -> None:
    if voice is None:
        raise _no_voice()
    if voice.get("mode") == "embedding" and isinstance(voice.get("embedding"), list):
        return
    try:
        uuid.UUID(str(voice.get("id"))[:100])
    except ValueError:
        raise _no_voice() from None


def _no_voice() -> RequestError:
    return refused(
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
