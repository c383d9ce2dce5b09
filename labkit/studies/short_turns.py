"""Short turns: which were treated apart, which should have been, and how the rules for it err."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.evidence import statistics
from labkit.evidence.phrasings import phrasings
from labkit.evidence.turn_rules import acknowledges


def treated(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns of a short-turn experiment with how they were treated.

    Returns:
        The same rows plus ``acknowledged`` (the caller only acknowledged or thanked),
        ``mistreated`` (something else was taken for that), ``overlooked`` (it was not noticed),
        ``dropped`` (no reply) and ``harmed`` (mistreated or dropped).
    """
    told = turns["agent_short"] if "agent_short" in turns else pd.Series(False, turns.index)
    short = told.fillna(False).astype(bool)
    truly = turns["intent"].isin(("acknowledge", "thank"))
    mistreated, dropped = short & ~truly, turns["outcome"].isin(("missed", "failed"))
    return turns.assign(
        acknowledged=truly,
        mistreated=mistreated,
        overlooked=truly & ~short,
        dropped=dropped,
        harmed=mistreated | dropped,
    )


def acknowledgements(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with the latency of all but acknowledgements blanked: savings are then those on
    acknowledgements, harms still those on all turns."""
    return turns.assign(response_latency_s=turns["response_latency_s"].where(turns["acknowledged"]))


def nothing_treated(turns: pd.DataFrame) -> pd.DataFrame:
    """A baseline that treats no turn apart has nothing to overlook either."""
    return turns.assign(overlooked=False)


def mistreated_words(turns: pd.DataFrame) -> pd.DataFrame:
    """What was taken for an acknowledgement though it was none, and what the agent said to it."""
    wrong = turns[turns["mistreated"]]
    columns = ["arm", "said", "intent", "heavy", "replied"]
    found = wrong.groupby(columns, sort=False).size().rename("times").reset_index()
    return found.sort_values(["arm", "times"], ascending=[True, False], kind="stable")


def acknowledgement_errors(settings: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """How the rules for acknowledgements err on what callers may say, by the words alone.

    Args:
        settings: Settings to try, by rule; see :func:`acknowledges`.

    Returns:
        One row per rule and setting: ``rule``, ``setting``, ``found`` (share of acknowledgements
        recognised), ``wrong`` (share of other turns taken for one), each with ``_low`` and
        ``_high``, and ``hard`` (texts that needed the large model and were taken for one).
    """
    table = phrasings()
    test = table[table["split"] == "test"].assign(call=table["dialogue"]).reset_index(drop=True)
    is_one = test["needs"] == "acknowledgement"
    rows: list[dict[str, Any]] = []
    for rule, values in settings.items():
        for value in values:
            taken = pd.Series(acknowledges(rule, value)(test["text"].tolist()))
            found = statistics.rate(test[is_one], taken[is_one])
            wrong = statistics.rate(test[~is_one], taken[~is_one])
            hard = test.loc[taken & (test["needs"] == "heavy"), "text"].drop_duplicates()
            rows.append({"rule": rule, "setting": value, "found": found.value,
                         "found_low": found.low, "found_high": found.high, "wrong": wrong.value,
                         "wrong_low": wrong.low, "wrong_high": wrong.high,
                         "hard": "; ".join(hard)})  # fmt: skip
    return pd.DataFrame(rows)
