"""Names of settings by role: those of the default STT, LLM and TTS."""

from __future__ import annotations

from labkit.settings.table import SETTINGS


def link(role: str, part: str) -> str:
    """The setting of a role's link: ``link("tts", "rtt_s")``."""
    return f"links.{_provider(role)}.{part}"


def figure(role: str, name: str) -> str:
    """The setting of a parameter in a role's profile: ``figure("llm", "first_token")``."""
    provider = _provider(role)
    model = SETTINGS[f"{role}.provider"].plugins[provider]["model"]
    return f"providers.{provider}.models.{model}.{name}"


def _provider(role: str) -> str:
    return str(SETTINGS[f"{role}.provider"].default)
