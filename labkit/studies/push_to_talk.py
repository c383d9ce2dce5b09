"""Study 15: push to talk: when the turn is committed, and what an early or late release costs."""

from __future__ import annotations

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.units import ms_ci, percent_ci
from labkit.report import figures
from labkit.report.figures import Chart, swept
from labkit.report.turn_taking import proportions
from labkit.report.verdicts import latency_claim

RELEASE = "caller.release_after_s"
EXAMPLE = "closed microphone (example)"
"""The wiring of LiveKit's example."""
NO_BUTTON = "no button, SDK defaults"

_X_NAME = "button let go after the last sound"


def arms(short_timeout_s: float) -> dict[str, str]:
    """The microphone closed between turns or left open, with and without the floor and patience.

    ``short_timeout_s`` is the transcript timeout of the impatient arm; the SDK uses 2.0.
    """
    manual = "push_to_talk@agent.transcript_timeout_s="
    opened = "agent.closes_microphone=false"
    no_floor = "endpointing.min_delay_s=0"
    return {
        EXAMPLE: f"{manual}2.0",
        "closed, no floor": f"{manual}2.0,{no_floor}",
        "open microphone": f"{manual}2.0,{opened}",
        "open, no floor, short timeout": f"{manual}{short_timeout_s},{opened},{no_floor}",
    }


def asked(release_s: float) -> dict[str, str]:
    """What is compared for each kind of caller: no button, and the example's wiring.

    ``release_s`` is from the caller's last sound to letting go.
    """
    example = f"push_to_talk@agent.transcript_timeout_s=2.0,{RELEASE}={release_s}"
    return {NO_BUTTON: "vanilla", EXAMPLE: example}


def handover(turns: pd.DataFrame) -> Chart:
    """Draws the median time from letting go to the commit against the release time."""
    y_name = "from letting go to the commit"
    return swept(turns, RELEASE, "handover_s", "arm", x_name=_X_NAME, y_name=y_name)


def last_words(turns: pd.DataFrame) -> Chart:
    """Draws how many turns lose their last words against the release time."""
    points = proportions(turns, "arm", RELEASE, "trailing_deletions")
    return figures.lines(points, RELEASE, "share", "arm", x_name=_X_NAME, share=True,
                     y_name="turns that lose their last words")  # fmt: skip


def table(turns: pd.DataFrame) -> pd.DataFrame:
    """Results of each arm at each release time, with 95% CIs, ready to be shown."""
    rows = []
    for (arm, at), own in turns.groupby(["arm", RELEASE], sort=False):
        rows.append({
            "arm": arm, "release (ms)": round(1000 * float(str(at))), "turns": len(own),
            "handover p50 (ms)": ms_ci(statistics.quantile(own, 0.5, "handover_s")),
            "response p50 (ms)": ms_ci(statistics.quantile(own, 0.5)),
            "response p95 (ms)": ms_ci(statistics.quantile(own, 0.95)),
            "last words lost": percent_ci(statistics.rate(own, own["trailing_deletions"] > 0)),
            "right replies": percent_ci(statistics.mean(own, "reply_right")),
            "unanswered": percent_ci(statistics.rate(own, own["unanswered"])),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index(["arm", "release (ms)"])


def verdict_rows(results: Results, claim: Claim) -> pd.DataFrame:
    """Each arm's handover, over all release times, compared with a claimed band."""
    rows = [
        latency_claim(arm.turns, claim, arm=name, column="handover_s")
        for name, arm in results.arms.items()
    ]
    return pd.concat(rows, ignore_index=True)
