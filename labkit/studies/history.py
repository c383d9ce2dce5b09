"""Long calls: what became of the history, and of the answers that needed it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from labkit.evidence import statistics
from labkit.world.dialogue import load_dialogues


def with_context(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with ``lost_context``: 1 if a reply that needed an earlier fact was wrong, else 0.

    NaN on turns that need no fact and on turns without a reply. Only the packaged dialogues say
    what a turn needs.
    """
    needing = {
        (dialogue.name, turn.id)
        for dialogue in load_dialogues().values()
        for turn in dialogue.turns
        if turn.needs
    }
    keys = pd.MultiIndex.from_frame(turns[["dialogue", "turn_id"]])
    needs = pd.Series(keys.isin(list(needing)), index=turns.index)
    return turns.assign(lost_context=(1.0 - turns["reply_right"]).where(needs))


def in_classes(turns: pd.DataFrame, bins: Sequence[int]) -> pd.DataFrame:
    """The turns after the first, which reads everything, with ``up_to_turn``, their class's end.

    Args:
        turns: Turns with ``turn_number``, from 1.
        bins: Turn numbers after which a class ends, from 0.
    """
    later = turns[turns["turn_number"] > 1]
    ends = pd.cut(later["turn_number"], list(bins), labels=list(bins[1:]))
    return later.assign(up_to_turn=ends.astype(float)).dropna(subset=["up_to_turn"])


def hit_shares(turns: pd.DataFrame) -> pd.DataFrame:
    """Each arm's mean share of cached prompt tokens, with its 95% interval over calls."""
    rows = {}
    for arm in turns["arm"].unique():
        found = statistics.mean(turns[turns["arm"] == arm], "hit_share")
        rows[arm] = {"cached": f"{found.value:.1%} [{found.low:.1%} to {found.high:.1%}]"}
    return pd.DataFrame(rows).T.rename_axis("arm", axis="columns")


def added(
    turns: pd.DataFrame, baseline: str, column: str, bins: Sequence[int] = (0, 5, 10, 15, 20)
) -> pd.DataFrame:
    """By how much a column's mean lies above the baseline's, by turn number, paired by call.

    Args:
        turns: Turns of all arms, with ``turn_number``.
        baseline: The arm that is compared with.
        column: A column in seconds.
        bins: Turn numbers after which a class ends, from 0.

    Returns:
        One row per arm and class: ``arm``, ``turn_number`` (the last of the class), ``added_s``,
        ``low``, ``high``.
    """
    rows = []
    for arm in [a for a in turns["arm"].unique() if a != baseline]:
        for first, last in pairwise(bins):
            here = turns[(turns["turn_number"] > first) & (turns["turn_number"] <= last)]
            before, after = (here[here["arm"] == name] for name in (baseline, arm))
            found = statistics.difference(before, after, column, q=None)
            rows.append({"arm": arm, "turn_number": last, "added_s": found.value, "low": found.low,
                         "high": found.high})  # fmt: skip
    return pd.DataFrame(rows)


def by_calls_length(
    turns: pd.DataFrame, baseline: str, lengths: Sequence[int], q: float | None = None
) -> pd.DataFrame:
    """What each arm adds to the response latency in calls of several lengths, ms.

    The first turns of a long call are those of a short one, so a call is cut rather than run anew.

    Args:
        turns: Turns of all arms, with ``turn_number``.
        baseline: The arm that is compared with.
        lengths: Turns per call.
        q: Quantile that is compared; None compares means.

    Returns:
        A row per arm and a column per length: the added ms with their 95% interval.
    """
    table: dict[str, dict[str, str]] = {}
    for arm in [a for a in turns["arm"].unique() if a != baseline]:
        for n in lengths:
            here = turns[turns["turn_number"] <= n]
            before, after = (here[here["arm"] == name] for name in (baseline, arm))
            d = statistics.difference(before, after, q=q)
            text = f"{1000 * d.value:+.0f} [{1000 * d.low:.0f} to {1000 * d.high:.0f}]"
            table.setdefault(arm, {})[f"{n} turns"] = text
    return pd.DataFrame(table).T.rename_axis("added to the response latency (ms)", axis="columns")
