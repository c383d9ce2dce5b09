"""Groq's speech, both ways: OpenAI's requests on the compatible host, whole recordings alone.

Recognition has no stream: the plugin sends each turn that its voice activity detection cut out.
Synthesis answers with WAV. Figures stand in ``data/providers/compatible.toml`` under ``[groq]``.
"""

from __future__ import annotations

from aiohttp import web

from labkit.providers.compatible.hosts import HOSTS
from labkit.providers.openai.refusals import refused
from labkit.providers.openai.speech import OpenAISpeechEmulator, SpeechBody
from labkit.providers.openai.transcription import OpenAITranscriptionEmulator
from labkit.providers.server import Emulator
from labkit.providers.tts import Options
from labkit.world.events import Assumed

_GROQ = HOSTS["groq"]


class GroqTranscriptionEmulator(OpenAITranscriptionEmulator):
    """``api.groq.com``, recognition of whole recordings."""

    name = "groq"
    host = _GROQ.host
    base_path = _GROQ.base_path

    def routes(self) -> list[web.RouteDef]:
        """Recordings alone: this host has no socket."""
        return [web.post(f"{self.base_path}/audio/transcriptions", self._recording)]

    def known(self, model: str, *, realtime: bool) -> None:
        super().known(model, realtime=realtime)
        _tell(self, model)

    def billed_s(self, model: str, length_s: float) -> float:
        """A request costs at least some seconds."""
        return max(length_s, float(self.profile.value("models", model, "least_billed_s")))


class GroqSpeechEmulator(OpenAISpeechEmulator):
    """``api.groq.com``, synthesis."""

    name = "groq"
    host = _GROQ.host
    base_path = _GROQ.base_path
    rate_hz = 48_000  # what livekit-plugins-groq takes it for

    def _options(self, body: SpeechBody) -> Options:
        if body.get("response_format", "mp3") != "wav":
            text = "`response_format` must be one of [wav]."
            raise refused(text, "response_format", "unsupported_value")
        options = super()._options(body)
        _tell(self, options.model)
        longest = int(self.profile.value("models", options.model, "longest_characters"))
        if len(body["input"]) > longest:
            text = f"`input` must have at most {longest} characters; it has {len(body['input'])}."
            raise refused(text, "input", "string_above_max_length")
        return options


def _tell(service: Emulator, model: str) -> None:
    """Says that a model is no longer there, which older agent files still ask for."""
    if service.profile.value("models", model, "withdrawn"):
        text = f"{service.name} no longer serves {model}: it is answered at the figures of the next"
        service.log(Assumed(text=f"{text}; name a present model"))
