"""Study 18: one choice of the two delays that end a turn, made with the explorer's knobs."""

from __future__ import annotations

from labkit.engine.experiment import Arm

BASELINE, CHOSEN = "baseline", "chosen"
"""What the explorer calls its two arms."""


def choice(min_delay_s: float, max_delay_s: float) -> dict[str, float]:
    """Settings of the two delays, seconds: when the turn seems over, and when that is in doubt."""
    return {"endpointing.min_delay_s": min_delay_s, "endpointing.max_delay_s": max_delay_s}


def asked(min_delay_s: float, max_delay_s: float) -> dict[str, Arm]:
    """The same two arms, for each kind of caller."""
    return {BASELINE: Arm("vanilla"), CHOSEN: Arm("vanilla", choice(min_delay_s, max_delay_s))}
