"""What a caller speaks into: it sends what leaves the mouth, as its codec leaves it."""

from __future__ import annotations

import numpy as np

from labkit.callers.caller import Mouth
from labkit.callers.g711 import G711


class Device:
    """The sending end of a line.

    Args:
        mouth: What is said.
        coder: What the codec does to it; None if it leaves it as it is.
    """

    def __init__(self, mouth: Mouth, coder: G711 | None) -> None:
        self.mouth, self._coder = mouth, coder
        self._ahead = coder.look_ahead if coder else 0

    def emit(self, n_samples: int) -> np.ndarray:
        """The next samples, int16; ``scene.track`` receives them."""
        pcm = self.mouth.emit(n_samples + self._ahead)
        self._ahead = 0  # the codec's look-ahead is taken once
        if self._coder is not None:
            pcm = self._coder.carry(pcm)
        self.mouth.scene.track.pcm += pcm.tobytes()
        return pcm
