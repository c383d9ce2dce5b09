"""Measures settings against a pinned baseline in the background, call by call.

Both are arms that hear the same callers. Every finished call gives a better answer, and other
settings may be chosen at any time. Nobody waits: a thread hands the calls to warm worker processes,
and calls that are known already cost nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from labkit.engine import store
from labkit.engine.calls import Finished, run_jobs
from labkit.engine.experiment import N_CALLS, Arm, Experiment
from labkit.engine.forkserver import stop_calls
from labkit.engine.workers import n_workers
from labkit.engine.workload import Job, Workload
from labkit.tunnel.spec import N_TURNS, SEED

_GIVE_UP = 2


@dataclass(frozen=True)
class Snapshot:
    """The state of a measurement in progress.

    Attributes:
        choice: Number of the choice it belongs to; a later one has a larger number.
        baseline, chosen: Turns of either arm, of the calls that both have finished.
        n_calls: How many calls that are.
        total: Calls at which it ends by itself.
        running: Whether more is to come.
        elapsed_s: Wall seconds since the choice.
        errors: What went wrong in calls that failed, each once.
    """

    choice: int
    baseline: pd.DataFrame
    chosen: pd.DataFrame
    n_calls: int
    total: int
    running: bool
    elapsed_s: float
    errors: tuple[str, ...] = ()


@dataclass
class _Target:
    """Two arms and what is known of them. Only the refiner's thread changes one."""

    choice: int
    work: Workload
    began_s: float = field(default_factory=time.monotonic)
    handed: set[str] = field(default_factory=set)
    looked_up: bool = False

    @property
    def next(self) -> Job | None:
        """The first call that no worker has been given; None if there is none or it is hopeless."""
        if self.hopeless:
            return None
        return next((j for j in self.work.jobs if j.key not in self.handed), None)

    @property
    def hopeless(self) -> bool:
        """Whether every call of the chosen settings failed, several times: they cannot be run."""
        work = self.work
        own = [work.known[j.key]["call"] for j in work.jobs if j.point and j.key in work.known]
        return len(own) >= _GIVE_UP and all(call["status"] != "ok" for call in own)

    def progress(self, paused: bool) -> Snapshot:
        work = self.work
        both = work.finished(0) & work.finished(1)
        baseline, chosen = (work.frames(points=(i,), calls=both)[0] for i in range(2))
        errors = (rows["call"].get("error") for rows in work.known.values())
        total = work.experiment.calls
        return Snapshot(
            choice=self.choice,
            baseline=baseline,
            chosen=chosen,
            n_calls=len(both),
            total=total,
            running=not (paused or self.hopeless) and len(both) < total,
            elapsed_s=time.monotonic() - self.began_s,
            errors=tuple(dict.fromkeys(str(e) for e in errors if e)),
        )


class Refiner:
    """Keeps measuring what was chosen last.

    Args:
        agent, turns, seed, workers: As of :func:`labkit.engine.run.run`.
        tell: Called with a :class:`Snapshot` after each call that ended, from another thread.
        calls: Calls of each arm at which a measurement ends by itself.

    Raises:
        UsageError, AgentFileError: nothing was started.
    """

    def __init__(
        self,
        agent: str = "vanilla",
        *,
        tell: Callable[[Snapshot], None],
        calls: int = N_CALLS,
        turns: int = N_TURNS,
        seed: int = SEED,
        workers: int = 0,
    ) -> None:
        self._agent, self._tell, self._workers = agent, tell, n_workers(workers)
        self._terms: dict[str, Any] = {"calls": calls, "turns": turns, "seed": seed}
        self._state = threading.Condition()
        self._target: _Target | None = None
        self._choices, self._paused, self._closed = 0, False, False
        self._thread = threading.Thread(target=self._work, name="labkit refine", daemon=True)
        self._thread.start()

    def choose(
        self,
        baseline: Mapping[str, object],
        chosen: Mapping[str, object],
        common: Mapping[str, object] | None = None,
    ) -> int:
        """Measures other settings from now on; calls under way are finished and kept.

        Settings in ``common`` are those of both: who calls, from how far.

        Returns:
            The number of this choice, which its progress carries.

        Raises:
            UsageError, SettingError, AgentFileError: the choice before stays.
        """
        arms = {"baseline": Arm(self._agent, baseline), "chosen": Arm(self._agent, chosen)}
        work = Workload(Experiment(arms, settings=common or {}, **self._terms))
        with self._state:
            self._choices += 1
            self._target = _Target(self._choices, work)
            self._paused = False
            self._state.notify_all()
            return self._choices

    @property
    def experiment(self) -> Experiment:
        """What is measured, as :func:`labkit.engine.sweep.sweep` takes it."""
        if self._target is None:
            raise RuntimeError("call choose() first")
        return self._target.work.experiment

    def stop(self) -> None:
        """Begins no more calls; those under way are finished and kept."""
        with self._state:
            self._paused = True

    def go_on(self) -> None:
        """Goes on where :meth:`stop` stopped."""
        with self._state:
            self._paused = False
            self._state.notify_all()

    def close(self) -> None:
        """Ends the thread and its workers."""
        with self._state:
            self._closed = True
            self._state.notify_all()
        self._thread.join()

    def _work(self) -> None:
        kept = store.CallStore()
        try:
            while self._wait():
                try:
                    for call in run_jobs(self._jobs(kept), self._workers, kept=kept):
                        self._note(call)
                    self._say()
                except Exception as e:  # such as a full disk; shown to the user
                    self.stop()
                    self._say(f"{type(e).__name__}: {e}")
        finally:
            kept.close()
            stop_calls()

    def _wait(self) -> bool:
        """Waits until there is something to run; False when closed."""
        with self._state:
            self._state.wait_for(
                lambda: self._closed or (not self._paused and self._target and self._target.next)
            )
            return not self._closed

    def _jobs(self, kept: store.CallStore) -> Iterator[Job]:
        """The next call of what is chosen at the moment it is asked for."""
        while not self._paused and not self._closed:
            target = self._target
            assert target is not None
            if not target.looked_up:
                target.looked_up = True
                target.work.look_up(kept)
                target.handed |= target.work.known.keys()
                self._say()
            job = target.next
            if job is None:
                return
            target.handed.add(job.key)
            yield job

    def _note(self, call: Finished) -> None:
        target, key = self._target, call.job.key
        if target and any(j.key == key for j in target.work.jobs):
            target.work.known[key] = call.rows
            target.handed.add(key)
            self._say()

    def _say(self, trouble: str = "") -> None:
        if self._target and not self._closed:
            told = self._target.progress(self._paused)
            self._tell(replace(told, errors=(*told.errors, trouble)) if trouble else told)
