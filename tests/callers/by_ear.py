"""Response latencies from the sound of calls alone, beside those of the table.

auditok cuts both tracks of a call into stretches of sound by their energy in windows of 10 ms; no
code that measures calls in labkit takes part. A reply is the first stretch of the agent's, after
some silence of its own, before which the caller was the last to speak.

As a script it runs calls of every persona over every line and prints how well the two agree:

    python tests/callers/by_ear.py [CALLS] [TURNS]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import auditok
import numpy as np
import pandas as pd
import soundfile

from labkit.engine.run import run
from labkit.settings import SETTINGS

LINES = SETTINGS["caller.line"].choices
PERSONAS = SETTINGS["caller.persona"].choices
AGREES_S = 0.030
WINDOW_S = 0.01
CALLER_DB, AGENT_DB = 20, 42
"""auditok's thresholds, dB over one 16-bit step: the caller's words have silence between them, and
what the ear calls voiced begins at -45 dBFS."""
BREATH_S = 0.3
"""A silence of the agent's that is longer than those between its words."""

Spans = list[tuple[float, float]]


def stretches(track: np.ndarray, rate_hz: int, threshold_db: float) -> Spans:
    """Start and end of each stretch of sound, seconds."""
    found = auditok.split(
        np.ascontiguousarray(track).tobytes(), sampling_rate=rate_hz, sample_width=2, channels=1,
        min_dur=0.02, max_dur=1000, max_silence=0, analysis_window=WINDOW_S,
        energy_threshold=threshold_db,
    )  # fmt: skip
    return [(s.start, s.end) for s in found]


def waits(folder: Path, call: int, starts: list[float]) -> Iterator[float]:
    """The wait for the reply to each turn, heard in the call's WAV files; NaN without a reply.

    Args:
        folder: Where the files are.
        call: Index of the call.
        starts: When each turn begins, seconds: all that is taken from the table.
    """
    stereo, rate_hz = soundfile.read(folder / f"call-{call:04d}.wav", dtype="int16")
    words = folder / f"call-{call:04d}-speech.wav"
    mouth = soundfile.read(words, dtype="int16")[0] if words.exists() else stereo[:, 0]
    caller = stretches(mouth, rate_hz, CALLER_DB)
    agent = stretches(stereo[:, 1], rate_hz, AGENT_DB)
    onsets = [a for (a, _), before in zip(agent, [(0.0, -1.0), *agent], strict=False)
              if a - before[1] > BREATH_S]  # fmt: skip
    for from_s, to_s in zip(starts, [*starts[1:], np.inf], strict=True):
        own = [(a, b) for a, b in caller if from_s - 2 * WINDOW_S <= a < to_s - 2 * WINDOW_S]
        gaps = zip([b for _, b in own], [*(a for a, _ in own[1:]), to_s], strict=True)
        replies = (a - b for b, next_s in gaps for a in onsets if b < a < next_s)
        yield next(replies, np.nan)


def differences(folder: Path, turns: pd.DataFrame) -> np.ndarray:
    """Sound less table, seconds, of every turn that was answered after its end."""
    found = []
    for call, own in turns.groupby("call"):
        heard = waits(folder, int(call), own["at_caller_started_s"].tolist())
        found += list(np.array(list(heard)) - own["response_latency_s"].to_numpy())
    answered = turns["outcome"].isin(["answered", "interrupted"]).to_numpy()
    return np.array(found)[answered]


def calls_of(persona: str, line: str, calls: int, turns: int, **more: object) -> np.ndarray:
    """:func:`differences` of some calls that are run for it."""
    settings: Mapping[str, object] = {"caller.persona": persona, "caller.line": line, **more}
    with tempfile.TemporaryDirectory() as name:
        results = run("vanilla", calls=calls, turns=turns, settings=settings, tracks=name)
        return differences(Path(name), results.turns)


def agreement(found: np.ndarray) -> float:
    """Proportion of turns on which sound and table agree; a reply that was not heard does not."""
    return float(np.mean(np.abs(found) <= AGREES_S))


def main(calls: int = 4, turns: int = 5) -> None:
    """Prints the table."""
    print(f"{'line':8}{'persona':18}{'turns':>6}{'within 30 ms':>14}{'median':>9}{'largest':>9}")
    every = []
    for line in LINES:
        for persona in PERSONAS:
            found = calls_of(persona, line, calls, turns)
            every.append(found)
            median, largest = 1000 * np.median(found), 1000 * np.max(np.abs(found))
            print(f"{line:8}{persona:18}{len(found):6}{agreement(found):14.1%}{median:+9.1f}"
                  f"{largest:9.1f}", flush=True)  # fmt: skip
    print(f"{'all':26}{sum(map(len, every)):6}{agreement(np.concatenate(every)):14.1%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
