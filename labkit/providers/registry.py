"""The emulated providers behind the tunnel's host names."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from labkit.providers.server import Emulator


class Entry(NamedTuple):
    """What is known of a provider before it is loaded.

    Attributes:
        emulator: ``module:class`` of its emulator.
        packages: Distributions of its clients, the LiveKit plugin first.
    """

    emulator: str
    packages: tuple[str, ...]


_HERE = "labkit.providers"
PROVIDERS = {
    "anthropic": Entry(
        f"{_HERE}.anthropic.service:AnthropicEmulator", ("livekit-plugins-anthropic", "anthropic")
    ),
    "cartesia": Entry(f"{_HERE}.cartesia.service:CartesiaEmulator", ("livekit-plugins-cartesia",)),
    "deepgram": Entry(f"{_HERE}.deepgram.service:DeepgramEmulator", ("livekit-plugins-deepgram",)),
    "openai": Entry(f"{_HERE}.openai.service:OpenAIEmulator", ("livekit-plugins-openai", "openai")),
}
"""Every emulated provider by name; a further one is one more entry here."""


def key_variable(provider: str) -> str:
    """The environment variable in which a provider's clients look for the API key."""
    return f"{provider.upper()}_API_KEY"


@functools.cache
def emulators() -> dict[str, type[Emulator]]:
    """Every emulator by the provider's name. Loads them all, which takes a server's imports."""
    found = {}
    for name, entry in PROVIDERS.items():
        module, _, cls = entry.emulator.partition(":")
        found[name] = getattr(importlib.import_module(module), cls)
    return found
