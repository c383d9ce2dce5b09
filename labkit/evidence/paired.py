"""Savings turn by turn: all arms hear the same callers and see the same random draws.

A turn's saving is its latency in the baseline less its latency in the arm. Most of what makes turns
differ is in both and falls out, so a mean saving needs far fewer turns than a quantile does. It is
the mean over the turns that both arms answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from labkit.errors import unknown
from labkit.evidence import statistics
from labkit.evidence.units import ms

AT_ONCE = "committed at once"
IN_PIECES = "heard in pieces"

_TURN = ["call", "turn"]
_TICK_S = 0.005
"""Two waits closer than this are the same wait."""


def savings(turns: pd.DataFrame, baseline: str, axes: Sequence[str] = ()) -> pd.DataFrame:
    """What each turn of each other arm saves against the same turn of the baseline.

    Args:
        axes: Swept settings; a turn is compared with the one at the same place.

    Returns:
        The turns of the other arms that both answered, with ``saved_s`` (positive is faster).

    Raises:
        ValueError: no such arm.
    """
    names = list(dict.fromkeys(turns["arm"]))
    if baseline not in names:
        raise ValueError(unknown("arm", baseline, names))
    key = [*axes, *_TURN]
    answered = statistics.heard(turns)
    base = answered[answered["arm"] == baseline].set_index(key)["response_latency_s"]
    others = answered[answered["arm"] != baseline].join(base.rename("baseline_s"), on=key)
    others["saved_s"] = others.pop("baseline_s") - others["response_latency_s"]
    return others[others["saved_s"].notna()].reset_index(drop=True)


def mean_savings(saved: pd.DataFrame, by: Sequence[str], sort: bool = True) -> pd.DataFrame:
    """Means of ``saved_s`` by group; see :func:`labkit.evidence.statistics.by_group`.

    Returns:
        One row per group: its columns, ``saved_s``, ``low``, ``high``, ``n_turns``.
    """
    return statistics.by_group(
        saved, by, lambda own: statistics.mean(own, "saved_s"), "saved_s", sort
    )


def waited(turns: pd.DataFrame, delay_s: float) -> pd.Series:
    """Whether the SDK committed the turn exactly this long after the speech ended (within 5 ms)."""
    return (turns["sdk_end_of_turn_delay_s"] - delay_s).abs() < _TICK_S


def waits(turns: pd.DataFrame, delay_s: float) -> pd.Series:
    """Whether each turn was committed at once, held back by the turn detector's doubt, or split.

    A turn is *heard in pieces* if it was committed before all of it had been transcribed.

    Args:
        delay_s: The wait that the doubt brings, seconds.
    """
    found = waited(turns, delay_s).map({False: AT_ONCE, True: f"held back {ms(delay_s)} ms"})
    return found.mask(turns["n_user_messages"] > 1, IN_PIECES)
