"""Runs one arm: a sweep of one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.engine.experiment import N_CALLS, Arm, Experiment
from labkit.engine.progress import Progress
from labkit.engine.sweep import carry_out
from labkit.engine.workload import Workload
from labkit.settings import Settings
from labkit.tunnel.spec import N_TURNS, SEED

if TYPE_CHECKING:
    from labkit.engine.tables import Results


def run(
    agent: str = "vanilla",
    *,
    calls: int = N_CALLS,
    turns: int = N_TURNS,
    seed: int = SEED,
    settings: Mapping[str, object] | None = None,
    clock: str = "virtual",
    workers: int = 0,
    scheduler: str | None = None,
    fresh: bool = False,
    out: str | Path | None = None,
    tracks: str | Path | None = None,
    first: int = 0,
    progress: Progress | None = None,
) -> Results:
    """Runs an agent against simulated callers, or as many of its calls as are not known yet.

    Args:
        agent: A built-in agent's name, ``path.py`` or ``path.py:object``.
        calls: How many calls.
        turns: Caller turns in each call.
        seed: Everything random follows from it.
        settings: Dotted settings, as ``labkit config`` lists them.
        clock: ``virtual``, or ``wall`` to run in real time.
        workers: Worker processes; 0 for one per core.
        scheduler: Address of a running Dask cluster (``tcp://HOST:PORT``), to run there instead.
        fresh: Run every call, even those that are known.
        out: Where to write the turns (``.parquet``; calls and provenance go beside it). Also
            written when the run is interrupted.
        tracks: A folder for one stereo WAV per call, ``call-0000.wav``: caller left, agent as
            heard right. Where something lies behind the words, ``call-0000-speech.wav`` holds them
            alone. Every call is run then.
        first: Index of the first call, to repeat a single one.
        progress: Called with (calls done, calls in all), at first with those already known; a bar
            in a terminal or a notebook by default.

    Returns:
        The tables, with the changed settings as columns. Calls that failed have a row with their
        error, and their turns are kept.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: no table was written.
    """
    changes = Settings(settings).as_dict()
    arms = {Path(agent.partition(":")[0]).stem: Arm(agent)}
    experiment = Experiment(
        arms, points=[changes], calls=calls, turns=turns, seed=seed, clock=clock, first=first
    )

    def terms(work: Workload) -> dict[str, Any]:
        spec = work.points[0].spec
        name = Path(agent).name if agent.endswith(".py") else spec.agent
        return {"agent": name, "settings": spec.settings, "seed": seed, "n_calls": calls,
                "n_turns": turns, "clock": clock}  # fmt: skip

    return carry_out(
        experiment, terms, out, workers=workers, scheduler=scheduler, fresh=fresh,
        tracks=tracks, progress=progress,
    )  # fmt: skip
