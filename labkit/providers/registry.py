"""The emulated providers behind the tunnel's host names."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, NamedTuple

from labkit.providers.compatible.hosts import HOSTS

if TYPE_CHECKING:
    from labkit.providers.server import Emulator


class Entry(NamedTuple):
    """What is known of a provider before it is loaded.

    Attributes:
        emulator: ``module:class`` of its emulator; of a provider with several roles the classes of
            all, with blanks between. Those after the first find their figures in the profile's
            table of their role, such as ``[tts.models."aura-2"]``.
        packages: Distributions of its clients, the LiveKit plugin first.
        key_variables: Where its clients look for the API key; ``NAME_API_KEY`` unless given.
        host: The service's host name, which its emulator says too; ``api.NAME.com`` unless given.
        extra: The extra of labkit that installs the packages; empty if they always are.
    """

    emulator: str
    packages: tuple[str, ...]
    key_variables: tuple[str, ...] = ()
    host: str = ""
    extra: str = ""


_HERE = "labkit.providers"
PROVIDERS = {
    "anthropic": Entry(
        f"{_HERE}.anthropic.service:AnthropicEmulator", ("livekit-plugins-anthropic", "anthropic")
    ),
    "assemblyai": Entry(
        f"{_HERE}.assemblyai.service:AssemblyAIEmulator",
        ("livekit-plugins-assemblyai",),
        host="streaming.assemblyai.com",
        extra="assemblyai",
    ),
    "cartesia": Entry(
        f"{_HERE}.cartesia.service:CartesiaEmulator"
        f" {_HERE}.cartesia.recognition:CartesiaInkEmulator",
        ("livekit-plugins-cartesia",),
        host="api.cartesia.ai",
    ),
    "deepgram": Entry(
        f"{_HERE}.deepgram.service:DeepgramEmulator {_HERE}.deepgram.speech:DeepgramSpeechEmulator",
        ("livekit-plugins-deepgram",),
    ),
    "elevenlabs": Entry(
        f"{_HERE}.elevenlabs.service:ElevenLabsEmulator"
        f" {_HERE}.elevenlabs.recognition:ElevenLabsScribeEmulator",
        ("livekit-plugins-elevenlabs",),
        ("ELEVEN_API_KEY",),
        "api.elevenlabs.io",
        extra="elevenlabs",
    ),
    "livekit": Entry(
        f"{_HERE}.livekit.chat:GatewayChat {_HERE}.livekit.hear:GatewayHearing "
        f"{_HERE}.livekit.speak:GatewaySpeech {_HERE}.livekit.turns:GatewayTurns",
        (),
        ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"),
        "agent-gateway.livekit.cloud",
    ),
    "openai": Entry(
        f"{_HERE}.openai.service:OpenAIEmulator"
        f" {_HERE}.openai.speech:OpenAISpeechEmulator"
        f" {_HERE}.openai.transcription:OpenAITranscriptionEmulator",
        ("livekit-plugins-openai", "openai"),
    ),
    "google": Entry(
        f"{_HERE}.google.service:GoogleEmulator {_HERE}.google.speech:GoogleSpeechEmulator",
        ("livekit-plugins-google", "google-genai"),
        host="generativelanguage.googleapis.com",
        extra="google",
    ),
    **{
        name: Entry(
            " ".join((f"{_HERE}.compatible.service:{name}", *row.speech)),
            row.packages,
            (row.key_variable,),
            row.host,
            extra=name if row.packages else "",
        )
        for name, row in HOSTS.items()
    },
}
"""Every emulated provider by name; a further one is one more entry here."""


def key_variables(provider: str) -> tuple[str, ...]:
    """The environment variables in which a provider's clients look for the API key."""
    return PROVIDERS[provider].key_variables or (f"{provider.upper()}_API_KEY",)


def host(provider: str) -> str:
    """A provider's host name, known without loading its emulator."""
    return PROVIDERS[provider].host or f"api.{provider}.com"


@functools.cache
def emulator(provider: str) -> type[Emulator]:
    """A provider's emulator. The first time loads it, which takes a server's imports."""
    from labkit.providers.server import together

    return together(map(_loaded, PROVIDERS[provider].emulator.split()))


def emulators() -> dict[str, type[Emulator]]:
    """Every emulator by the provider's name. Loads them all."""
    return {name: emulator(name) for name in PROVIDERS}


def _loaded(named: str) -> type[Emulator]:
    module, _, cls = named.partition(":")
    found: type[Emulator] = getattr(importlib.import_module(module), cls)
    return found
