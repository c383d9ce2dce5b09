"""Measures one set of settings against a pinned baseline, better and better, in the background.

Both are arms of the same callers. After every call that ends there is a new answer; another set
may be chosen at any time. Whoever asks is never kept waiting: a thread of its own hands the calls
to warm worker processes, and calls that are known already cost nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from labkit.engine import store
from labkit.engine.encoding import Rows
from labkit.engine.experiment import Arm, Experiment, Point
from labkit.engine.sweep import Job, collect, frames, jobs_of
from labkit.engine.workers import close_pool, pool
from labkit.errors import UsageError

_GIVE_UP = 2
BASELINE, CHOSEN = "baseline", "chosen"


@dataclass(frozen=True)
class Progress:
    """How far a measurement has come.

    Attributes:
        choice: Number of the choice it belongs to; a later one has a larger number.
        baseline: Turns of the baseline, of the calls that both arms have finished.
        chosen: Turns of the chosen settings, of the same calls.
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
    experiment: Experiment
    points: list[Point]
    jobs: list[Job]
    began_s: float
    known: dict[str, Rows] = field(default_factory=dict)
    handed: set[str] = field(default_factory=set)
    looked_up: bool = False

    @property
    def next(self) -> Job | None:
        """The first call that no worker has been given; None when it is no use."""
        if self.hopeless:
            return None
        return next((j for j in self.jobs if j.key not in self.handed), None)

    @property
    def hopeless(self) -> bool:
        """Whether every call of the chosen settings failed, several times: they cannot be run."""
        own = [self.known[j.key]["call"] for j in self.jobs if j.point and j.key in self.known]
        return len(own) >= _GIVE_UP and all(call["status"] != "ok" for call in own)

    def progress(self, paused: bool) -> Progress:
        done = [
            {j.spec.call for j in self.jobs if j.point == i and j.key in self.known}
            for i in range(len(self.points))
        ]
        both = set.intersection(*done)
        arms = []
        for i in range(len(self.points)):
            own = [j for j in self.jobs if j.point == i and j.spec.call in both]
            arms.append(frames(self.points, own, self.known)[0])
        errors = (rows["call"].get("error") for rows in self.known.values())
        return Progress(
            choice=self.choice,
            baseline=arms[0],
            chosen=arms[1],
            n_calls=len(both),
            total=self.experiment.calls,
            running=not (paused or self.hopeless) and len(both) < self.experiment.calls,
            elapsed_s=time.monotonic() - self.began_s,
            errors=tuple(dict.fromkeys(str(e) for e in errors if e)),
        )


class Refiner:
    """Keeps measuring what was chosen last.

    Args:
        agent: A built-in agent's name, ``path.py`` or ``path.py:object``.
        tell: Called with a :class:`Progress` after each call that ended, from another thread.
        calls: Calls of each arm at which a measurement ends by itself.
        turns: Caller turns in each call.
        seed: Everything random follows from it.
        workers: Worker processes.

    Raises:
        UsageError, AgentFileError: nothing was started.
    """

    def __init__(
        self,
        agent: str = "vanilla",
        *,
        tell: Callable[[Progress], None],
        calls: int = 80,
        turns: int = 5,
        seed: int = 7,
        workers: int = 2,
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers={workers}: must be at least 1")
        self._agent, self._tell, self._workers = agent, tell, workers
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

        Args:
            baseline: Settings of the baseline.
            chosen: Settings that are held against it.
            common: Settings of both: who calls, from how far.

        Returns:
            The number of this choice, which its progress carries.

        Raises:
            UsageError, SettingError, AgentFileError: the choice before stays.
        """
        arms = {BASELINE: Arm(self._agent, baseline), CHOSEN: Arm(self._agent, chosen)}
        experiment = Experiment(arms, settings=common or {}, **self._terms)
        points = experiment.runs()
        jobs = jobs_of(experiment, points)
        with self._state:
            self._choices += 1
            self._target = _Target(self._choices, experiment, points, jobs, time.monotonic())
            self._paused = False
            self._state.notify_all()
            return self._choices

    @property
    def experiment(self) -> Experiment:
        """What is measured, as :func:`labkit.engine.sweep.sweep` takes it."""
        target = self._target
        if target is None:
            raise RuntimeError("nothing was chosen yet")
        return target.experiment

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
                    for job, rows in collect(self._jobs(kept), self._workers, kept=kept):
                        self._note(job, rows)
                    self._say()
                except Exception as e:  # such as a full disk: whoever looks must learn of it
                    self.stop()
                    self._say(f"{type(e).__name__}: {e}")
        finally:
            kept.close()
            close_pool(pool(self._workers))

    def _wait(self) -> bool:
        """Waits until there is something to run; False when closed."""
        with self._state:
            self._state.wait_for(
                lambda: (
                    self._closed
                    or (not self._paused and self._target is not None and self._target.next)
                )
            )
            return not self._closed

    def _jobs(self, kept: store.CallStore) -> Iterator[Job]:
        """The next call of what is chosen at the moment it is asked for."""
        while not self._paused and not self._closed:
            target = self._target
            assert target is not None
            if not target.looked_up:
                target.looked_up = True
                target.known |= kept.find(j.key for j in target.jobs)
                target.handed |= target.known.keys()
                self._say()
            job = target.next
            if job is None:
                return
            target.handed.add(job.key)
            yield job

    def _note(self, job: Job, rows: Rows) -> None:
        target = self._target
        if target is not None and any(j.key == job.key for j in target.jobs):
            target.known[job.key] = rows
            target.handed.add(job.key)
            self._say()

    def _say(self, trouble: str = "") -> None:
        target = self._target
        if target is not None and not self._closed:
            told = target.progress(self._paused)
            self._tell(replace(told, errors=(*told.errors, trouble)) if trouble else told)
