"""Whether the advice depends on who calls: one comparison, made again for each kind of caller."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.units import MS, SHARE, change_unit, ms, percent
from labkit.evidence.verdict import UNDECIDED, Rules
from labkit.report.arms import advice_of
from labkit.report.palette import (
    BESIDE,
    INK,
    SOFT,
    Chart,
    looks,
    ms_axis,
    name_rows,
    note,
    unit_axis,
)
from labkit.report.saving import ends, records
from labkit.report.turn_taking import PERSONA

FLOOR, NOISE = "caller.noise_floor_dbfs", "caller.noise"
PERSONAS = (
    "field", "fluent", "hesitant", "terse", "barging_in", "back_channelling", "noisy_line",
)  # fmt: skip
FLOORS_DBFS = {-120.0: "digital silence", -70.0: "−70 dBFS", -50.0: "−50 dBFS"}
"""Levels of pink noise behind field callers, instead of what is drawn for each."""
PLACES: tuple[Mapping[str, object], ...] = (
    *({PERSONA: name} for name in PERSONAS),
    *({FLOOR: level, NOISE: "none"} for level in FLOORS_DBFS),
)
"""Who calls, for ``points`` of a run: every persona, then field callers at each level."""
_POINTS = change_unit(SHARE, "more premature or no replies")


def compared(results: Results, baseline: str, rules: Rules) -> pd.DataFrame:
    """The arms of a run over :data:`PLACES` against one of them, for each kind of caller.

    Returns:
        What :func:`labkit.evidence.compare.compare` returns, one row per caller and arm, with
        ``caller`` in front. Each caller is judged alone: the intervals are adjusted for several
        arms, not for several callers.
    """
    parts = []
    for caller, turns in results.turns.groupby(callers(results.turns), sort=False):
        arms = by_arm(turns)
        base = arms.pop(baseline)
        parts.append(compare(base, arms, rules=rules).assign(caller=caller))
    table = pd.concat(parts, ignore_index=True)
    return table[["caller", *table.columns.drop("caller")]]


def callers(turns: pd.DataFrame) -> pd.Series:
    """The kind of caller of each turn, in words."""
    persona = turns[PERSONA].str.replace("_", " ")
    levels = turns[FLOOR].map(FLOORS_DBFS)
    return persona.where(turns[NOISE] != "none", persona + ", " + levels)


def table(comparison: pd.DataFrame) -> pd.DataFrame:
    """Saving, harm and advice for each kind of caller, with 95% CIs, ready to be shown."""
    rows = [
        {
            "caller": row["caller"], "arm": row["arm"], "calls": row["n_calls"],
            "saving per turn (ms)": MS.estimate(*ends(row, "saving", "_s")),
            "harmed, baseline": percent(row["baseline_harm_rate"]),
            "harmed": percent(row["harm_rate"]),
            "change (percentage points)": _POINTS.estimate(*ends(row, "harm")),
            "advice": " ".join(advice_of(row).split()),
        }
        for row in records(comparison)
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index(["caller", "arm"])


def forest(comparison: pd.DataFrame, rules: Rules) -> Chart:
    """Draws saving and change of harm for each kind of caller, with 95% CIs, and the advice.

    Args:
        comparison: What :func:`compared` returned.
        rules: Drawn as lines: what is worth having, and what is accepted.
    """
    rows, arms = records(comparison), list(dict.fromkeys(comparison["arm"]))
    names = [r["caller"] if len(arms) == 1 else f"{r['caller']}: {r['arm']}" for r in rows]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11.0, 0.36 * len(rows) + 1.5), sharey=True, layout="constrained"
    )
    panels = (
        (left, "saving", "_s", MS.factor, (-rules.worth_saving_s, rules.worth_saving_s)),
        (right, "harm", "", _POINTS.factor, (rules.max_harm,)),
    )
    for ax, name, unit, factor, limits in panels:
        for y, row in enumerate(rows):
            look = looks(arms.index(row["arm"]))
            value, low, high = (factor * end for end in ends(row, name, unit))
            ax.plot([low, high], [y, y], color=look.colour, linewidth=2.0)
            ax.plot([value], [y], look.marker, color=look.colour, markersize=6)
        ax.axvline(0, color=INK, linewidth=1.0, zorder=1)
        for limit in limits:
            ax.axvline(factor * limit, color=SOFT, linewidth=1.0, linestyle=":", zorder=1)
    for y, row in enumerate(rows):
        undecided = row["advice"] == UNDECIDED
        note(right, " ".join(advice_of(row).split()), (1.01, y), (0, 0), 8, xycoords=BESIDE,
             va="center", color=SOFT if undecided else INK)  # fmt: skip
    name_rows(left, names)
    left.set_ylim(len(rows) - 0.5, -0.5)
    ms_axis(left, "saving per turn")
    unit_axis(right, _POINTS)
    for ax, words in ((left, f"worth having from {ms(rules.worth_saving_s)} ms"),
                      (right, f"accepted up to {percent(rules.max_harm)}")):  # fmt: skip
        note(ax, words, (0, 1), (0, 3), 8, xycoords="axes fraction", color=SOFT)
    return Chart(figure, comparison)


def read(comparison: pd.DataFrame) -> str:
    """For each arm, whether its advice depends on who calls, and what is known of gain and harm."""
    return "\n\n".join(
        _sentence(str(arm), own) for arm, own in comparison.groupby("arm", sort=False)
    )


def _sentence(arm: str, rows: pd.DataFrame) -> str:
    sides = f"Gain: {_decided(rows, 'gain')}. Harm: {_decided(rows, 'harm_verdict')}."
    advice, n = _decided(rows, "advice", "**"), rows.loc[rows["advice"] != UNDECIDED, "advice"]
    if n.nunique() > 1:
        return f"*{arm}*: **the advice depends on who calls**: {advice}. {sides}"
    if n.nunique() == 1:
        return f"*{arm}*: {advice}; no kind of caller has another advice. {sides}"
    return f"*{arm}*: on so few calls the advice is undecided for every kind of caller. {sides}"


def _decided(rows: pd.DataFrame, column: str, mark: str = "") -> str:
    """Which kinds of caller have which verdict; those without one come last."""
    parts = []
    for name, own in rows.groupby(column, sort=False):
        verdict, all_of_them = str(name), len(own) == len(rows)
        callers = "every kind of caller" if all_of_them else ", ".join(own["caller"])
        marked = verdict if verdict == UNDECIDED else f"{mark}{verdict}{mark}"
        parts.append((verdict == UNDECIDED, f"{marked} for {callers}"))
    return "; ".join(text for _, text in sorted(parts, key=lambda part: part[0]))
