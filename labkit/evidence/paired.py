"""Savings turn by turn: arms that hear the same callers meet the same luck, turn for turn.

A turn's saving is its latency in the baseline less its latency in the arm. Most of what makes turns
differ is in both and falls out, so a mean saving needs far fewer turns than a quantile does. It is
the mean over the turns that both arms answered to the end; quantiles are for ``lab.compare``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

_TURN = ["call", "turn"]


def savings(turns: pd.DataFrame, baseline: str, axes: Sequence[str] = ()) -> pd.DataFrame:
    """What each turn of each other arm saves against the same turn of the baseline.

    Args:
        turns: Turns of all arms.
        baseline: The arm that is compared with.
        axes: Swept settings; a turn is compared with the one at the same place.

    Returns:
        The turns of the other arms that both answered, with ``saved_s`` (positive is faster).

    Raises:
        ValueError: no such arm.
    """
    names = list(dict.fromkeys(turns["arm"]))
    if baseline not in names:
        raise ValueError(f"no arm {baseline!r}; there are {', '.join(names)}")
    key = [*axes, *_TURN]
    answered = turns[turns["outcome"] == "answered"]
    base = answered[answered["arm"] == baseline].set_index(key)["response_latency_s"]
    others = answered[answered["arm"] != baseline].join(base.rename("baseline_s"), on=key)
    others["saved_s"] = others.pop("baseline_s") - others["response_latency_s"]
    return others[others["saved_s"].notna()].reset_index(drop=True)


def places(
    turns: pd.DataFrame, arm: str, axes: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each place of a grid, as its swept settings, with the turns of one arm there."""
    own = turns[turns["arm"] == arm]
    if not axes:
        yield {}, own
        return
    for values, part in own.groupby(list(axes), sort=False):
        yield dict(zip(axes, values, strict=True)), part
