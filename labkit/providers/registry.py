"""The emulated providers behind the tunnel's host names."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.providers.server import Emulator

PROVIDERS = {
    "anthropic": "labkit.providers.anthropic.service:AnthropicEmulator",
    "cartesia": "labkit.providers.cartesia.service:CartesiaEmulator",
    "deepgram": "labkit.providers.deepgram.service:DeepgramEmulator",
    "openai": "labkit.providers.openai.service:OpenAIEmulator",
}
"""Where each provider's emulator lives; a further one is one more line here."""


def key_variable(provider: str) -> str:
    """The environment variable in which a provider's clients look for the API key."""
    return f"{provider.upper()}_API_KEY"


@functools.cache
def emulators() -> dict[str, type[Emulator]]:
    """Every emulator by the provider's name. Loads them all, which takes a server's imports."""
    homes = {name: home.partition(":") for name, home in PROVIDERS.items()}
    return {name: getattr(importlib.import_module(m), c) for name, (m, _, c) in homes.items()}
