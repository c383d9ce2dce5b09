"""Which options of a request are acted on, which cannot matter here, and what is said of others.

An option that a client sends is read by the provider's emulator, or is without effect on when
things happen, or stands in no table: then the run's notes tell of it once, so that nobody takes its
effect for measured. What stands below is what the LiveKit plugins of ``constraints.txt`` can send.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from labkit.providers.server import Emulator, shown
from labkit.world.events import Unheeded

_LONGEST_SHOWN = 60
_OFF: tuple[Any, ...] = (None, False, "", "false", "False", [], {})
"""What asks for nothing."""

WRITING = "the same words are written otherwise, at the same time"
KNOWN = "callers' words are known, so a recogniser needs no help with them"
CONTRACT = "what the provider keeps or how it bills says nothing of when it answers"
SOUND = "how the voice sounds, not how long it speaks"
LABELS = "words get labels that the session does not read"


class Options(NamedTuple):
    """The options of one kind of request.

    Attributes:
        acted: Those that the emulator reads.
        harmless: Those without effect on what is measured: why.
        usual: Values that ask for what is emulated anyway.
    """

    acted: frozenset[str]
    harmless: Mapping[str, str]
    usual: Mapping[str, tuple[Any, ...]] = {}


def _options(acted: str, usual: Mapping[str, tuple[Any, ...]] = {}, **harmless: str) -> Options:
    return Options(
        frozenset(acted.split()),
        {name: why for names, why in _REASONS.items() for name in harmless.get(names, "").split()},
        usual,
    )


_REASONS = {
    "writing": WRITING, "known": KNOWN, "contract": CONTRACT, "sound": SOUND, "labels": LABELS,
}  # fmt: skip

OPTIONS: dict[str, Options] = {
    "assemblyai.stt": _options(
        "sample_rate encoding speech_model format_turns continuous_partials interruption_delay"
        " end_of_turn_confidence_threshold min_turn_silence max_turn_silence"
        " min_end_of_turn_silence_when_confident token",
        known="keyterms_prompt language_detection language_codes prompt agent_context"
        " previous_context_n_turns domain",
        labels="speaker_labels max_speakers",
    ),
    "cartesia.stt": _options(
        "model encoding sample_rate turn_start_threshold turn_eager_end_threshold"
        " turn_end_threshold turn_end_timeout_ms api_key cartesia_version",
        known="language",
    ),
    "cartesia.tts": _options(
        "model_id transcript output_format context_id continue flush add_timestamps"
        " max_buffer_delay_ms generation_config.speed voice.mode voice.id voice.embedding",
        known="language",
        sound="generation_config.emotion generation_config.volume pronunciation_dict_id"
        " voice.__experimental_controls.emotion",
        labels="use_normalized_timestamps",
    ),
    "compatible.chat": _options("", writing="reasoning_format", contract="usage"),
    "deepgram.stt": _options(
        "model encoding sample_rate channels interim_results vad_events punctuate smart_format"
        " filler_words endpointing utterance_end_ms",
        writing="no_delay profanity_filter numerals dictation version",
        known="keywords keyterm language detect_language",
        contract="mip_opt_out tag",
        labels="diarize",
    ),
    "deepgram.flux": _options(
        "model encoding sample_rate eot_threshold eager_eot_threshold eot_timeout_ms",
        writing="profanity_filter numerals",
        known="keyterm language_hint",
        contract="mip_opt_out tag",
    ),
    "deepgram.tts": _options(
        "model encoding sample_rate container speed text", contract="mip_opt_out tag"
    ),
    "elevenlabs.stt": _options(
        "file model_id audio_format commit_strategy vad_silence_threshold_secs include_timestamps"
        " include_language_detection token",
        known="language_code keyterms",
        labels="tag_audio_events",
        contract="enable_logging",
    ),
    "elevenlabs.tts": _options(
        "text model_id output_format sync_alignment auto_mode inactivity_timeout"
        " voice_settings.speed generation_config.chunk_length_schedule context_id flush"
        " close_context close_socket xi-api-key authorization",
        usual={
            "apply_text_normalization": ("auto", "off"),
            "optimize_streaming_latency": ("0", 0),
            "voice_settings.style": (0, 0.0),
        },
        known="language_code",
        sound="voice_settings.stability voice_settings.similarity_boost"
        " pronunciation_dictionary_locators",
        contract="enable_logging",
    ),
    "openai.stt": _options(
        "file model response_format",
        writing="temperature",
        known="language languages languages[] keywords keywords[] prompt",
    ),
    "openai.realtime": _options(
        "type audio.input.transcription.model audio.input.turn_detection.silence_duration_ms"
        " audio.input.format.type audio.input.format.rate",
        usual={
            "audio.input.turn_detection.type": ("server_vad",),
            "audio.input.turn_detection.threshold": (0.5,),
        },
        known="audio.input.transcription.language audio.input.transcription.languages"
        " audio.input.transcription.keywords audio.input.transcription.prompt"
        " audio.input.turn_detection.prefix_padding_ms",
    ),
    "openai.tts": _options(
        "input model response_format speed stream_format voice", sound="instructions"
    ),
    "livekit.stt.segments": _options(
        "interim_results filler_words punctuate smart_format endpointing",
        writing="no_delay profanity_filter numerals dictation",
        known="keywords keyterm keyterms language",
        contract="mip_opt_out tag",
        labels="diarize",
    ),
    "livekit.stt.words": _options(
        "eot_threshold eager_eot_threshold eot_timeout_ms",
        known="keyterm keyterms language_hint",
        contract="mip_opt_out tag",
    ),
    "livekit.stt.punctuation": _options(
        "min_turn_silence min_end_of_turn_silence_when_confident max_turn_silence",
        writing="format_turns",
        known="keyterms_prompt language_detection prompt agent_context previous_context_n_turns"
        " domain",
        labels="speaker_labels max_speakers",
    ),
    "livekit.stt.client": _options("", known="language prompt keywords keyterms"),
    "livekit.tts": _options(
        "add_timestamps timestamp_type",
        usual={"speed": ("normal",)},
        known="language",
        sound="emotion volume stability similarity_boost",
    ),
}
"""By provider and kind of request."""


def heed(service: Emulator, kind: str, given: Mapping[str, Any]) -> None:
    """Tells in the run's notes of each option that is not emulated.

    Args:
        service: Who was asked.
        kind: A key of :data:`OPTIONS`.
        given: The query or the body; in objects, each field counts by its dotted name.
    """
    options = OPTIONS[kind]
    for name, value in _flat(given, options):
        if name in options.acted or name in options.harmless or value in _OFF:
            continue
        if value not in options.usual.get(name, ()):
            text = value if isinstance(value, str) else json.dumps(value)
            service.log(Unheeded(option=shown(name), value=shown(text, _LONGEST_SHOWN)))


def _flat(given: Mapping[str, Any], options: Options, at: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in given.items():
        name = f"{at}{key}"
        known = name in options.acted or name in options.harmless
        if isinstance(value, Mapping) and not known:
            found += _flat(value, options, f"{name}.")
        else:
            found.append((name, value))
    return found
