"""The emulated providers behind the tunnel's host names."""

from __future__ import annotations

from labkit.providers.anthropic.service import AnthropicEmulator
from labkit.providers.cartesia.service import CartesiaEmulator
from labkit.providers.deepgram.service import DeepgramEmulator
from labkit.providers.openai.service import OpenAIEmulator
from labkit.providers.server import Emulator

EMULATORS: dict[str, type[Emulator]] = {
    "anthropic": AnthropicEmulator,
    "cartesia": CartesiaEmulator,
    "deepgram": DeepgramEmulator,
    "openai": OpenAIEmulator,
}
"""Every emulated provider by name; a further one is one more line here."""
