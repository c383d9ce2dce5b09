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
        emulator: ``module:class`` of its emulator; of a provider with several roles the classes of
            all, with blanks between. Those after the first find their figures in the profile's
            table of their role, such as ``[tts.models."aura-2"]``.
        packages: Distributions of its clients, the LiveKit plugin first.
        key_variables: Where its clients look for the API key; ``NAME_API_KEY`` unless given.
    """

    emulator: str
    packages: tuple[str, ...]
    key_variables: tuple[str, ...] = ()


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


def key_variables(provider: str) -> tuple[str, ...]:
    """The environment variables in which a provider's clients look for the API key."""
    return PROVIDERS[provider].key_variables or (f"{provider.upper()}_API_KEY",)


@functools.cache
def emulators() -> dict[str, type[Emulator]]:
    """Every emulator by the provider's name. Loads them all, which takes a server's imports."""
    from labkit.providers.server import together

    return {name: together(map(_loaded, e.emulator.split())) for name, e in PROVIDERS.items()}


def _loaded(named: str) -> type[Emulator]:
    module, _, cls = named.partition(":")
    found: type[Emulator] = getattr(importlib.import_module(module), cls)
    return found
