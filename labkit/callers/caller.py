"""A caller: says each turn of a dialogue aloud, listens, waits a human while, and goes on.

The caller knows nothing of the agent but what reaches the ear. It speaks by scheduling recorded
speech on its mouth's time line; the microphone takes it from there, frame by frame.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from labkit.callers.dialogue import Dialogue, Turn
from labkit.callers.ear import Ear
from labkit.callers.persona import PERSONAS
from labkit.callers.speech import Clip, SpeechCorpus
from labkit.config import SettingError, Settings
from labkit.providers.scene import SAMPLE_RATE_HZ, Scene, SpokenWord
from labkit.randomness import Delay, stream, uniform

SILENT_DBFS = -96.0
_TONE_S = 10
LOCK_S = 0.8
"""Turns start at a phase of their own on a grid of this length, which is where 50 ms input frames
and the VAD's 32 ms windows meet again. Every arm then cuts the same speech into the same frames and
windows however long its replies took: detectors answer alike, and arms differ only by what differs
between them."""
_TICK_S = 1e-8
"""The clock ticks in nanoseconds, so a timer may fire a fraction of one before its moment."""


@dataclass(frozen=True)
class PlannedTurn:
    """A turn of the dialogue with the recording that says it."""

    dialogue: str
    turn: Turn
    variant: str
    clip: Clip


@dataclass
class SpokenTurn:
    """A caller turn as it happened; times at the mouth, seconds from the start of the call.

    Attributes:
        started_s: First voiced sample.
        stopped_s: Last voiced sample.
        over_s: When the caller stopped listening for the reply.
    """

    index: int
    plan: PlannedTurn
    started_s: float
    stopped_s: float
    over_s: float = float("nan")


@dataclass(frozen=True)
class CallPlan:
    """Who calls, with which voice, and what is said."""

    voice: str
    persona: str
    turns: tuple[PlannedTurn, ...]


def plan_call(
    settings: Settings,
    seed: int,
    call: int,
    n_turns: int,
    dialogues: dict[str, Dialogue],
    corpus: SpeechCorpus,
) -> CallPlan:
    """Draws a call. It depends on the seed and the call alone, so all arms hear the same callers.

    Raises:
        SettingError: the setting names a dialogue that does not exist.
    """
    wanted = settings.text("caller.dialogue")
    persona = PERSONAS[settings.text("caller.persona")]
    names = sorted(dialogues)
    if wanted != "mixed" and wanted not in dialogues:
        raise SettingError(f"caller.dialogue={wanted}: known are mixed, {', '.join(names)}")
    order = (
        [names[i] for i in stream(seed, "caller.dialogue", call).permutation(len(names))]
        if wanted == "mixed"
        else [wanted]
    )
    voice_luck = uniform(seed, "caller.voice", call)
    turns: list[PlannedTurn] = []
    first = dialogues[order[0]]
    voices = corpus.dialogue_voices(first.name)
    voice = voices[int(voice_luck * len(voices))]
    while len(turns) < n_turns:
        dialogue = dialogues[order[len({t.dialogue for t in turns}) % len(order)]]
        spoken_by = corpus.dialogue_voices(dialogue.name)
        speaker = voice if voice in spoken_by else spoken_by[int(voice_luck * len(spoken_by))]
        for turn in dialogue.turns[: n_turns - len(turns)]:
            variant = persona.variant(corpus.variants(dialogue.name, turn.id))
            clip = corpus.clip(dialogue=dialogue.name, turn=turn.id, variant=variant, voice=speaker)
            turns.append(PlannedTurn(dialogue.name, turn, variant, clip))
    return CallPlan(voice, persona.name, tuple(turns))


@dataclass
class Mouth:
    """What leaves the caller's mouth: scheduled speech over room tone, 16 kHz mono.

    ``scene.track`` receives every sample as it leaves, and each word beforehand.
    """

    scene: Scene
    tone: np.ndarray
    _speech: list[tuple[int, np.ndarray]] = field(default_factory=list)
    _sent: int = 0

    def say(self, clip: Clip, at_s: float, turn: int) -> float:
        """Schedules a clip from ``at_s`` on; returns when its last sample leaves, seconds."""
        first = max(round(at_s * SAMPLE_RATE_HZ), self._sent)
        start_s = first / SAMPLE_RATE_HZ
        self._speech.append((first, clip.pcm))
        self.scene.track.words.extend(
            SpokenWord(w.text, start_s + w.start_s, start_s + w.end_s, turn) for w in clip.words
        )
        return start_s + len(clip.pcm) / SAMPLE_RATE_HZ

    def emit(self, n_samples: int) -> np.ndarray:
        """The next ``n_samples`` samples, int16."""
        first, last = self._sent, self._sent + n_samples
        if len(self.tone):
            out = self.tone.take(np.arange(first, last), mode="wrap")
        else:
            out = np.zeros(n_samples, dtype=np.int16)
        for start, pcm in self._speech:
            a, b = max(start, first), min(start + len(pcm), last)
            if a < b:
                mixed = out[a - first : b - first].astype(np.int32) + pcm[a - start : b - start]
                out[a - first : b - first] = np.clip(mixed, -32768, 32767).astype(np.int16)
        self._speech = [(s, p) for s, p in self._speech if s + len(p) > last]
        self._sent = last
        self.scene.track.pcm += out.tobytes()
        return out


def room_tone(level_dbfs: float, seed: int, call: int) -> np.ndarray:
    """Ten seconds of pink noise at a level, int16; empty for digital silence."""
    if level_dbfs <= SILENT_DBFS:
        return np.zeros(0, dtype=np.int16)
    n = _TONE_S * SAMPLE_RATE_HZ
    white = np.fft.rfft(stream(seed, "caller.tone", call).standard_normal(n))
    white[1:] /= np.sqrt(np.arange(1, len(white)))
    white[0] = 0
    pink = np.fft.irfft(white, n)
    pink *= 32768 * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(pink**2))
    return np.clip(np.round(pink), -32768, 32767).astype(np.int16)


class Caller:
    """Plays a plan against whatever answers.

    Args:
        plan: What to say.
        settings: Gaps, patience and the start.
        scene: The call's scene; the caller keeps its current turn there.
        mouth: Where speech goes.
        ear: Where replies come from.
        now: The call's clock, seconds.
    """

    def __init__(
        self,
        plan: CallPlan,
        settings: Settings,
        scene: Scene,
        mouth: Mouth,
        ear: Ear,
        now: Callable[[], float],
    ) -> None:
        self.plan, self.settings, self.scene = plan, settings, scene
        self.mouth, self.ear, self.now = mouth, ear, now
        self.spoken: list[SpokenTurn] = []
        median = settings.number("caller.gap_s")
        self._gap = Delay(median_s=median, p95_s=1.6 * median, min_s=0.5 * median)

    async def run(self) -> None:
        """Goes through the dialogue and returns when the caller would hang up."""
        await asyncio.sleep(self.settings.number("caller.start_after_s"))
        for index, plan in enumerate(self.plan.turns):
            await self._wait_for_the_floor(index)
            self.scene.turn = index
            self.scene.dialogue = plan.dialogue
            end_s = self.mouth.say(plan.clip, self.now(), index)
            spoken = SpokenTurn(index, plan, end_s - len(plan.clip.pcm) / SAMPLE_RATE_HZ, end_s)
            self.spoken.append(spoken)
            await asyncio.sleep(end_s - self.now())
            await self._wait_for_reply(spoken)
            spoken.over_s = self.now()
        await self._wait_for_the_floor(len(self.plan.turns))

    async def _wait_for_reply(self, spoken: SpokenTurn) -> None:
        """Waits until the agent is heard, or patience runs out."""
        give_up_s = spoken.stopped_s + self.settings.number("caller.patience_s")
        while True:
            heard_s = self.ear.first_voiced_after(spoken.started_s)
            now_s = self.now() + _TICK_S
            if heard_s <= now_s or now_s >= give_up_s:
                return
            await self._until(min(give_up_s, heard_s) if heard_s == heard_s else give_up_s)

    async def _wait_for_the_floor(self, index: int) -> None:
        """Waits until the agent has been silent for a human while."""
        gap_s = self._gap.draw(self.scene.seed, "caller.gap", self.scene.call, index)
        earliest_s = self.now()
        while True:
            last_s = self.ear.last_voiced_s
            quiet_s = last_s + max(gap_s - LOCK_S / 2, 0.2) if last_s == last_s else earliest_s
            start_s = self._locked(max(quiet_s, earliest_s), index)
            if self.now() + _TICK_S >= start_s:
                return
            await self._until(start_s)

    def _locked(self, t_s: float, index: int) -> float:
        """The first moment from ``t_s`` on that has this turn's own phase."""
        phase_s = LOCK_S * uniform(self.scene.seed, "caller.phase", self.scene.call, index)
        return phase_s + LOCK_S * max(math.ceil((t_s - phase_s) / LOCK_S - 1e-9), 0)

    async def _until(self, t_s: float) -> None:
        """Waits for a moment, or for a change in what will be heard, whichever is first."""
        self.ear.changed.clear()
        try:
            async with asyncio.timeout(max(t_s - self.now(), 0)):
                await self.ear.changed.wait()
        except TimeoutError:
            pass
