"""What a client may ask of ElevenLabs' speech synthesis, and how it is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from labkit.errors import one_of
from labkit.providers.bodies import Flaw, NotJson, checked, decoded
from labkit.providers.coding import mp3_rates
from labkit.providers.profile import Profile
from labkit.providers.server import RequestError, shown
from labkit.providers.tts import Options, speed_of

_VOICE = re.compile(r"[A-Za-z0-9]{16,32}")
_PCM_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_KBIT_S = (32, 48, 64, 96, 128, 192)
_SPEEDS = (0.7, 1.2)  # ElevenLabs, voice settings
_COMPANDED = {"ulaw_8000": "pcm_mulaw", "alaw_8000": "pcm_alaw"}
LONGEST_TEXT = 40_000
"""Characters of a request; the most that any model takes."""
# The service ignores what it does not know.
_config = with_config(ConfigDict(extra="ignore", strict=True))


@_config
class GenerationConfig(TypedDict):
    """How much text is gathered before it is spoken."""

    chunk_length_schedule: NotRequired[list[Annotated[int, Field(ge=5, le=500)]] | None]


@_config
class Message(TypedDict):
    """A message on the multi-context socket."""

    context_id: NotRequired[Annotated[str, Field(max_length=256)] | None]
    text: NotRequired[Annotated[str, Field(max_length=LONGEST_TEXT)] | None]
    flush: NotRequired[bool | None]
    close_context: NotRequired[bool | None]
    close_socket: NotRequired[bool | None]
    voice_settings: NotRequired[dict[str, Any] | None]
    generation_config: NotRequired[GenerationConfig | None]


@_config
class Generate(TypedDict):
    """A request for one recording."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
    model_id: NotRequired[str]
    voice_settings: NotRequired[dict[str, Any] | None]
    language_code: NotRequired[str | None]


_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
_GENERATE: TypeAdapter[Generate] = TypeAdapter(Generate)


def refused(status: int, code: str, message: str) -> RequestError:
    """A request the service answers with an error."""
    return RequestError(status, message, code)


def _read(raw: bytes | str, schema: TypeAdapter[Any]) -> Any:
    def refusal_of(flaw: Flaw) -> RequestError:
        at = shown(".".join(map(str, flaw.at)) or "message")
        return refused(422, "invalid_request", f"{at}: {flaw.text}")

    try:
        body = decoded(raw)
    except NotJson as error:
        raise refused(422, "invalid_json", f"It is not JSON: {error}.") from None
    return checked(schema, body, refusal_of)


def message(raw: bytes | str) -> Message:
    """A message on the socket.

    Raises:
        RequestError: it is none.
    """
    read: Message = _read(raw, _MESSAGE)
    return read


def generate(raw: bytes) -> Generate:
    """The body of a request for one recording.

    Raises:
        RequestError: it is none.
    """
    read: Generate = _read(raw, _GENERATE)
    return read


def options(query: Mapping[str, str], model: str, profile: Profile) -> Options:
    """How the speech shall sound.

    Args:
        query: The query of the address.
        model: The model asked for.
        profile: Which models there are.

    Raises:
        RequestError: with the service's error.
    """
    known = profile.names("models")
    if model not in known:
        raise refused(
            400,
            "model_not_found",
            f"A model with model ID {shown(model)} does not exist; {one_of(model, known)}",
        )
    asked = query.get("output_format", "mp3_44100_128")
    timestamps = query.get("sync_alignment", "false") == "true"
    if asked in _COMPANDED:
        return Options(model, 8_000, _COMPANDED[asked], timestamps=timestamps)
    kind, *figures = asked.split("_")
    if all(f.isascii() and f.isdigit() and len(f) < 7 for f in figures):
        match kind, *map(int, figures):
            case "pcm", int(rate_hz) if rate_hz in _PCM_HZ:
                return Options(model, rate_hz, timestamps=timestamps)
            case "mp3", int(rate_hz), int(kbit_s) if rate_hz in mp3_rates() and kbit_s in _KBIT_S:
                return Options(model, rate_hz, "mp3", timestamps=timestamps, bit_rate=1000 * kbit_s)
    raise refused(
        400,
        "invalid_output_format",
        f"output_format {shown(asked)} is not emulated here; ask for mp3_RATE_KBITS, pcm_RATE, "
        "ulaw_8000 or alaw_8000",
    )


def at_speed(asked: Options, settings: Mapping[str, Any] | None) -> Options:
    """The same, as fast as the settings of the voice say.

    Raises:
        RequestError: it is no speed that the service has.
    """
    given = (settings or {}).get("speed")
    speed = speed_of(given, *_SPEEDS)
    if speed is None:
        text = "voice_settings.speed {} must be from {} to {}".format(shown(given), *_SPEEDS)
        raise refused(400, "invalid_voice_settings", text)
    return replace(asked, speed=speed)


def check_voice(voice: str) -> None:
    """Refuses what cannot be the id of a voice.

    Raises:
        RequestError: it cannot.
    """
    if not _VOICE.fullmatch(voice):
        raise refused(
            404, "voice_not_found", f"A voice with voice_id {shown(voice)} was not found."
        )
