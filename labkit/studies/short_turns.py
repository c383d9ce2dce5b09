"""Study 09: short turns: which were treated apart, which should have been, errors of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.phrasings import phrasings
from labkit.evidence.turn_rules import acknowledges
from labkit.evidence.verdict import Rules
from labkit.report import verdicts
from labkit.report.figures import Chart, harms
from labkit.report.rules import rule_errors

LARGE, PUBLISHED, PHRASES = "large model", "as published", "canned, phrases"
LEVEL = f"level: {PHRASES}"
DIFFERS = {PUBLISHED: "Agent.llm cannot be assigned, so the hook fails and drops the turn"}
HARMS = {"mistaken for one": "mistreated", "no reply": "dropped", "overlooked": "overlooked"}


def arms(small: str, max_words: int, threshold: float) -> dict[str, Arm]:
    """The large model for all turns, and ways to treat short ones apart: the small model, and rules
    by length and by the probability of being an acknowledgement.
    """
    light = {"agent.light_model": small}
    classifier = {"agent.rule": "classifier", "agent.threshold": threshold}
    length = {"agent.rule": "length", "agent.max_words": max_words}
    return {
        LARGE: Arm("vanilla"),
        PUBLISHED: Arm("short_turns", {"agent.answer": "as_published", **light}),
        "small model": Arm("short_turns", {"agent.answer": "light", **light}),
        **_phrases(),
        "canned, classifier": Arm("short_turns", classifier),
        "canned, length": Arm("short_turns", length),
    }


def unguarded() -> dict[str, Arm]:
    """The phrase list as it is, and applied even where the agent has just asked something."""
    asked = {"agent.after_question": True}
    return {**_phrases(), "even after a question": Arm("short_turns", asked)}


def _phrases() -> dict[str, Arm]:
    return {PHRASES: Arm("short_turns", {"agent.rule": "phrases"})}


def treated(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns of a short-turn experiment with how they were treated.

    Returns:
        The same rows plus ``acknowledged`` (the caller only acknowledged or thanked),
        ``mistreated`` (something else was taken for that), ``overlooked`` (it was not noticed),
        ``dropped`` (no reply) and ``harmed`` (mistreated or dropped).
    """
    marked = turns["agent_short"] if "agent_short" in turns else pd.Series(False, turns.index)
    short = marked.fillna(False).astype(bool)
    truly = turns["intent"].isin(("acknowledge", "thank"))
    mistreated, dropped = short & ~truly, turns["outcome"].isin(("missed", "failed"))
    return turns.assign(
        acknowledged=truly,
        mistreated=mistreated,
        overlooked=truly & ~short,
        dropped=dropped,
        harmed=mistreated | dropped,
    )


def acknowledgements(turns: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The turns of each arm, with the latency of all but acknowledgements blanked.

    Savings are then those on acknowledgements, harms still those on all turns.
    """
    latency = turns["response_latency_s"].where(turns["acknowledged"])
    return by_arm(turns.assign(response_latency_s=latency))


def judge(results: Results, rules: Rules) -> pd.DataFrame:
    """Each way against the large model: what it saves on acknowledgements, and harms at all."""
    short = acknowledgements(treated(results.turns))
    return compare(short[LARGE], short, harm="harmed", rules=rules)


def floor(turns: pd.DataFrame) -> pd.DataFrame:
    """The acknowledgements that a canned line answered: nothing was computed for them."""
    own = turns[turns["arm"] == PHRASES]
    return own[own["acknowledged"] & ~own["overlooked"]]


def mistakes(turns: pd.DataFrame, limit: float) -> Chart:
    """Draws what else was taken for an acknowledgement, dropped or overlooked, arm by arm."""
    others = by_arm(turns)
    # a baseline that treats no turn apart has nothing to overlook either
    none = others.pop(LARGE).assign(overlooked=False)
    return harms(none, others, HARMS, limit=limit)


def mistreated_words(turns: pd.DataFrame) -> pd.DataFrame:
    """What was taken for an acknowledgement though it was none, and what the agent said to it."""
    wrong = turns[turns["mistreated"]]
    columns = ["arm", "said", "intent", "heavy", "replied"]
    counts = wrong.groupby(columns, sort=False).size().rename("times").reset_index()
    return counts.sort_values(["arm", "times"], ascending=[True, False], kind="stable")


def acknowledgement_errors(settings: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """How the rules for acknowledgements err on what callers may say, by the words alone.

    Returns:
        One row per rule and setting: ``rule``, ``setting``, ``found`` (proportion of
        acknowledgements recognised), ``wrong`` (proportion of other turns taken for one), each with
        ``_low`` and ``_high``, and ``hard`` (texts that needed the large model and were taken for
        one).
    """
    table = phrasings()
    test = table[table["split"] == "test"].assign(call=table["dialogue"]).reset_index(drop=True)
    is_one = test["needs"] == "acknowledgement"
    rows: list[dict[str, Any]] = []
    for rule, values in settings.items():
        for value in values:
            taken = pd.Series(acknowledges(rule, value)(test["text"].tolist()))
            right = statistics.rate(test[is_one], taken[is_one])
            wrong = statistics.rate(test[~is_one], taken[~is_one])
            hard = test.loc[taken & (test["needs"] == "heavy"), "text"].drop_duplicates()
            rows.append({"rule": rule, "setting": value, **right.columns("found"),
                         **wrong.columns("wrong"), "hard": "; ".join(hard)})  # fmt: skip
    return pd.DataFrame(rows)


def rules(thresholds: Sequence[float], max_words: Sequence[float]) -> Chart:
    """Draws the errors of the phrase list, the classifier and the rule by length."""
    settings = {"phrases": [0], "classifier": thresholds, "length": max_words}
    errors = acknowledgement_errors(settings)
    return rule_errors(errors, "acknowledgements found", "other wordings taken for one")


def verdict_rows(
    comparison: pd.DataFrame, floor: pd.DataFrame, claims: Sequence[Claim]
) -> pd.DataFrame:
    """What the study says of each rule, and of the level that one of them reaches.

    Args:
        comparison: Of the rules, on acknowledgements.
        floor: Turns of the arm whose level is claimed.
        claims: What is claimed of the saving, and of the level.
    """
    saving, level = claims
    harm = "mistaken for one, or dropped"
    rows = verdicts.rows(comparison, claim=saving, harm=harm, differs=DIFFERS)
    return pd.concat([rows, verdicts.latency_claim(floor, level, arm=LEVEL)])
