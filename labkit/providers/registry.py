"""The emulated providers behind the tunnel's host names."""

from __future__ import annotations

from labkit.providers.anthropic import AnthropicEmulator
from labkit.providers.cartesia import CartesiaEmulator
from labkit.providers.deepgram import DeepgramEmulator
from labkit.providers.openai import OpenAIEmulator
from labkit.providers.server import Emulator

EMULATORS: dict[str, type[Emulator]] = {
    "anthropic": AnthropicEmulator,
    "cartesia": CartesiaEmulator,
    "deepgram": DeepgramEmulator,
    "openai": OpenAIEmulator,
}
"""Every emulated provider by name."""
