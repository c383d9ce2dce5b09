"""A simulated caller: speaks each turn of a dialogue, hears the reply, pauses, and goes on.

The caller knows nothing of the agent but what reaches the ear. It speaks by scheduling recorded
clips on its mouth's timeline, from which the microphone reads frame by frame.

A caller who hears a premature reply goes on talking to the end of the turn, which may make the
agent stop. A reply counts for the caller only if some of it is heard after that end. When the agent
falls silent in the middle of its speech, or says that more is to come, the caller waits for it to
go on, as long as for a reply.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from labkit.callers.ear import Ear, Segment
from labkit.callers.plan import CallPlan, PlannedTurn, joined
from labkit.randomness import Delay, uniform
from labkit.world.clips import Clip
from labkit.world.scene import SAMPLE_RATE_HZ, Scene, SpokenWord

LOCK_S = 0.8
"""Each turn starts at its own phase of a grid of this length, the period after which 50 ms input
frames and the VAD's 32 ms windows realign. So every arm cuts the same speech into the same frames
and windows, however long its replies took, and detectors answer alike. Barge-ins begin exactly when
the setting says, off the grid."""
PRESS_S = 0.25
"""From pressing the button to the first word: about a simple reaction time."""
_BACKCHANNEL_S = (1.0, 2.5)
_STILL_TALKING_S = 0.3
_ASK_S = 0.1
_TICK_S = 1e-8
"""The clock ticks in nanoseconds, so a timer may fire a fraction of a tick early."""


@dataclass
class SpokenTurn:
    """A caller turn as it happened; times at the mouth, seconds from the start of the call.

    Attributes:
        clip: What was said, with the interjection of a barge-in.
        started_s: First voiced sample.
        stopped_s: Last voiced sample.
        over_s: When the caller stopped listening for the reply.
        barged_in: Whether the turn was begun over the agent's speech.
        released_s: When the button was let go; NaN without one.
    """

    index: int
    plan: PlannedTurn
    clip: Clip
    started_s: float
    stopped_s: float
    over_s: float = math.nan
    barged_in: bool = False
    released_s: float = math.nan


@dataclass
class SpokenBackchannel:
    """A backchannel, made while the agent spoke after turn ``index``; seconds."""

    index: int
    clip: Clip
    started_s: float
    stopped_s: float


@dataclass
class Mouth:
    """What leaves the caller's mouth: scheduled speech over a background, 16 kHz mono.

    ``scene.track`` receives each word before it is spoken.

    Attributes:
        pcm: All that has left, as 16-bit samples.
    """

    scene: Scene
    background: np.ndarray
    turn: tuple[int, int] = (-1, 0)
    """The latest turn and its first sample: random draws are counted from there, so that a turn
    gets the same noise and losses however long the replies before it took."""
    pcm: bytearray = field(default_factory=bytearray)
    _said: list[tuple[int, np.ndarray]] = field(default_factory=list)
    """Everything said so far and where it begins; ``_speech`` is what has not left yet."""
    _speech: list[tuple[int, np.ndarray]] = field(default_factory=list)
    _entered: tuple[int, int] = (-2, 0)
    """A turn, and where in the background's loop it began."""
    _sent: int = 0

    def say(self, clip: Clip, at_s: float, turn: int, audible_s: float = math.inf) -> float:
        """Schedules a clip, of which the first ``audible_s`` seconds reach the microphone.

        Returns:
            When its last sample leaves the mouth, seconds.
        """
        first = max(round(at_s * SAMPLE_RATE_HZ), self._sent)
        start_s = first / SAMPLE_RATE_HZ
        if turn != self.turn[0]:
            self.turn = (turn, first)
        heard = clip.pcm[: round(audible_s * SAMPLE_RATE_HZ)] if audible_s < math.inf else clip.pcm
        self._said.append((first, heard))
        self._speech.append((first, heard))
        self.scene.track.words.extend(
            SpokenWord(w.text, start_s + w.start_s, start_s + min(w.end_s, audible_s), turn)
            for w in clip.words
            # of a word that is cut off in its first half nothing can be understood
            if (w.start_s + w.end_s) / 2 <= audible_s
        )
        return start_s + len(clip.pcm) / SAMPLE_RATE_HZ

    def emit(self, n_samples: int) -> np.ndarray:
        """The next ``n_samples`` samples, int16."""
        first, last = self._sent, self._sent + n_samples
        out = self._behind(first, n_samples)
        speech = self._speech
        for start, pcm in speech:
            a, b = max(start, first), min(start + len(pcm), last)
            if a < b:
                mixed = out[a - first : b - first].astype(np.int32) + pcm[a - start : b - start]
                out[a - first : b - first] = np.clip(mixed, -32768, 32767).astype(np.int16)
        if speech and speech[0][0] + len(speech[0][1]) <= last:
            self._speech = [(s, p) for s, p in speech if s + len(p) > last]
        self._sent = last
        self.pcm += out.tobytes()
        return out

    def speech(self) -> np.ndarray:
        """What has left without the background, int16: the words alone."""
        alone = np.zeros(self._sent, dtype=np.int32)
        for start, pcm in self._said:
            end = min(start + len(pcm), self._sent)
            alone[start:end] += pcm[: max(end - start, 0)]
        return np.clip(alone, -32768, 32767).astype(np.int16)

    def _behind(self, first: int, n_samples: int) -> np.ndarray:
        """A copy of the background behind some samples; it is a loop, entered anew each turn."""
        length = len(self.background)
        if not length:
            return np.zeros(n_samples, dtype=np.int16)
        turn, begun = self.turn
        if turn != self._entered[0]:
            draw = uniform(self.scene.seed, "caller.background", self.scene.call, turn)
            self._entered = (turn, int(draw * length))
        place = (first - begun + self._entered[1]) % length
        if place + n_samples <= length:
            return self.background[place : place + n_samples].copy()
        return self.background.take(np.arange(place, place + n_samples), mode="wrap")


class Caller:
    """Speaks a plan to the agent and listens.

    Args:
        plan: What to say, and the caller's gaps, patience and start.
        scene: The call's scene; the caller keeps its current turn there.
        mouth: Where speech goes.
        ear: Where replies are heard.
        now: The call's clock, seconds.
        button: Called with True when a push-to-talk button is pressed, False when released.
        greeted: Whether the agent has begun to say something, heard or not: callers who are
            about to be greeted wait for it, as people do who hear the line open.
        goes_on: Whether what the agent said last promises more, as "let me check" does: callers
            wait for the rest, as people do who understand what is said.
    """

    def __init__(
        self,
        plan: CallPlan,
        scene: Scene,
        mouth: Mouth,
        ear: Ear,
        now: Callable[[], float],
        button: Callable[[bool], None] = lambda pressed: None,
        greeted: Callable[[], bool] = lambda: False,
        goes_on: Callable[[], bool] = lambda: False,
    ) -> None:
        self.plan, self.settings, self.scene = plan, plan.settings, scene
        self.mouth, self.ear, self.now, self.button = mouth, ear, now, button
        self.greeted, self.goes_on = greeted, goes_on
        self.spoken: list[SpokenTurn] = []
        self.backchannels: list[SpokenBackchannel] = []
        self._reply: Segment | None = None
        self._patience_s = self.settings.number("caller.patience_s")
        median = self.settings.number("caller.gap_s")
        self._gap = Delay(median_s=median, p95_s=1.6 * median, min_s=0.5 * median)

    async def run(self) -> None:
        """Goes through the dialogue and returns when the caller would hang up."""
        await asyncio.sleep(self.settings.number("caller.start_after_s"))
        if self.settings["agent.greets"] or self.greeted():
            await self._wait_for_reply(0.0, self.now())
        for index, plan in enumerate(self.plan.turns):
            barged_in = await self._wait_for_the_floor(index)
            self.scene.turn = index
            self.scene.dialogue = plan.dialogue
            spoken = await self._speak(index, plan, barged_in)
            await self._wait_for_reply(spoken.started_s, spoken.stopped_s)
            spoken.over_s = self.now()
        await self._wait_for_the_floor(len(self.plan.turns))

    async def _speak(self, index: int, plan: PlannedTurn, barged_in: bool) -> SpokenTurn:
        """Says a turn to its end, holding the button down if there is one."""
        clip = joined(plan.interjection, plan.clip) if barged_in else plan.clip
        length_s = len(clip.pcm) / SAMPLE_RATE_HZ
        release_s = self.settings["caller.release_after_s"]
        audible_s = math.inf
        if release_s is not None:
            self.button(True)
            await asyncio.sleep(PRESS_S)
            audible_s = max(length_s + float(release_s), 0.0)
        end_s = self.mouth.say(clip, self.now(), index, audible_s)
        spoken = SpokenTurn(index, plan, clip, end_s - length_s, end_s, barged_in=barged_in)
        self.spoken.append(spoken)
        if release_s is not None:
            spoken.released_s = spoken.started_s + audible_s
            await asyncio.sleep(spoken.released_s - self.now())
            self.button(False)
        await asyncio.sleep(max(end_s - self.now(), 0.0))
        return spoken

    async def _wait_for_reply(self, started_s: float, stopped_s: float) -> None:
        """Waits until the agent is heard after a turn's end, or patience runs out."""
        give_up_s = stopped_s + self._patience_s
        while True:
            self._reply = self.ear.reply_to(started_s, stopped_s)
            heard_s = max(self._reply.first_voiced_s, stopped_s) if self._reply else math.inf
            now_s = self.now() + _TICK_S
            if heard_s <= now_s or now_s >= give_up_s:
                return
            await self._until(min(give_up_s, heard_s))

    async def _wait_for_the_floor(self, index: int) -> bool:
        """Waits until the agent has been silent for a natural pause, or until the caller barges in.

        Returns whether the caller's next words are a barge-in.
        """
        gap_s = self._gap.draw(self.scene.seed, "caller.gap", self.scene.call, index)
        earliest_s = self.now()
        hum_s = self._backchannel_moment(index)
        barge_s = self._barge_in_moment(index)
        while True:
            last_s = self.ear.last_voiced_s
            goes_on = self.goes_on()
            patient = goes_on or self.ear.broken_off
            wait_s = self._patience_s if patient else max(gap_s - LOCK_S / 2, 0.2)
            quiet_s = last_s + wait_s if last_s == last_s else earliest_s
            start_s = self._locked(max(quiet_s, earliest_s), index)
            # what is due earlier than the agent's last sound is due while it speaks
            talking_s = last_s - _STILL_TALKING_S
            hum_at_s = hum_s if hum_s < talking_s else math.inf
            barge_at_s = barge_s if barge_s < talking_s else math.inf
            next_s = min(start_s, hum_at_s, barge_at_s)
            if self.now() + _TICK_S < next_s:
                # that nothing more comes is not heard, so it is asked again and again
                await self._until(min(next_s, self.now() + _ASK_S) if goes_on else next_s)
            elif next_s == hum_at_s:
                self._hum(index)
                hum_s = math.inf
            else:
                return next_s == barge_at_s

    def _barge_in_moment(self, index: int) -> float:
        """When the caller would barge in on the reply being heard; infinite if never."""
        after_s = self.settings["caller.barge_in_after_s"]
        if after_s is None or self._reply is None or index == len(self.plan.turns):
            return math.inf
        return self._reply.first_voiced_s + float(after_s)

    def _backchannel_moment(self, index: int) -> float:
        name = (self.scene.seed, "caller.backchannel", self.scene.call, index)
        if self._reply is None or uniform(*name) >= self.settings.number("caller.backchannel_prob"):
            return math.inf
        low_s, high_s = _BACKCHANNEL_S
        draw = uniform(self.scene.seed, "caller.backchannel.moment", self.scene.call, index)
        return self._reply.first_voiced_s + low_s + (high_s - low_s) * draw

    def _hum(self, index: int) -> None:
        clips = self.plan.backchannels
        draw = uniform(self.scene.seed, "caller.backchannel.word", self.scene.call, index)
        clip, turn = clips[int(draw * len(clips))], max(index - 1, 0)
        end_s = self.mouth.say(clip, self.now(), turn)
        start_s = end_s - len(clip.pcm) / SAMPLE_RATE_HZ
        self.backchannels.append(SpokenBackchannel(turn, clip, start_s, end_s))

    def _locked(self, t_s: float, index: int) -> float:
        """The first moment from ``t_s`` on at this turn's phase of the grid."""
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
