"""The response latency against an independent measurement of recorded calls (``by_ear.py``).

The two differ by up to a window of 10 ms at either end, and by a little more where a word fades
out: that is what the 30 ms are for. Only energy is compared: a detector that decides from what
speech is like reports onsets up to 90 ms late.
"""

from __future__ import annotations

import numpy as np
import pytest

by_ear = pytest.importorskip("by_ear", reason="auditok is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("line", by_ear.LINES)
def test_the_audio_says_the_same_for_every_persona(line: str) -> None:
    every = [by_ear.calls_of(persona, line, 2, 3) for persona in by_ear.PERSONAS]
    assert min(map(len, every)) >= 3, "each persona is answered"
    found = np.concatenate(every)
    assert len(found) >= 45
    assert by_ear.agreement(found) >= 0.99, sorted(found)


@pytest.mark.slow
def test_a_delay_that_the_table_left_out_would_be_heard() -> None:
    found = by_ear.calls_of("fluent", "sip", 1, 3)
    assert by_ear.agreement(found) == 1.0
    assert by_ear.agreement(found + 0.05) == 0.0
