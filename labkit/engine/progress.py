"""How far a run has come: a bar with the time left, where somebody is watching."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], object]
"""Called with (calls done, calls in all), at first with those that were known already."""


def quiet(done: int, total: int) -> None:
    """Progress that nobody is told."""


@contextmanager
def reported(
    progress: Progress | None, done: int, total: int, unit: str = "call"
) -> Iterator[Progress]:
    """What is to be called as calls end.

    Args:
        progress: Who is told; None for a bar in a terminal or a notebook, and nothing elsewhere.
        done: Calls that were known already; the estimate of the time left leaves them out.
        total: Calls in all.
        unit: What is counted, if it is not calls.
    """
    if progress is not None or done == total:
        tell = progress or quiet
        tell(done, total)
        yield tell
        return
    from tqdm.auto import tqdm

    # a notebook's streams are no terminal either, and there tqdm overlooks its own variable
    in_notebook = any(c.__module__ == "tqdm.notebook" for c in tqdm.__mro__)
    disable = bool(os.environ.get("TQDM_DISABLE")) if in_notebook else None
    known = f" ({done} known already)" if done else ""
    with tqdm(
        desc=f"{unit}s{known}", initial=done, total=total, unit=unit, leave=False, disable=disable
    ) as bar:
        yield lambda done, _: bar.update(done - bar.n)
