"""Tokens into the voice as they come: the most that an earlier first sentence could save."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from labkit.evidence import overlap, paired, statistics
from labkit.evidence.summary import ms, percent

BOUND = "no wait for a sentence (bound)"

_PREEMPTION = "preemptive.enabled"


def bound(turns: pd.DataFrame, baseline: str, axes: Sequence[str], mode: str) -> pd.DataFrame:
    """What each turn would save if its first sentence were complete with its first token.

    Args:
        turns: Turns of an arm without preemption, and perhaps of others.
        baseline: Its name.
        axes: Swept settings.
        mode: What is started before the commit; see :data:`labkit.evidence.overlap.MODES`.

    Returns:
        One row per place and turn: ``arm`` (:data:`BOUND`), the swept settings, ``call``, ``turn``,
        ``saved_s``.
    """
    found = []
    for place, part in paired.places(turns, baseline, axes):
        of = overlap.parts(part)
        saved_s = overlap.predict(of, mode) - overlap.predict(of.assign(sentence_s=0.0), mode)
        own = saved_s.rename("saved_s").reset_index()
        found.append(own.assign(arm=BOUND, **place))
    return pd.concat(found, ignore_index=True)


def against(turns: pd.DataFrame, baseline: str, x: str) -> pd.DataFrame:
    """Mean savings at each value of a swept setting, with and without preemption.

    Args:
        turns: Turns of all arms, swept over ``preemptive.enabled`` and ``x``.
        baseline: The arm that is compared with.
        x: The swept setting.

    Returns:
        One row per ``preemption``, arm and value: ``saved_s``, ``low``, ``high``, ``n_turns``; the
        last arm is :data:`BOUND`.
    """
    axes = [_PREEMPTION, x]
    late = turns[~turns[_PREEMPTION].astype(bool)]
    both = pd.concat(
        [
            paired.savings(turns, baseline, axes),
            bound(late, baseline, axes, "off"),
            bound(late, baseline, axes, "llm").assign(**{_PREEMPTION: True}),
        ]
    )
    rows = []
    for (on, arm, value), own in both.groupby([_PREEMPTION, "arm", x], sort=False):
        e = statistics.mean(own, "saved_s")
        name = "preemption on" if bool(on) else "preemption off"
        rows.append({"preemption": name, "arm": arm, x: value, "saved_s": e.value,
                     "low": e.low, "high": e.high, "n_turns": e.n})  # fmt: skip
    return pd.DataFrame(rows)


def gaps(turns: pd.DataFrame, long_s: float) -> pd.DataFrame:
    """Silence inside replies, and what they took from the voice, arm by arm.

    Args:
        turns: Turns of all arms.
        long_s: From here on a silence counts as long, seconds.
    """
    rows = {}
    for arm, own in turns.groupby("arm", sort=False):
        found = own[own["reply_gap_s"].notna()]
        long = statistics.rate(found, found["reply_gap_s"] > long_s)
        middle = statistics.quantile(found, 0.5, "reply_gap_s")
        rows[str(arm)] = {
            "longest silence, median (ms)": f"{ms(middle.value)} [{ms(middle.low)} – "
            f"{ms(middle.high)}]",
            "the longest of all (ms)": ms(float(found["reply_gap_s"].max())),
            f"replies with one over {ms(long_s)} ms": f"{percent(long.value)} "
            f"[{percent(long.low)} – {percent(long.high)}]",
            "TTS requests per turn": f"{own['tts_requests'].mean():.2f}",
            "TTS characters per turn": f"{own['tts_characters'].mean():.0f}",
        }
    table = pd.DataFrame(rows).T
    return table.rename_axis(None).rename_axis("arm", axis="columns")
