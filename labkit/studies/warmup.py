"""Study 08: warm connections to the TTS: which turns found one, and what it cost the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.evidence.paired import mean_savings, savings, waits
from labkit.evidence.units import ms, ms_ci, percent, percent_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.report.tables import titled
from labkit.settings.roles import figure, link

COLD, DEFAULT, PUBLISHED = "cold", "default", "as published"
PUBLISHED_ALONE = "as published, SDK's warm-up off"
ARMS = {
    COLD: "vanilla@prewarm.tts=false",
    DEFAULT: "vanilla",
    PUBLISHED: "tts_warmup@agent.variant=as_published",
    PUBLISHED_ALONE: "tts_warmup@agent.variant=as_published,prewarm.tts=false",
}
"""The SDK's own warm-up off and on, and the TTS built early beside either."""

TWO = {name: ARMS[name] for name in (COLD, DEFAULT)}
WHY = "building the object opens nothing; the session does, in every arm that lets it"
DIFFERS = {PUBLISHED: WHY, PUBLISHED_ALONE: WHY}

SLOW, REOPENED = "default, slow TTS", "opened again, slow TTS"
RTT, START = link("tts", "rtt_s"), "caller.start_after_s"
HANDSHAKE = "three round trips"
FIRST, LATER, AFTER = "first turn", "later turns", "after an interrupted reply"

_ROUND_TRIPS = 3
"""TCP, TLS 1.3, and the upgrade to a WebSocket."""


def reopening(slow_factor: float) -> dict[str, Arm]:
    """The defaults, and a connection opened again when one was lost, each with a slow TTS too.

    ``slow_factor`` is that TTS's time to make a second of sound, seconds.
    """
    slow: dict[str, object] = {figure("tts", "real_time_factor"): slow_factor}
    again: dict[str, object] = {"agent.variant": "done_right"}
    return {
        DEFAULT: Arm("vanilla"),
        "opened again": Arm("tts_warmup", again),
        SLOW: Arm("vanilla", slow),
        REOPENED: Arm("tts_warmup", again | slow),
    }


def barging_in(after_s: float) -> dict[str, object]:
    """Settings of callers who barge in this long after a reply's first sound."""
    return {"caller.persona": "barging_in", "caller.barge_in_after_s": after_s}


def first(results: Results) -> dict[str, pd.DataFrame]:
    """The first turn of each call, by arm."""
    return {name: arm.turns[arm.turns["turn"] == 0] for name, arm in results.arms.items()}


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """What each arm saves on the first turn, compared with the default."""
    turns = first(results)
    return compare(turns[DEFAULT], turns, rules=rules)


def after_interruption(turns: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The turns after an interrupted reply, of the two arms with a slow TTS."""
    interrupted = turns[moment(turns) == AFTER]
    return {name: interrupted[interrupted["arm"] == name] for name in (SLOW, REOPENED)}


def moment(turns: pd.DataFrame) -> pd.Series:
    """Where each turn stands in its call: :data:`FIRST`, :data:`LATER` or :data:`AFTER`.

    A turn is *after an interrupted reply* if the agent's reply to the turn before was interrupted.
    """
    key = ["arm", "call"]
    ordered = turns.sort_values([*key, "turn"])
    cut = ordered.groupby(key, sort=False)["reply_interrupted"].shift(1, fill_value=False)
    place = np.where(ordered["turn"] == 0, FIRST, np.where(cut.astype(bool), AFTER, LATER))
    return pd.Series(place, index=ordered.index).reindex(turns.index)


def by_moment(turns: pd.DataFrame) -> pd.DataFrame:
    """How often each kind of turn had to open a connection to the TTS, and how it ended."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    groups = turns.assign(moment=moment(turns)).groupby(["arm", "moment"], sort=False)
    for (arm, place), own in groups:
        rows[str(arm), str(place)] = {
            "turns": str(len(own)),
            "opened a connection": percent_ci(statistics.rate(own, own["tts_cold"])),
            "TTS network (ms)": ms_ci(statistics.mean(own, "tts_network_s")),
            "no reply": percent(float(own["outcome"].isin(("missed", "failed")).mean())),
            "median latency (ms)": ms(float(own["response_latency_s"].median())),
        }
    return pd.DataFrame(rows).T.rename_axis([None, None]).rename_axis("arm", axis="columns")


def by_round_trip(turns: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    """Mean savings at each round trip, beside the handshake's own round trips.

    Args:
        delay_s: The wait that the turn detector's doubt brings, seconds.

    Returns:
        One row per round trip for the ``turns`` that were committed at once, for those that were
        held back, and for :data:`HANDSHAKE`: ``saved_s``, ``low``, ``high``, ``n_turns``.
    """
    saved = savings(turns, COLD, [RTT])
    points = mean_savings(saved.assign(turns=waits(saved, delay_s)), ["turns", RTT])
    alone: list[dict[str, Any]] = []
    for rtt_s in sorted(saved[RTT].unique()):
        ends = dict.fromkeys(("saved_s", "low", "high"), _ROUND_TRIPS * float(rtt_s))
        alone.append({"turns": HANDSHAKE, RTT: rtt_s, **ends, "n_turns": 0})
    return pd.concat([points, pd.DataFrame(alone)], ignore_index=True)


def round_trip(points: pd.DataFrame, default_s: float) -> Chart:
    """Draws what :func:`by_round_trip` returned; the link's default is marked."""
    return figures.lines(
        points, RTT, "saved_s", "turns", x_name="round trip to the TTS",
        y_name="mean saving on the first turn", default=default_s,
    )  # fmt: skip


def read_slopes(points: pd.DataFrame) -> str:
    """How much a warm connection saves per millisecond of round trip, as sentences."""
    lines = []
    for turns, own in points[points["turns"] != HANDSHAKE].groupby("turns", sort=False):
        if len(own) > 1:
            rise, rest = np.polyfit(own[RTT], own["saved_s"], 1)
            lines.append(
                f"Turns *{turns}*: {rise:.1f} ms saved per millisecond of round trip, "
                f"and {ms(float(rest))} ms without any distance."
            )
    return " ".join(lines) or "A slope needs two round trips."


def by_idle(turns: pd.DataFrame) -> pd.DataFrame:
    """How the first turns of the two arms :data:`TWO` fared after each idle time, :data:`START`."""
    saved = savings(turns, COLD, [START])
    rows = {}
    for (arm, idle_s), own in turns.groupby(["arm", START], sort=False):
        part = saved[(saved["arm"] == arm) & (saved[START] == idle_s)]
        rows[f"{arm}, idle for {idle_s:g} s"] = {
            "turns": str(len(own)),
            "opened a connection": percent(float(own["tts_cold"].mean())),
            f"saved, compared with {COLD} (ms)": ms_ci(statistics.mean(part, "saved_s")),
        }
    return titled(pd.DataFrame(rows).T)


def verdict_rows(
    against_default: pd.DataFrame, after_interruption: pd.DataFrame, claim: Claim
) -> pd.DataFrame:
    """What the study says of the warm-up on the first turn, and after a caller's interruption."""
    claimed = dict.fromkeys(DIFFERS, claim)
    first_turn = verdicts.rows(against_default, claim=claimed, differs=DIFFERS)
    return pd.concat([first_turn, verdicts.rows(after_interruption)])
