"""What all emulated TTS share: the sound of an utterance, its pace, its price, and the log.

The first audio of an utterance comes after a drawn delay; then chunks come at the profile's
synthesis speed. Utterances whose text arrives in pieces are in :mod:`labkit.providers.contexts`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from labkit.providers.coding import Coder, Mp3Coder
from labkit.providers.occasion import utterance
from labkit.providers.profile import Profile
from labkit.providers.server import Emulator
from labkit.providers.voice import Voice, resample
from labkit.world.clips import Pcm, Word
from labkit.world.events import AudioDone, FirstAudio, Role, Text, Voiced
from labkit.world.scene import Scene


@dataclass(frozen=True)
class Options:
    """What a request asks for, apart from its text.

    Attributes:
        model: The model's name in the profile.
        rate_hz: Sample rate of the audio.
        encoding: ``pcm_s16le``, ``pcm_f32le``, ``pcm_mulaw``, ``pcm_alaw`` or ``mp3``.
        container: ``raw`` or ``wav``.
        timestamps: Whether the times of the words are wanted too.
        buffer_s: How long text that ends no sentence waits for more, seconds.
        bit_rate: Of MP3, bits per second.
        speed: How many times faster than usual it is spoken.
    """

    model: str
    rate_hz: int
    encoding: str = "pcm_s16le"
    container: str = "raw"
    timestamps: bool = False
    buffer_s: float = 0.0
    bit_rate: int = 0
    speed: float = 1.0

    def coder(self) -> Coder:
        """What makes bytes of the samples of a stretch of speech."""
        if self.encoding == "mp3":
            return Mp3Coder(self.rate_hz, self.bit_rate)
        return Coder(self.encoding)

    @property
    def media_type(self) -> str:
        """The type of the audio as HTTP names it."""
        if self.container == "wav":
            return "audio/wav"
        return "audio/mpeg" if self.encoding == "mp3" else "audio/pcm"


@dataclass(frozen=True)
class SpeechPace:
    """How an utterance is paced; seconds, and ``factor`` in seconds per second of audio."""

    first_audio_s: Callable[[int], float]
    """Delay of the first chunk of the n-th piece that finds the synthesis idle."""
    factor: float
    chunk_s: float
    leading_s: float
    gap_s: float


def speed_of(given: object, low: float, high: float) -> float | None:
    """How many times faster than usual a client wants it: 1 if nothing is given, None if not so."""
    if given is None:
        return 1.0
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    return float(given) if low <= given <= high else None


_LONGEST_PIECE = 250  # characters; the sound of more would keep others waiting


def in_pieces(text: str) -> list[str]:
    """A long text in pieces of some sentences each, cut at blanks where there are any."""
    pieces = []
    while len(text) > _LONGEST_PIECE:
        end = max(text.rfind(mark, 0, _LONGEST_PIECE) for mark in (". ", "? ", "! "))
        if end < _LONGEST_PIECE // 4:
            end = text.rfind(" ", 1, _LONGEST_PIECE)
        end = end + 1 if end > 0 else _LONGEST_PIECE
        pieces.append(text[:end])
        text = text[end:]
    return [piece for piece in (*pieces, text) if piece.strip()]


class Speech:
    """The sound of an utterance, made piece by piece.

    Its pace is known with its first words, which name its draws.
    """

    pace: SpeechPace

    def __init__(
        self, voice: Voice, options: Options, paced: Callable[[Options, str], SpeechPace]
    ) -> None:
        self.voice, self.options, self._paced = voice, options, paced
        self.samples = 0

    def add(self, text: str) -> tuple[Pcm, tuple[Word, ...]]:
        """The samples of the next piece, silence before it included, and its words.

        The words count from the start of the utterance, seconds.
        """
        rate_hz = self.options.rate_hz
        if not self.samples:
            self.pace = self._paced(self.options, text)
        sound, speed = self.voice.say(text, rate_hz), self.options.speed
        silence_s = self.pace.gap_s if self.samples else self.pace.leading_s
        silence = np.zeros(round(silence_s * rate_hz), np.int16)
        shift_s = (self.samples + len(silence)) / rate_hz
        said = sound.pcm if speed == 1 else resample(sound.pcm, round(rate_hz * speed), rate_hz)
        pcm = np.concatenate((silence, said))
        self.samples += len(pcm)
        return pcm, tuple(
            Word(w.text, round(w.start_s / speed + shift_s, 3), round(w.end_s / speed + shift_s, 3))
            for w in sound.words
        )

    def chunks(self, pcm: Pcm) -> Iterator[tuple[int, bytes]]:
        """A piece in chunks of the profile's length: each with its samples, and as it is sent."""
        size, coder = round(self.pace.chunk_s * self.options.rate_hz), self.options.coder()
        for i in range(0, len(pcm), size):
            chunk = pcm[i : i + size]
            coded, longer = coder.code(chunk), 0
            if i + size >= len(pcm):
                rest, longer = coder.end()
                coded += rest
                self.samples += longer  # the next piece sounds that much later
            yield len(chunk) + longer, coded


@dataclass(frozen=True)
class SpeechEvents:
    """How server-sent events tell of an utterance: each chunk, and its end after some seconds."""

    chunk: Callable[[bytes], bytes]
    end: Callable[[float], bytes]


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
        self.log(Text(context=context, text=text, characters=len(text), model=model, usd=usd))

    def speech(self, options: Options) -> Speech:
        """A fresh utterance."""
        return Speech(self.voice, options, self.pace)

    def pace(self, options: Options, text: str) -> SpeechPace:
        """The pace of an utterance that begins with ``text``, with its random draws.

        An LLM's answer is named as the request for it was, so whatever else is spoken before it, in
        whichever words it is put, it keeps its draws. An agent's own words are named by the first
        of them.
        """
        turn, name = utterance(text, self.scene())
        key = (*name, self.nth("utterance", turn, *name))

        def first_audio_s(piece: int) -> float:
            return self.draw(
                *("models", options.model, "first_audio"),
                purpose="first_audio",
                key=(*key, piece),
                turn=turn,
            )

        return SpeechPace(
            first_audio_s=first_audio_s,
            factor=float(self.profile.value("models", options.model, "real_time_factor")),
            chunk_s=float(self.profile.value("audio", "chunk_s")),
            leading_s=self.draw(
                "audio", "leading_silence", purpose="leading_silence", key=key, turn=turn
            ),
            gap_s=float(self.profile.value("audio", "sentence_gap_s")),
        )

    async def speak(
        self,
        request: web.Request,
        options: Options,
        text: str,
        headers: dict[str, str],
        events: SpeechEvents | None = None,
    ) -> web.StreamResponse:
        """Answers one HTTP request with the audio of its text, each chunk when it is due.

        Args:
            request: The request.
            options: How it shall sound.
            text: What is to be said.
            headers: Of the answer.
            events: How server-sent events tell of the audio, if not the plain bytes are sent.
        """
        loop = asyncio.get_running_loop()
        context = self.identifier("context")
        self.log_text(context, options.model, text)
        speech, due_s = self.speech(options), loop.time()
        first, *rest = in_pieces(text)
        pcm, words = speech.add(first)
        self.log(Voiced(context=context, words=words))
        due_s += speech.pace.first_audio_s(0)
        response = web.StreamResponse(headers=headers)
        response.content_type = options.media_type if events is None else "text/event-stream"

        async def send(audio: bytes) -> None:
            await response.write(audio if events is None else events.chunk(audio))

        await asyncio.sleep(due_s - loop.time())
        await response.prepare(request)
        self.log(FirstAudio(context=context))
        if options.container == "wav":
            # of a long text nobody knows yet how long its sound will be
            length = (1 << 30) // 2 if rest else len(pcm)
            await send(_wav_head(options.rate_hz, length))
        while True:
            for samples, chunk in speech.chunks(pcm):
                await asyncio.sleep(due_s - loop.time())
                if chunk:
                    await send(chunk)
                due_s += samples / options.rate_hz * speech.pace.factor
            if not rest:
                break
            pcm, words = speech.add(rest.pop(0))
            self.log(Voiced(context=context, words=words))
        if events is not None:
            await response.write(events.end(speech.samples / options.rate_hz))
        await response.write_eof()
        self.log(AudioDone(context=context, audio_s=speech.samples / options.rate_hz))
        return response


def _wav_head(rate_hz: int, samples: int) -> bytes:
    """The 44 bytes before the samples of a mono 16-bit WAV."""
    size = 2 * samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return (
        b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + form + struct.pack("<4sI", b"data", size)
    )
