"""Which hosts speak OpenAI's chat protocol, and where their clients look for the API key.

Their models and figures stand in ``data/providers/compatible.toml``, one table per host.
"""

from __future__ import annotations

from typing import NamedTuple


class Compatible(NamedTuple):
    """A host that speaks OpenAI's chat protocol.

    Attributes:
        host: Host name; ``*.`` stands for any name under the rest.
        base_path: What its clients put before ``/chat/completions``.
        key_variable: The environment variable with the API key.
        packages: Distributions of a client of its own.
        speech: ``module:class`` of its emulators of synthesis and recognition.
    """

    host: str
    base_path: str
    key_variable: str
    packages: tuple[str, ...] = ()
    speech: tuple[str, ...] = ()


_SPEECH = "labkit.providers.compatible.speech"

# Hosts, paths and variables are those of livekit-plugins-openai 1.8.9 (`openai.LLM.with_*`) and
# livekit-plugins-groq; Azure's path is that of openai's AsyncAzureOpenAI.
HOSTS: dict[str, Compatible] = {
    "azure": Compatible("*.openai.azure.com", "/openai", "AZURE_OPENAI_API_KEY"),
    "cerebras": Compatible("api.cerebras.ai", "/v1", "CEREBRAS_API_KEY"),
    "deepseek": Compatible("api.deepseek.com", "/v1", "DEEPSEEK_API_KEY"),
    "fireworks": Compatible("api.fireworks.ai", "/inference/v1", "FIREWORKS_API_KEY"),
    "groq": Compatible(
        "api.groq.com",
        "/openai/v1",
        "GROQ_API_KEY",
        packages=("livekit-plugins-groq",),
        speech=(f"{_SPEECH}:GroqSpeechEmulator", f"{_SPEECH}:GroqTranscriptionEmulator"),
    ),
    "openrouter": Compatible("openrouter.ai", "/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": Compatible("api.perplexity.ai", "", "PERPLEXITY_API_KEY"),
    "togetherai": Compatible("api.together.xyz", "/v1", "TOGETHER_API_KEY"),
    "xai": Compatible("api.x.ai", "/v1", "XAI_API_KEY"),
}
"""Every such host by name."""

HELPERS = {"x_ai": "xai", "together": "togetherai"}
"""Hosts whose helper in the plugin, ``openai.LLM.with_NAME``, has another name."""
