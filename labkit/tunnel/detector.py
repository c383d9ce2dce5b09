"""The SDK's local end-of-turn model, asked directly as a session asks it, without a session.

The model takes the last 1.2 s of what the agent hears. Its answers are those that calls in the
tunnel get, and are remembered in the same file.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from labkit.tunnel.executor import remembered
from labkit.tunnel.memo import AnswerMemo
from labkit.world.clips import Pcm
from labkit.world.scene import SAMPLE_RATE_HZ

WINDOW_S = 1.2
"""What the model takes in."""
VAD_WINDOW_S = 0.032
ASKS_AFTER_S = 0.2
"""VAD silence after which a session asks (``MIN_SILENCE_DURATION_MS`` of livekit-agents)."""
ACTIVATION, DEACTIVATION, MIN_SPEECH_S, MIN_SILENCE_S = 0.5, 0.35, 0.05, 0.25
"""Defaults of the SDK's bundled VAD."""
FRAME_S = 0.05
"""Of a room's audio input: the model is given whole frames."""


class Detector:
    """Scores of a finished turn, 0 to 1, at moments of what an agent hears.


    Args:
        memo: Where answers are remembered; None for the user's cache.
    """

    def __init__(self, memo: AnswerMemo | None = None) -> None:
        self._memo = AnswerMemo("eot") if memo is None else memo

    def score(self, pcm: Pcm, at_s: float) -> float:
        """The score once ``at_s`` seconds of ``pcm`` (int16 mono, 16 kHz) have been heard."""
        last = round(at_s * SAMPLE_RATE_HZ)
        first = max(last - round(WINDOW_S * SAMPLE_RATE_HZ), 0)
        return self.judge(np.ascontiguousarray(pcm[first:last]))

    def judge(self, window: Pcm) -> float:
        """The score of what was heard last, int16 mono at 16 kHz."""
        return float(remembered(self._memo, self._predict, (window,)))

    def keep(self) -> None:
        """Writes new answers to the user's cache."""
        self._memo.keep()

    def _predict(self, window: Pcm) -> float:
        return float(self._model.predict(window))

    @cached_property
    def _model(self) -> Any:
        from livekit.local_inference import EOT  # a large model, not loaded for known answers

        return EOT()


def asked_s(pcm: Pcm) -> list[float]:
    """When a session with the SDK's default VAD would ask, seconds of ``pcm``.

    It asks in the first VAD window before which there were 0.2 s of silence, and passes on the
    frames that have arrived by then: some 0.3 s after the last sound, as the VAD hears an end late.
    """
    from livekit.local_inference import VAD

    vad, found = VAD(), []
    size = round(VAD_WINDOW_S * SAMPLE_RATE_HZ)
    speaking = asked = False
    speech_s = silence_s = 0.0
    for k in range(len(pcm) // size):
        probability = vad.predict(np.ascontiguousarray(pcm[k * size : (k + 1) * size]))
        if speaking and not asked and silence_s >= ASKS_AFTER_S:
            asked = True
            found.append(math.ceil((k + 1) * VAD_WINDOW_S / FRAME_S - 1e-9) * FRAME_S)
        if probability >= ACTIVATION or (speaking and probability > DEACTIVATION):
            speech_s, silence_s = speech_s + VAD_WINDOW_S, 0.0
            asked = False
            speaking = speaking or speech_s >= MIN_SPEECH_S
        else:
            speech_s, silence_s = 0.0, silence_s + VAD_WINDOW_S
            speaking = speaking and silence_s < MIN_SILENCE_S
    return found
