"""Runs one arm: calls on a pool of warm workers, tables out."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.engine import tables
from labkit.engine.encoding import decode, encode
from labkit.engine.workers import close_pool, pool
from labkit.errors import UsageError
from labkit.measure.timeline import call_row, turn_rows
from labkit.settings import Settings
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.declaration import check_parameters
from labkit.tunnel.record import CallRecord
from labkit.tunnel.worker import CallSpec, run_call

Progress = Callable[[int, int], None]


def run(
    agent: str = "vanilla",
    *,
    calls: int = 20,
    turns: int = 5,
    seed: int = 7,
    settings: Mapping[str, object] | None = None,
    clock: str = "virtual",
    workers: int = 1,
    out: str | Path | None = None,
    tracks: str | Path | None = None,
    arm: str | None = None,
    first: int = 0,
    progress: Progress | None = None,
) -> tables.Results:
    """Runs an agent against simulated callers.

    Args:
        agent: A built-in agent's name, ``path.py`` or ``path.py:object``.
        calls: How many calls.
        turns: Caller turns in each call.
        seed: Everything random follows from it.
        settings: Dotted settings, as ``labkit config`` lists them.
        clock: ``virtual``, or ``wall`` to run at the speed of life.
        workers: Worker processes.
        out: Where to write the turns (``.parquet``; calls and provenance go beside it). Also
            written when the run is interrupted.
        tracks: A folder for one stereo WAV per call: caller left, agent as heard right.
        arm: Name in the tables; the agent's by default.
        first: Index of the first call, to repeat a single one.
        progress: Called with (calls done, calls in all).

    Returns:
        The tables. Calls that failed have a row with their error, and their turns are kept.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: nothing was run or written.
    """
    chosen = Settings(settings)
    _check_numbers(calls, workers, out)
    if first < 0:
        raise UsageError(f"first={first}: must be at least 0")
    spec = replace(
        call_spec(agent, chosen, seed=seed, turns=turns, clock=clock), tracks=tracks is not None
    )
    name = arm or Path(agent.partition(":")[0]).stem
    began = time.perf_counter()
    wanted = range(first, first + calls)
    records, interrupted = _collect(spec, wanted, workers, tracks, progress)
    results = tabulate(records, spec, name)
    results.wall_s = time.perf_counter() - began
    results.interrupted = interrupted
    if out is not None:
        results.save(out)
    return results


def call_spec(
    agent: str, settings: Settings, *, seed: int, turns: int, clock: str = "virtual"
) -> CallSpec:
    """What each call of an arm runs, checked.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: something in it cannot be used.
    """
    from labkit.providers.profile import load_profiles
    from labkit.world.dialogue import load_dialogues
    from labkit.world.speech import SpeechCorpus
    from labkit.world.turn import unknown_name

    if turns < 1:
        raise UsageError(f"turns={turns}: must be at least 1")
    if clock not in ("virtual", "wall"):
        raise UsageError(f"clock={clock}: allowed are virtual and wall")
    check_parameters(find_agent(agent)[0], settings)
    load_profiles(settings.text("profile") or None, settings.figures)
    dialogue, known = settings.text("caller.dialogue"), load_dialogues()
    if dialogue != "mixed" and dialogue not in known:
        raise UsageError(unknown_name("caller.dialogue", "dialogue", dialogue, ["mixed", *known]))
    if settings.extra_hosts:
        from labkit.providers.registry import EMULATORS

        for host, provider in settings.extra_hosts.items():
            if provider not in EMULATORS:
                raise UsageError(unknown_name(f"hosts.{host}", "provider", provider, EMULATORS))
    SpeechCorpus.load().check()
    return CallSpec(
        agent=_absolute(agent) if agent.partition(":")[0].endswith(".py") else agent,
        settings=settings.as_dict(),
        seed=seed,
        n_turns=turns,
        virtual=clock == "virtual",
    )


def identity(spec: CallSpec, arm: str) -> dict[str, Any]:
    """The first columns of every table: enough to run a call again."""
    return {
        "experiment_id": experiment_id(spec),
        "arm": arm,
        "agent": spec.agent,
        "settings": json.dumps(spec.settings, sort_keys=True),
        "turns_asked": spec.n_turns,
        "clock": _clock(spec),
    }


def _clock(spec: CallSpec) -> str:
    return "virtual" if spec.virtual else "wall"


def run_rows(spec: CallSpec) -> bytes:
    """Runs one call in this process and returns the encoded rows of its tables."""
    return _rows(run_call(spec))


def lost_call(spec: CallSpec, error: str) -> bytes:
    """The encoded rows of a call of which nothing is left but that it failed."""
    return _rows(_lost(spec, error))


def _rows(record: CallRecord) -> bytes:
    return encode({"turns": turn_rows(record), "call": call_row(record)})


def tabulate(records: list[CallRecord], spec: CallSpec, arm: str) -> tables.Results:
    """Tables of finished calls of one arm."""
    head = identity(spec, arm) | spec.settings
    rows = [decode(_rows(r)) for r in sorted(records, key=lambda r: r.call)]
    turns = pd.DataFrame([{**head, **row} for r in rows for row in r["turns"]])
    calls = pd.DataFrame([{**head, **r["call"]} for r in rows])
    terms = {
        "agent": spec.agent if not spec.agent.endswith(".py") else Path(spec.agent).name,
        "settings": spec.settings,
        "seed": spec.seed,
        "n_calls": len(records),
        "n_turns": spec.n_turns,
        "clock": _clock(spec),
    }
    return tables.Results(turns, calls, tables.provenance(**terms))


def experiment_id(spec: CallSpec) -> str:
    """Eight hex digits that name what was run: the agent's code, the settings and the clock."""
    path, wanted = find_agent(spec.agent)
    terms = [
        hashlib.sha256(path.read_bytes()).hexdigest(),
        wanted,
        spec.settings,
        spec.n_turns,
        spec.virtual,
    ]
    text = json.dumps(terms, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _absolute(agent: str) -> str:
    path, colon, wanted = agent.partition(":")
    return f"{Path(path).expanduser().resolve()}{colon}{wanted}"


def _check_numbers(calls: int, workers: int, out: str | Path | None) -> None:
    for name, number in (("calls", calls), ("workers", workers)):
        if number < 1:
            raise UsageError(f"{name}={number}: must be at least 1")
    if out is not None and Path(out).suffix != ".parquet":
        raise UsageError(f"out={out}: the name must end in .parquet")


def _collect(
    spec: CallSpec,
    calls: Sequence[int],
    workers: int,
    tracks: str | Path | None,
    progress: Progress | None,
) -> tuple[list[CallRecord], bool]:
    executor = pool(workers)
    jobs = {executor.submit(run_call, replace(spec, call=call)): call for call in calls}
    records: list[CallRecord] = []
    try:
        for job in concurrent.futures.as_completed(jobs):
            try:
                record = job.result()
            except concurrent.futures.BrokenExecutor as e:
                record = _lost(replace(spec, call=jobs[job]), f"the worker process died: {e}")
            if record.refused and not records:
                raise UsageError(record.error)
            if tracks is not None:
                _write_tracks(record, Path(tracks))
            records.append(record)
            if progress is not None:
                progress(len(records), len(calls))
    except KeyboardInterrupt:
        close_pool(executor)
        return records, True
    except Exception:
        for job in jobs:
            job.cancel()
        raise
    return records, False


def _lost(spec: CallSpec, error: str) -> CallRecord:
    nan = float("nan")
    return CallRecord(
        call=spec.call, seed=spec.seed, persona="", voice="", turns=[], segments=[], providers=[],
        session=[], line_delay_s=nan, one_way_s={}, simulated_s=nan, wall_s=nan,
        status="failed", error=error,
    )  # fmt: skip


def _write_tracks(record: CallRecord, folder: Path) -> None:
    import numpy as np
    import soundfile

    from labkit.world.scene import SAMPLE_RATE_HZ

    if record.tracks is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    stereo = np.stack(record.tracks, axis=1)
    soundfile.write(folder / f"call-{record.call:04d}.wav", stereo, SAMPLE_RATE_HZ)
    record.tracks = None
