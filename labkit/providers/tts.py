"""What emulated TTS share: the sound of an utterance, its pace, its price, and the log.

The first audio of an utterance comes after a drawn delay; then chunks come at the profile's
synthesis speed. Utterances whose text arrives in pieces are in :mod:`labkit.providers.contexts`.
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from labkit.providers.profile import Profile
from labkit.providers.server import Emulator
from labkit.providers.voice import Voice
from labkit.world.clips import Pcm, Word
from labkit.world.events import AudioDone, FirstAudio, Role, Text
from labkit.world.scene import Scene


@dataclass(frozen=True)
class Options:
    """What a request asks for, apart from its text.

    Attributes:
        model: The model's name in the profile.
        rate_hz: Sample rate of the audio.
        encoding: ``pcm_s16le`` or ``pcm_f32le``.
        container: ``raw`` or ``wav``.
        timestamps: Whether the times of the words are wanted too.
        buffer_s: How long text that ends no sentence waits for more, seconds.
    """

    model: str
    rate_hz: int
    encoding: str = "pcm_s16le"
    container: str = "raw"
    timestamps: bool = False
    buffer_s: float = 0.0

    def encode(self, pcm: Pcm) -> bytes:
        """Samples as they go over the wire."""
        if self.encoding == "pcm_f32le":
            return (pcm.astype("<f4") / 32768).tobytes()
        return pcm.tobytes()


@dataclass(frozen=True)
class SpeechPace:
    """How an utterance is paced; seconds, and ``factor`` in seconds per second of audio."""

    first_audio_s: Callable[[int], float]
    """Delay of the first chunk of the n-th piece that finds the synthesis idle."""
    factor: float
    chunk_s: float
    leading_s: float
    gap_s: float


class Speech:
    """The sound of an utterance, made piece by piece."""

    def __init__(self, voice: Voice, options: Options, pace: SpeechPace) -> None:
        self.voice, self.options, self.pace = voice, options, pace
        self.samples = 0

    def add(self, text: str) -> tuple[Pcm, tuple[Word, ...]]:
        """The samples of the next piece, silence before it included, and its words.

        The words count from the start of the utterance, seconds.
        """
        rate_hz = self.options.rate_hz
        sound = self.voice.say(text, rate_hz)
        silence_s = self.pace.gap_s if self.samples else self.pace.leading_s
        silence = np.zeros(round(silence_s * rate_hz), np.int16)
        shift_s = (self.samples + len(silence)) / rate_hz
        pcm = np.concatenate((silence, sound.pcm))
        self.samples += len(pcm)
        return pcm, tuple(
            Word(w.text, round(w.start_s + shift_s, 3), round(w.end_s + shift_s, 3))
            for w in sound.words
        )

    def chunks(self, pcm: Pcm) -> Iterator[Pcm]:
        """The samples in chunks of the profile's length."""
        size = round(self.pace.chunk_s * self.options.rate_hz)
        for i in range(0, len(pcm), size):
            yield pcm[i : i + size]


class TTSEmulator(Emulator):
    """Base of the emulated TTS.

    The profile holds ``first_audio``, ``real_time_factor`` and ``usd_per_1k_characters`` of every
    model, and ``chunk_s``, ``leading_silence`` and ``sentence_gap_s`` under ``audio``.
    """

    role = Role.TTS

    def __init__(
        self,
        profile: Profile,
        scene: Callable[[], Scene],
        *,
        api_keys: frozenset[str] | None = None,
        voice: Voice | None = None,
    ) -> None:
        """Makes an emulator.

        Args:
            profile: Delays, limits and prices.
            scene: Gives the call in progress now.
            api_keys: Keys that are accepted; ``None`` accepts any key that is not empty.
            voice: Speaks; by default the corpus' sentences, and a hum for any other.
        """
        super().__init__(profile, scene, api_keys=api_keys)
        self.voice = voice or Voice()

    def log_text(self, context: str, model: str, text: str) -> None:
        """Takes down text that is to be spoken, and what it costs."""
        price = float(self.profile.value("models", model, "usd_per_1k_characters"))
        usd = len(text) * price / 1000
        self.log(Text(context=context, text=text, characters=len(text), usd=usd))

    def speech(self, options: Options, purpose: str) -> Speech:
        """A fresh utterance with its random draws."""
        nth = self.nth("utterance", purpose)

        def first_audio_s(piece: int) -> float:
            key = (purpose, nth, piece)
            return self.draw("models", options.model, "first_audio", purpose="first_audio", key=key)

        pace = SpeechPace(
            first_audio_s=first_audio_s,
            factor=float(self.profile.value("models", options.model, "real_time_factor")),
            chunk_s=float(self.profile.value("audio", "chunk_s")),
            leading_s=self.draw(
                "audio", "leading_silence", purpose="leading_silence", key=(purpose, nth)
            ),
            gap_s=float(self.profile.value("audio", "sentence_gap_s")),
        )
        return Speech(self.voice, options, pace)

    async def speak(
        self, request: web.Request, options: Options, text: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answers one HTTP request with the audio of its text, each chunk when it is due."""
        loop = asyncio.get_running_loop()
        context = self.identifier("context")
        self.log_text(context, options.model, text)
        speech = self.speech(options, "bytes")
        due_s = loop.time() + speech.pace.first_audio_s(0)
        pcm, _ = speech.add(text)
        response = web.StreamResponse(headers=headers)
        response.content_type = "audio/wav" if options.container == "wav" else "audio/pcm"
        await asyncio.sleep(due_s - loop.time())
        await response.prepare(request)
        self.log(FirstAudio(context=context))
        if options.container == "wav":
            await response.write(_wav_head(options.rate_hz, len(pcm)))
        for chunk in speech.chunks(pcm):
            await asyncio.sleep(due_s - loop.time())
            await response.write(options.encode(chunk))
            due_s += len(chunk) / options.rate_hz * speech.pace.factor
        await response.write_eof()
        self.log(AudioDone(context=context, audio_s=len(pcm) / options.rate_hz))
        return response


def _wav_head(rate_hz: int, samples: int) -> bytes:
    head = io.BytesIO()
    with wave.open(head, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate_hz)
        f.writeframes(np.zeros(samples, np.int16).tobytes())
    return head.getvalue()[:44]
