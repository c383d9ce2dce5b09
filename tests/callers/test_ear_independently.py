"""The response latency against an independent measurement of the recorded call, by auditok.

auditok cuts a track into stretches of sound by their energy in windows of 10 ms; the ear takes the
first sample above a level. So the two differ by up to a window at either end, and by a little more
where a word fades out: that is what the 30 ms are for. Only energy is compared: a detector that
decides from what speech is like reports onsets up to 90 ms late.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from labkit.engine.run import run

auditok = pytest.importorskip("auditok")
WINDOW_S = 0.01
CALLER_DB, AGENT_DB = 20, 42
"""auditok's thresholds, dB over one 16-bit step: the caller's track is silent between words, and
what the ear calls voiced begins at -45 dBFS."""


def stretches(track: np.ndarray, rate_hz: int, threshold_db: float) -> list[tuple[float, float]]:
    found = auditok.split(
        track.tobytes(), sampling_rate=rate_hz, sample_width=2, channels=1, min_dur=0.02,
        max_dur=1000, max_silence=0, analysis_window=WINDOW_S, energy_threshold=threshold_db,
    )  # fmt: skip
    return [(s.start, s.end) for s in found]


@pytest.mark.slow
def test_the_audio_says_the_same(tmp_path: Path) -> None:
    results = run(
        "vanilla", calls=4, turns=5, settings={"caller.persona": "hesitant"}, tracks=tmp_path
    )
    differences = []
    for call, turns in results.turns.groupby("call"):
        stereo, rate_hz = soundfile.read(tmp_path / f"call-{call:04d}.wav", dtype="int16")
        caller = stretches(np.ascontiguousarray(stereo[:, 0]), rate_hz, CALLER_DB)
        agent = stretches(np.ascontiguousarray(stereo[:, 1]), rate_hz, AGENT_DB)
        starts = [*turns["at_caller_started_s"], np.inf]
        for i, row in enumerate(turns.itertuples()):
            if row.outcome != "answered":
                continue
            # the next turn's beginning is all that is taken from the table
            stopped_s = max(b for a, b in caller if a < starts[i + 1] - 2 * WINDOW_S)
            heard_s = min(a for a, _ in agent if a > stopped_s)
            differences.append(heard_s - stopped_s - row.response_latency_s)
    assert len(differences) >= 18
    within = np.mean(np.abs(differences) <= 0.030)
    assert within >= 0.95, sorted(differences)
