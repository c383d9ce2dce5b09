"""Runs calls on workers and hands over each as it ends. Everything that runs calls does so here.

Rows are stored the moment a call ends, so that whatever is killed loses only the calls in flight,
and goes on from there when it is run again.
"""

from __future__ import annotations

import importlib
import queue
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from pathlib import Path

from labkit.engine import store
from labkit.engine.child import Overtime
from labkit.engine.encoding import Rows, decode, encode
from labkit.engine.forks import born
from labkit.engine.progress import Progress, reported
from labkit.engine.workers import Cluster, Local, n_workers
from labkit.engine.workload import Job, Workload
from labkit.errors import UsageError
from labkit.measure.timeline import call_row, turn_rows
from labkit.settings import Settings
from labkit.tunnel.isolation import limited_memory
from labkit.tunnel.record import CallRecord, Tracks
from labkit.tunnel.spec import CallSpec

_TRIES = 3
"""A call whose process was killed this often is given up."""


class Changed(RuntimeError):
    """What a call depends on is not what it was when the run began."""


@dataclass(frozen=True)
class Answer:
    """What a worker sends back of a call."""

    rows: bytes
    refused: bool = False
    """Whether the agent asked for a host that the tunnel does not have."""
    tracks: Tracks | None = None


@dataclass(frozen=True)
class Finished:
    """A job whose call has ended: its rows, and its sound if it was asked for."""

    job: Job
    rows: Rows
    tracks: Tracks | None = None


def work_off(
    work: Workload,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    fresh: bool = False,
    tracks: str | Path | None = None,
    progress: Progress | None = None,
) -> bool:
    """Runs the calls of a workload that are not known yet, and adds them to it.

    The options are those of :func:`labkit.engine.run.run`.

    Returns:
        Whether it was interrupted. Finished calls are known then, too.

    Raises:
        UsageError: the number of workers, the scheduler, or what an agent asks for.
    """
    kept = store.CallStore() if work.virtual else None
    try:
        if kept and not fresh and tracks is None:
            work.look_up(kept)
        missing = work.missing
        done, total = len(work.jobs) - len(missing), len(work.jobs)
        if tracks is not None:
            missing = [replace(j, spec=replace(j.spec, tracks=True)) for j in missing]
        with reported(progress, done, total) as tell:
            for call in run_jobs(missing, workers, scheduler, kept):
                if tracks is not None and call.tracks is not None:
                    _write_tracks(Path(tracks), call.job.spec.call, call.tracks)
                work.known[call.job.key] = call.rows
                done += 1
                tell(done, total)
    except KeyboardInterrupt:
        return True
    finally:
        if kept:
            kept.close()
    return False


def run_jobs(
    jobs: Iterable[Job],
    workers: int = 0,
    scheduler: str | None = None,
    kept: store.CallStore | None = None,
) -> Iterator[Finished]:
    """Runs calls and yields each as it ends.

    Args:
        jobs: What to run, in this order; asked for the next one when there is a worker for it.
        workers, scheduler: As of :func:`labkit.engine.run.run`.
        kept: Where the rows of good calls are kept. Those in which something failed are not, as
            the reason may have been a full disk or want of memory.

    Raises:
        UsageError: the first call of a point that ended could not be run as asked for, such as an
            agent file that does not load, or a host that the tunnel does not have.
    """
    crowd = n_workers(workers)
    there = Cluster(scheduler) if scheduler else Local(crowd)
    ended: set[int] = set()
    try:
        for job, answer in _run(jobs, there):
            rows = decode(answer.rows)
            if answer.refused and job.point not in ended:
                raise UsageError(rows["call"]["error"])
            ended.add(job.point)
            if kept and rows["call"]["status"] == "ok" and not rows["call"]["agent_errors"]:
                kept.add(job.key, answer.rows)
            yield Finished(job, rows, answer.tracks)
    except BaseException:
        there.close(at_once=True)
        raise
    there.close()


def _run(jobs: Iterable[Job], there: Local | Cluster) -> Iterator[tuple[Job, Answer]]:
    """Each job with what its process sent, as they come.

    One whose process was killed is run again at the end.
    """
    fresh, again = iter(jobs), deque[Job]()
    deaths: Counter[str] = Counter()
    running: dict[Future[Answer], Job] = {}
    ended: queue.SimpleQueue[Future[Answer]] = queue.SimpleQueue()
    while True:
        while len(running) < there.crowd:
            job = next(fresh, None) or (again.popleft() if again else None)
            if job is None:
                break
            future = there.submit(run_checked, job.spec, job.key)
            running[future] = job
            future.add_done_callback(ended.put)
        if not running:
            return
        importlib.import_module("labkit.engine.tables")  # pandas loads while the server starts
        future = ended.get()
        job = running.pop(future)
        try:
            answer = future.result()
        except there.lost as e:
            deaths[job.key] += 1
            if getattr(e, "killed", True) and deaths[job.key] < _TRIES:
                again.append(job)
                continue
            answer = _lost(job.spec, str(e))
        except Overtime as e:
            answer = _lost(job.spec, str(e))
        except CancelledError:
            raise UsageError(
                "the Dask cluster has gone; finished calls are kept: run the same again"
            ) from None
        except UsageError:
            raise
        except Exception as e:
            answer = _lost(job.spec, f"{type(e).__name__}: {e}")
        yield job, answer


def run_checked(spec: CallSpec, key: str) -> Answer:
    """Runs one call in this process, which is its own.

    Raises:
        Changed: its rows would be kept under a name that does not say what was run.
        UsageError: it cannot be run as asked for.
    """
    from labkit.tunnel.worker import run_call

    with limited_memory(round(Settings(spec.settings).number("limit.memory_mb") * 1e6)):
        record = run_call(spec)
    answer = Answer(_rows(record), record.refused, record.tracks)
    if spec.virtual and store.key(spec, born()) != key:
        raise Changed(
            "the agent, the data, labkit or its packages are not those that the run began with: "
            "run it again, in a new session if need be; Dask workers need the same installation"
        )
    return answer


def _lost(spec: CallSpec, error: str) -> Answer:
    return Answer(_rows(CallRecord.lost(spec.call, spec.seed, error)))


def _rows(record: CallRecord) -> bytes:
    return encode({"turns": turn_rows(record), "call": call_row(record)})


def _write_tracks(folder: Path, call: int, tracks: Tracks) -> None:
    import numpy as np
    import soundfile

    from labkit.world.scene import SAMPLE_RATE_HZ

    folder.mkdir(parents=True, exist_ok=True)
    stereo = np.stack([tracks.mouth, tracks.ear], axis=1)
    soundfile.write(folder / f"call-{call:04d}.wav", stereo, SAMPLE_RATE_HZ)
    if not np.array_equal(tracks.mouth, tracks.speech):
        soundfile.write(folder / f"call-{call:04d}-speech.wav", tracks.speech, SAMPLE_RATE_HZ)
