"""What each hop's distance costs: points of a sweep of round trips, and what is read from it.

In the sweep one hop at a time is farther away than in the base, where all are equally near, and the
callers and the providers' luck are the same. So each difference is the distance's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from labkit.evidence import statistics
from labkit.measure.stages import STAGES

HOPS = {
    "recogniser": "links.deepgram.rtt_s",
    "language model": "links.openai.rtt_s",
    "voice": "links.cartesia.rtt_s",
    "caller": "links.caller.rtt_s",
}
"""The hops of a turn and the setting of each one's round trip."""

NOTHING_HIDDEN = "one full round trip"
"""Name of the line on which every added millisecond would be heard."""

_VISIBLE = 0.01


def near(rtt_s: float) -> dict[str, object]:
    """Settings that put every hop at one distance."""
    return dict.fromkeys(HOPS.values(), rtt_s)


def points(rtts_s: Sequence[float]) -> list[dict[str, object]]:
    """Places of an experiment's grid: the base, then one hop at a time at each distance."""
    places: list[dict[str, object]] = [{}]
    return places + [{column: rtt_s} for column in HOPS.values() for rtt_s in rtts_s]


def added(turns: pd.DataFrame) -> pd.DataFrame:
    """By how much the mean response latency grew with each hop's round trip.

    Args:
        turns: Turns of one arm at all :func:`points`.

    Returns:
        One row per hop and distance: ``hop``, ``added_rtt_s``, ``added_s`` with ``low`` and
        ``high``, and ``ms_per_ms``, the share of the added round trip that the caller hears. The
        last hop is :data:`NOTHING_HIDDEN`.

    Raises:
        ValueError: the turns of the base, or of any other place, are missing.
    """
    base, far = _places(turns)
    found = {}
    for hop, rtt_s, part in far:
        more = statistics.difference(base, part, q=None)
        found[hop, rtt_s] = (more.value, more.low, more.high)
    steps = sorted({rtt_s for _, rtt_s in found})
    found |= {(NOTHING_HIDDEN, rtt_s): (rtt_s, rtt_s, rtt_s) for rtt_s in steps}
    rows = []
    for hop in (*HOPS, NOTHING_HIDDEN):
        for rtt_s in (0.0, *steps):
            value, low, high = found.get((hop, rtt_s), (0.0, 0.0, 0.0))
            share = value / rtt_s if rtt_s else float("nan")
            rows.append({"hop": hop, "added_rtt_s": rtt_s, "added_s": value, "low": low,
                         "high": high, "ms_per_ms": share})  # fmt: skip
    return pd.DataFrame(rows)


def by_stage(turns: pd.DataFrame) -> pd.DataFrame:
    """Where the milliseconds of each hop's longest round trip went, per millisecond added.

    A stage that shrank hid that much of it: it had been waiting for something else.

    Returns:
        One row per hop: the change of each stage's mean, of the stages that changed, and of the
        whole, as ``heard by the caller``; all are ms per ms.
    """
    base, far = _places(turns)
    rows = {}
    for hop, rtt_s, part in far:  # the farthest comes last
        change = {s: float(part[s].mean() - base[s].mean()) / rtt_s for s in STAGES}
        rows[hop] = change | {"heard by the caller": sum(change.values())}
    table = pd.DataFrame(rows).T
    kept = [c for c in table if table[c].abs().max() >= _VISIBLE]
    return table[kept].round(2) + 0.0


def _places(turns: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, float, pd.DataFrame]]]:
    """The turns of the base, and of each other place with its hop and added round trip."""
    near_s = {column: float(turns[column].min()) for column in HOPS.values()}
    away = pd.DataFrame({hop: turns[c] - near_s[c] for hop, c in HOPS.items()}).round(9)
    base = turns[(away == 0).all(axis=1)]
    far = [
        (hop, float(rtt_s), turns[away[hop] == rtt_s])
        for hop in HOPS
        for rtt_s in sorted(away[hop].unique())
        if rtt_s > 0
    ]
    if not len(base) or not far:
        raise ValueError("the turns of a sweep over single hops are needed, its base among them")
    return base, far
