"""What LiveKit's local end-of-turn model makes of speech. Build-time only.

It is asked as it is in published figures: about the last 1.2 s, of which 0.2 s are silence.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

RATE = 16_000
SILENCE_S = 0.2
THRESHOLDS = (0.36, 0.43)

Heard = tuple[str, str, float]
"""Whose, what was asked about ("end" or the kind of a pause), the probability of an end."""


@functools.cache
def _model() -> Any:
    from livekit.local_inference import EOT

    return EOT()


def probability(pcm: np.ndarray, end_s: float) -> float:
    """Of an end of turn, 0.2 s after the sound at ``end_s`` of int16 samples at 16 kHz."""
    from livekit.local_inference import EOT_MAX_SAMPLES

    window = np.zeros(EOT_MAX_SAMPLES, np.int16)
    n = EOT_MAX_SAMPLES - round(SILENCE_S * RATE)
    end = round(end_s * RATE)
    said = pcm[max(0, end - n) : end]
    window[n - len(said) : n] = said
    return float(_model().predict(window))


def report(heard: Iterable[Heard]) -> list[str]:
    """Lines of a table: the proportion taken for an end at each threshold, by group."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for whose, what, p in heard:
        kind = "ends" if what == "end" else "pauses"
        groups[whose, kind].append(p)
        groups["all", kind].append(p)
        if what != "end":
            groups["all", f"- {what}"].append(p)
    lines = [f"{'voice':12} {'asked at':12} {'n':>5} " + " ".join(f"{t:>6}" for t in THRESHOLDS)]
    for (whose, kind), own in sorted(groups.items()):
        taken = " ".join(f"{np.mean(np.asarray(own) >= t):6.1%}" for t in THRESHOLDS)
        lines.append(f"{whose:12} {kind:12} {len(own):5} {taken}")
    return lines
