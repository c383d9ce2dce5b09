"""Echo of what the agent plays from a loudspeaker into the caller's microphone.

Phones and browsers cancel it once they have adapted. Until then the agent hears its own voice,
and what it plays behind it, softer, mixed with what the caller says.
"""

from __future__ import annotations

import numpy as np

from labkit.callers.caller import Mouth
from labkit.callers.ear import VOICED_LEVEL, Ear
from labkit.world.scene import SAMPLE_RATE_HZ, Scene


class EchoingMouth(Mouth):
    """A mouth beside a loudspeaker.

    Args:
        scene: The call's scene; the echo is heard there, but holds no words.
        background: As for :class:`Mouth`.
        ear: What the loudspeaker plays.
        level_db: Level of the echo in the microphone, relative to the agent's voice; negative.
        learned_s: Seconds of sound after which the device cancels the echo.
    """

    def __init__(
        self, scene: Scene, background: np.ndarray, ear: Ear, level_db: float, learned_s: float
    ) -> None:
        super().__init__(scene, background)
        self._ear, self._gain, self._left_s = ear, 10 ** (level_db / 20), learned_s

    def emit(self, n_samples: int) -> np.ndarray:
        first = self._sent
        out = super().emit(n_samples)
        if self._left_s <= 0:
            return out
        played = self._played(first, n_samples)
        loud = int(np.count_nonzero(np.abs(played) > VOICED_LEVEL))
        if not loud:
            return out
        self._left_s -= loud / SAMPLE_RATE_HZ
        mixed: np.ndarray = np.clip(out + self._gain * played, -32768, 32767).astype(np.int16)
        self.pcm[-2 * n_samples :] = mixed.tobytes()
        return mixed

    def _played(self, first: int, n_samples: int) -> np.ndarray:
        """What the loudspeaker plays during these samples of the microphone."""
        at_s = (first + np.arange(n_samples)) / SAMPLE_RATE_HZ
        played = np.zeros(n_samples)
        speech = (h for s in reversed(self._ear.segments) for h in reversed(s.heard))
        for latest_first in (speech, *(reversed(b) for b in self._ear.behind.values())):
            for heard in latest_first:
                if heard.end_s <= at_s[0]:
                    break
                if heard.start_s < at_s[-1]:
                    index = np.round((at_s - heard.start_s) * heard.rate_hz).astype(int)
                    inside = (index >= 0) & (index < len(heard.pcm))
                    played[inside] += heard.pcm[index[inside]]
        return played
