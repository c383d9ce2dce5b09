"""Turns as an agent hears them, with every silence in them marked.

They are drawn and spoken as in a call, with the same background and line, but without an agent:
what a detector makes of them depends on nothing that an agent does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from labkit.callers.caller import Mouth
from labkit.callers.device import Device
from labkit.callers.line import Line
from labkit.callers.noise import background
from labkit.callers.plan import plan_call
from labkit.settings import Settings
from labkit.tunnel.detector import FRAME_S
from labkit.world.clips import Pcm
from labkit.world.dialogue import load_dialogues
from labkit.world.scene import SAMPLE_RATE_HZ, Scene
from labkit.world.sound import FRAME, VOICED_DB, frame_power
from labkit.world.speech import SpeechCorpus

Span = tuple[float, float]

LEAD_S = 1.2
"""What is heard before a turn: as much as the detector takes in."""
TAIL_S = 1.0
"""What is heard after it: longer than any detector waits to be asked."""
SHORTEST_S = 0.1
"""Silences that are marked."""
_FRAME_S = 0.01
_BLOCK = round(FRAME_S * SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class MarkedTurn:
    """One turn of a caller.

    ``pauses`` are the silences of 0.1 s or more before ``end_s``, the end of the last sound; both
    in seconds of ``pcm``, which goes on after that.
    """

    call: int
    turn: int
    voice: str
    name: str  # of what was said or of the file
    pcm: Pcm = field(repr=False)  # int16, mono, 16 kHz
    pauses: tuple[Span, ...]
    end_s: float


def spoken(settings: Settings, seed: int, call: int, n_turns: int) -> Iterator[MarkedTurn]:
    """The turns of one call, as ``labkit run`` would have its caller say them."""
    plan = plan_call(settings, seed, call, n_turns, load_dialogues(), SpeechCorpus.load())
    line = Line.of(plan.settings, seed, call)
    behind = background(plan.settings, [t.clip for t in plan.turns], seed, call)
    for index, planned in enumerate(plan.turns):
        clip = planned.clip
        mouth = Mouth(Scene(seed, call), behind)
        device = Device(mouth, line.coder(SAMPLE_RATE_HZ))
        pcm = _listen(device, line, LEAD_S)
        mouth.say(clip, LEAD_S, index)
        pcm = np.concatenate([pcm, _listen(device, line, clip.duration_s + TAIL_S, len(pcm))])
        pauses = silent_spans(clip.pcm, clip.pauses, clip.speech_end_s)
        yield MarkedTurn(
            call, index, clip.voice, clip.clip_id, pcm,
            tuple((a + LEAD_S, b + LEAD_S) for a, b in pauses), LEAD_S + clip.speech_end_s,
        )  # fmt: skip


def _listen(device: Device, line: Line, length_s: float, first: int = 0) -> Pcm:
    """What of the next seconds arrives at the agent, in whole frames."""
    heard = []
    for k in range(round(np.ceil(length_s * SAMPLE_RATE_HZ / _BLOCK))):
        pcm = device.emit(_BLOCK)
        heard.append(line.carry("up", first + k * _BLOCK, pcm, SAMPLE_RATE_HZ, device.mouth.turn))
    return np.concatenate(heard)


def silent_spans(pcm: Pcm, marked: Sequence[Span], end_s: float) -> tuple[Span, ...]:
    """Silences of 0.1 s or more inside speech, marked or found; those that overlap are joined.

    Args:
        pcm: int16, mono, 16 kHz, without background noise.
        marked: Known pauses, seconds.
        end_s: End of the last sound, seconds.
    """
    joined: list[Span] = []
    for a, b in sorted([*marked, *found_silences(pcm[: round(end_s * SAMPLE_RATE_HZ)])]):
        if joined and a <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(b, joined[-1][1]))
        else:
            joined.append((a, b))
    return tuple((a, b) for a, b in joined if b - a >= SHORTEST_S - 1e-9)


def found_silences(pcm: Pcm) -> list[Span]:
    """Stretches of silent frames between the first and the last frame that is not, seconds."""
    on = np.flatnonzero(sounding(pcm))
    gaps = np.flatnonzero(np.diff(on) > 1)
    return [(float(on[g] + 1) * _FRAME_S, float(on[g + 1]) * _FRAME_S) for g in gaps]


def sounding(pcm: Pcm) -> np.ndarray:
    """Whether each 10 ms frame is within 35 dB of the loudest."""
    level = frame_power(np.pad(pcm, (0, -len(pcm) % FRAME)))
    floor = max(float(level.max(initial=0.0)) * 10 ** (VOICED_DB / 10), 1e-9)
    return np.asarray(level >= floor)
