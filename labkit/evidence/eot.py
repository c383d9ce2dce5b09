"""The published end-of-turn sweep on the callers' own speech, or on a user's recordings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labkit.engine.experiment import N_CALLS_UNANSWERED
from labkit.engine.marked import MarkedTurn, Span, spoken
from labkit.engine.progress import Progress, reported
from labkit.engine.provenance import provenance
from labkit.engine.recordings import recorded
from labkit.engine.tables import Results
from labkit.engine.workload import checked_path
from labkit.errors import UsageError
from labkit.evidence import eot_bench
from labkit.evidence.eot_bench import LOCAL, SILENCE
from labkit.evidence.eot_comparison import compared
from labkit.evidence.eot_policy import (
    ACTION_DELAYS_S,
    SCORED_S,
    THRESHOLDS,
    TIMEOUTS_S,
    sweep,
    sweep_silence,
)
from labkit.settings import Settings
from labkit.tunnel.detector import Detector, asked_s
from labkit.tunnel.spec import N_TURNS, SEED

_LATE_S = 0.15
"""How long after a silence has ended the VAD may still hear it."""


@dataclass
class Eot:
    """What policies do at the ends and pauses of turns.

    Attributes:
        silences: One row per marked silence: ``call``, ``turn``, ``voice``, ``name`` (of the clip
            or file), ``start_s`` and ``length_s`` (infinite at an end), ``is_end``, ``score`` (the
            local detector's at 0.2 s of silence as the SDK's VAD hears it, when a session asks;
            NaN in silences that end before), ``asked_s`` (how long after the last sound that is),
            and where it was wanted ``early_score``, 0.2 s after the last sound.
        sweep: One row per policy of the grid and ``detector``, with its outcome: see
            :func:`labkit.evidence.eot_policy.sweep`.
        comparison: One row per published figure, and ours: see
            :func:`labkit.evidence.eot_comparison.compared`.
        results: The silences with calls and provenance, as other runs leave theirs.
    """

    silences: pd.DataFrame
    sweep: pd.DataFrame
    comparison: pd.DataFrame
    results: Results


def eot(
    *,
    calls: int = N_CALLS_UNANSWERED,
    turns: int = N_TURNS,
    seed: int = SEED,
    settings: Mapping[str, object] | None = None,
    recordings: str | Path | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    action_delays_s: Sequence[float] = ACTION_DELAYS_S,
    timeouts_s: Sequence[float] = TIMEOUTS_S,
    early: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Eot:
    """Sweeps the published policies for silence alone and for the SDK's local detector.

    Args:
        calls: Calls of which the turns are taken; no agent is run.
        turns: Caller turns in each.
        seed: Everything random follows from it.
        settings: Dotted settings, as ``labkit config`` lists them, of the callers and their line.
        recordings: A folder with recordings of one's own instead, as
            :mod:`labkit.engine.recordings` describes.
        thresholds: Scores from which a turn counts as finished, 0 to 1.
        action_delays_s: Silences after which the score may act, 0.2 s or more.
        timeouts_s: Silences after which the turn ends whatever the score.
        early: Also ask the detector 0.2 s after the last sound, which the VAD hears later.
        out: Where to write the silences (``.parquet``; calls and provenance go beside it).
        progress: Called with (turns done, turns in all); a bar by default.

    Raises:
        UsageError, SettingError, RecordingError: nothing was scored or written.
    """
    began = time.perf_counter()
    if out is not None:
        checked_path(out)
    _check_grid(thresholds, action_delays_s, timeouts_s)
    bench = eot_bench.load()
    given = Settings(settings)
    if recordings is not None:
        if given.as_dict():
            raise UsageError("recordings have callers of their own: no setting changes them")
        marked: Iterable[MarkedTurn] = (found := recorded(recordings))
        n_turns = len(found)
    else:
        if calls < 1 or turns < 1:
            raise UsageError(f"calls={calls}, turns={turns}: at least 1 of each is needed")
        marked = (t for c in range(calls) for t in spoken(given, seed, c, turns))
        n_turns = calls * turns
    silences = score(marked, n_turns, early=early, progress=progress)
    swept = pd.concat([
        sweep_silence(silences).assign(detector=SILENCE),
        sweep(silences, thresholds, action_delays_s, timeouts_s).assign(detector=LOCAL),
    ], ignore_index=True)  # fmt: skip
    terms = {"recordings": None if recordings is None else Path(recordings).name,
             "settings": given.as_dict(), "seed": seed, "n_calls": calls, "n_turns": turns,
             "n_calls_finished": silences["call"].nunique(), "clock": "none"}  # fmt: skip
    results = Results(
        silences, _calls(silences), provenance(**json.loads(json.dumps(terms, default=str))),
        wall_s=time.perf_counter() - began,
    )  # fmt: skip
    if out is not None:
        results.save_if_possible(out)
    return Eot(silences, swept, compared(silences, bench), results)


def score(
    turns: Iterable[MarkedTurn],
    n_turns: int,
    *,
    early: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Asks the local detector at every silence of some turns.

    Returns:
        The table ``silences`` of :class:`Eot`.
    """
    detector, rows = Detector(), []
    try:
        with reported(progress, 0, n_turns, "turn") as tell:
            for done, turn in enumerate(turns, 1):
                rows += _scored(turn, detector, early)
                if done % 20 == 0:
                    detector.keep()
                tell(done, n_turns)
    finally:
        detector.keep()  # what was computed is not lost when a run is stopped
    return pd.DataFrame(rows)


def _scored(turn: MarkedTurn, detector: Detector, early: bool) -> list[dict[str, Any]]:
    asked = asked_s(turn.pcm)
    rows = []
    for start_s, end_s in (*turn.pauses, (turn.end_s, np.inf)):
        at_s = _first_in(asked, (start_s, end_s))
        row: dict[str, Any] = {
            "call": turn.call, "turn": turn.turn, "voice": turn.voice, "name": turn.name,
            "start_s": start_s, "length_s": end_s - start_s, "is_end": np.isinf(end_s),
            "score": np.nan if np.isnan(at_s) else detector.score(turn.pcm, at_s),
            "asked_s": at_s - start_s,
        }  # fmt: skip
        if early:
            long_enough = end_s - start_s >= SCORED_S - 1e-9
            at_s = start_s + SCORED_S
            row["early_score"] = detector.score(turn.pcm, at_s) if long_enough else np.nan
        rows.append(row)
    return rows


def _first_in(asked: Sequence[float], silence: Span) -> float:
    """When the detector is first asked about a silence; NaN if the caller goes on before that."""
    start_s, end_s = silence
    return next((t for t in asked if start_s < t <= end_s + _LATE_S), np.nan)


def _calls(silences: pd.DataFrame) -> pd.DataFrame:
    """One row per call, in the columns of other runs."""
    n_turns = silences.groupby("call")["turn"].nunique().rename("n_turns").reset_index()
    return n_turns.assign(arm="", status="ok", error="", simulated_s=np.nan, wall_s=np.nan)


def _check_grid(
    thresholds: Sequence[float], action_delays_s: Sequence[float], timeouts_s: Sequence[float]
) -> None:
    """Refuses a grid before anything is scored."""
    for name, values, low, high in (
        ("threshold", thresholds, 0.0, 1.0),
        ("action delay", action_delays_s, SCORED_S, np.inf),
        ("timeout", timeouts_s, SCORED_S, np.inf),
    ):
        bad = [v for v in values if not low <= v <= high or np.isinf(v)]
        if bad or not len(values):
            limit = "and finite" if np.isinf(high) else f"and at most {high:g}"
            shown = f"{bad[0]:g}" if bad else "nothing"
            raise UsageError(f"{name} {shown}: must be at least {low:g} {limit}")
    if max(timeouts_s) < min(action_delays_s):
        raise UsageError("every timeout is shorter than every action delay: no policy is possible")
