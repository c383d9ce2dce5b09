"""Warm connections: which turns found one, and what the others paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from labkit.evidence import paired, statistics
from labkit.evidence.paired import waits
from labkit.evidence.units import ms, percent

ROUND_TRIPS = 3
"""TCP, TLS 1.3, and the upgrade to a WebSocket."""

HANDSHAKE = "three round trips"

FIRST, LATER, AFTER = "first turn", "later turns", "after a reply was cut off"


def moment(turns: pd.DataFrame, axes: Sequence[str] = ()) -> pd.Series:
    """Where each turn stands in its call: :data:`FIRST`, :data:`LATER` or :data:`AFTER`.

    A turn is *after a reply was cut off* if the agent's reply to the turn before was.
    """
    key = ["arm", *axes, "call"]
    ordered = turns.sort_values([*key, "turn"])
    cut = ordered.groupby(key, sort=False)["reply_interrupted"].shift(1, fill_value=False)
    place = np.where(ordered["turn"] == 0, FIRST, np.where(cut.astype(bool), AFTER, LATER))
    return pd.Series(place, index=ordered.index).reindex(turns.index)


def by_moment(turns: pd.DataFrame, axes: Sequence[str] = ()) -> pd.DataFrame:
    """How often each kind of turn had to open a connection to the voice, and what became of it.

    Args:
        turns: Turns of all arms.
        axes: Swept settings that are part of a call's identity.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for (arm, place), own in turns.assign(moment=moment(turns, axes)).groupby(
        ["arm", "moment"], sort=False
    ):
        cold = statistics.rate(own, own["tts_cold"])
        wait = statistics.mean(own, "tts_network_s")
        rows[str(arm), str(place)] = {
            "turns": str(len(own)),
            "opened a connection": f"{percent(cold.value)} [{percent(cold.low)} – "
            f"{percent(cold.high)}]",
            "waited for the voice's network (ms)": f"{ms(wait.value)} [{ms(wait.low)} – "
            f"{ms(wait.high)}]",
            "no reply": percent(float(own["outcome"].isin(("missed", "failed")).mean())),
            "median latency (ms)": ms(float(own["response_latency_s"].median())),
        }
    table = pd.DataFrame(rows).T
    return table.rename_axis([None, None]).rename_axis("arm", axis="columns")


def against(turns: pd.DataFrame, baseline: str, x: str, delay_s: float) -> pd.DataFrame:
    """Mean savings at each round trip, beside the handshake's own round trips.

    Args:
        turns: First turns of the baseline and of one other arm.
        baseline: The cold arm.
        x: The setting of the round trip.
        delay_s: The wait that the turn detector's doubt brings, seconds.

    Returns:
        One row per round trip for the ``turns`` that were committed at once, for those that were
        held back, and for :data:`HANDSHAKE`: ``saved_s``, ``low``, ``high``, ``n_turns``.
    """
    saved = paired.savings(turns, baseline, [x])
    rows: list[dict[str, Any]] = []
    for (wait, value), own in saved.groupby([waits(saved, delay_s), x]):
        e = statistics.mean(own, "saved_s")
        rows.append({"turns": wait, x: value, "saved_s": e.value, "low": e.low, "high": e.high,
                     "n_turns": e.n})  # fmt: skip
    for value in sorted(saved[x].unique()):
        alone = ROUND_TRIPS * float(value)
        rows.append({"turns": HANDSHAKE, x: value, "saved_s": alone, "low": alone, "high": alone,
                     "n_turns": 0})  # fmt: skip
    return pd.DataFrame(rows)


def by_idle(turns: pd.DataFrame, baseline: str, x: str) -> pd.DataFrame:
    """How a first turn fared after each idle time.

    Args:
        turns: First turns of all arms.
        baseline: The cold arm.
        x: The setting of the idle time, seconds.
    """
    saved = paired.savings(turns, baseline, [x])
    rows = {}
    for (arm, value), own in turns.groupby(["arm", x], sort=False):
        part = saved[(saved["arm"] == arm) & (saved[x] == value)]
        e = statistics.mean(part, "saved_s")
        rows[f"{arm}, idle for {value:g} s"] = {
            "turns": str(len(own)),
            "opened a connection": percent(float(own["tts_cold"].mean())),
            f"saved against {baseline} (ms)": f"{ms(e.value)} [{ms(e.low)} – {ms(e.high)}]"
            if e.n
            else "–",
        }
    table = pd.DataFrame(rows).T
    return table.rename_axis(None).rename_axis("arm", axis="columns")


def slopes(points: pd.DataFrame, x: str) -> str:
    """How much a warm connection saves per millisecond of round trip, as sentences.

    Args:
        points: What :func:`against` returned.
        x: The column of the round trips.
    """
    told = []
    for turns, own in points[points["turns"] != HANDSHAKE].groupby("turns", sort=False):
        if len(own) > 1:
            rise, rest = np.polyfit(own[x], own["saved_s"], 1)
            told.append(
                f"Turns *{turns}*: {rise:.1f} ms saved per millisecond of round trip, "
                f"and {ms(float(rest))} ms without any distance."
            )
    return " ".join(told) or "A slope needs two round trips."
