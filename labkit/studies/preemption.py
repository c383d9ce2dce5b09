"""Preemptive generation: what it saves, what the timing model says it could, and what it wastes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.evidence import overlap, paired, statistics
from labkit.evidence.paired import waits
from labkit.evidence.units import ms, percent
from labkit.report.tables import same as same  # notebook 08, until it uses lab.tables
from labkit.report.tables import titled

PREDICTED = ", predicted"
"""Ends the name of a predicted arm."""

_STARTS = {
    "agent_interims_before_final": "interims before the first final",
    "agent_calls_before_final": "LLM calls before the first final",
    "agent_calls_after_final": "LLM calls after it",
}


def predicted(
    turns: pd.DataFrame, baseline: str, modes: Mapping[str, str], axes: Sequence[str] = ()
) -> pd.DataFrame:
    """What arms would save by :mod:`labkit.evidence.overlap`, from the baseline's turns alone.

    The model takes a turn to be committed once; those that were heard in pieces are left out.

    Args:
        turns: Turns of the baseline, an arm without preemption, and perhaps others.
        baseline: Its name.
        modes: For each arm to be predicted, what it starts before the commit: ``llm`` or ``tts``.
        axes: Swept settings.

    Returns:
        One row per predicted arm, place and turn: ``arm`` (its name and :data:`PREDICTED`), the
        swept settings, ``call``, ``turn``, ``saved_s``.
    """
    found = []
    whole = turns[turns["n_user_messages"] == 1]
    for place, part in paired.places(whole, baseline, axes):
        of = overlap.parts(part)
        for arm, mode in modes.items():
            saved_s = overlap.predict(of, "off") - overlap.predict(of, mode)
            own = saved_s.rename("saved_s").reset_index()
            found.append(own.assign(arm=arm + PREDICTED, **place))
    return pd.concat(found, ignore_index=True)


def agreement(saved: pd.DataFrame, forecast: pd.DataFrame, axes: Sequence[str] = ()) -> str:
    """How far the predicted savings are from the measured ones, turn by turn, as a sentence."""
    key = [*axes, "call", "turn"]
    at = forecast.assign(arm=forecast["arm"].str.removesuffix(PREDICTED)).set_index(["arm", *key])
    both = saved.join(at["saved_s"].rename("predicted_s"), on=["arm", *key])
    off = (both["saved_s"] - both["predicted_s"]).dropna().abs()
    return (
        "The model of overlapping stages knows only the arm without preemption. Its prediction is "
        f"within {ms(float(off.median()))} ms of the measured saving on half of the "
        f"{len(off)} turns, and within {ms(float(off.quantile(0.9)))} ms on 90%."
    )


def against(saved: pd.DataFrame, forecast: pd.DataFrame, x: str, delay_s: float) -> pd.DataFrame:
    """Measured and predicted mean savings at each value of a swept setting.

    Args:
        saved: Savings, turn by turn.
        forecast: Predicted savings of the same turns.
        x: The swept setting.
        delay_s: The wait that the turn detector's doubt brings, seconds.

    Returns:
        One row per arm, value and ``wait`` (see :func:`waits`): ``saved_s``, ``low``, ``high``,
        ``n_turns``. A predicted arm follows the one it predicts.
    """
    key = [x, "call", "turn"]
    told = saved.assign(wait=waits(saved, delay_s))
    known = told.drop_duplicates(key).set_index(key)["wait"]
    both = pd.concat([told, forecast.join(known, on=key)])
    both = both[both["wait"].notna()]
    rows: list[dict[str, Any]] = []
    for (wait, arm, value), own in both.groupby(["wait", "arm", x]):
        e = statistics.mean(own, "saved_s")
        rows.append({"wait": wait, "arm": arm, x: value, "saved_s": e.value, "low": e.low,
                     "high": e.high, "n_turns": e.n})  # fmt: skip
    return pd.DataFrame(rows)


def waste(turns: pd.DataFrame, by: str, limit: float) -> pd.DataFrame:
    """Calls to the model per turn, and what was thrown away, against a claimed limit.

    Args:
        turns: Turns of all arms.
        by: A column to tell apart as well, such as ``caller.persona``.
        limit: Largest claimed share of turns with a call thrown away.
    """
    rows: list[dict[str, Any]] = []
    for (arm, group), own in turns.groupby(["arm", by], sort=False):
        thrown = statistics.rate(own, own["llm_wasted_tokens"] > 0)
        told = "below" if thrown.high < limit else "above" if thrown.low > limit else "unclear"
        tokens, spoken = own["llm_wasted_tokens"].sum(), own["llm_completion_tokens"].sum()
        rows.append(
            {
                "arm": arm,
                by.rpartition(".")[2]: group,
                "LLM calls per turn": f"{own['llm_calls'].mean():.2f}",
                "tokens thrown away": percent(tokens / spoken),
                "turns with a call thrown away": (
                    f"{percent(thrown.value)} [{percent(thrown.low)} – {percent(thrown.high)}]"
                ),
                f"against the claimed {percent(limit)}": told,
            }
        )
    return titled(pd.DataFrame(rows).set_index("arm"), "arm")


def starts(turns: pd.DataFrame) -> pd.DataFrame:
    """What calls to the model had to start from, in arms that tell; sums over turns."""
    known = turns[turns[list(_STARTS)].notna().all(axis=1)]
    sums = known.groupby("arm", sort=False)[list(_STARTS)].sum().astype(int)
    return titled(sums.rename(columns=_STARTS).assign(turns=known.groupby("arm").size()), "arm")
