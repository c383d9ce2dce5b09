"""The variables in which the plugins of LiveKit's agents look for their API keys.

A plugin whose provider is not emulated still asks for its key in its constructor; with one it can
be made, and what it then connects to is refused by name.
"""

from __future__ import annotations

_NAMED = (
    "ANAM", "ANTHROPIC", "ASSEMBLYAI", "ASYNCAI", "AVATARIO", "BASETEN", "BEY", "CAMB", "CARTESIA",
    "CEREBRAS", "DEEPGRAM", "DEEPSEEK", "DID", "ELEVEN", "ELEVENLABS", "FIREWORKS", "FISH",
    "GEMINI", "GLADIA", "GNANI", "GOOGLE", "GRADIUM", "GROQ", "HEDRA", "HUME", "INWORLD",
    "KEYFRAME", "LEMONSLICE", "LETTA", "LIVEAVATAR", "LMNT", "MINIMAX", "MISTRAL", "MOONSHOT",
    "MURF", "NEUPHONIC", "NVIDIA", "OPENAI", "OPENROUTER", "OVHCLOUD", "PERPLEXITY", "PHONIC",
    "RESEMBLE", "RIME", "RUNWAYML", "SAMBANOVA", "SARVAM", "SIMLI", "SIMPLISMART", "SLNG",
    "SMALLEST", "SONIOX", "SPATIALREAL", "SPEECHIFY", "SPEECHMATICS", "SPITCH", "TAVUS", "TELNYX",
    "TOGETHER", "TRUGEN", "ULTRAVOX", "UPLIFTAI", "XAI",
)  # fmt: skip
"""Plugins and hosts whose variable is NAME_API_KEY."""

_OTHERS = (
    "AZURE_OPENAI_API_KEY", "AZURE_SPEECH_KEY", "BITHUMAN_API_SECRET", "CLOVA_STT_SECRET_KEY",
    "FAL_KEY", "NEUPHONIC_API_TOKEN",
)  # fmt: skip

PLUGIN_KEYS = (*(f"{name}_API_KEY" for name in _NAMED), *_OTHERS)
"""Every variable that is known to hold a plugin's key."""
