"""Study 05: which turns looked something up, when that began, and what was begun for nothing.

The agent logs running totals (``agent_begun``, ``agent_used``) and, where a tool ran, its name
(``agent_tool``) and ``agent_room_s``: from the turn hook to the moment the model's call ran.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from labkit.engine.experiment import Arm
from labkit.evidence import statistics
from labkit.evidence.arms import by_arm
from labkit.evidence.compare import compare
from labkit.evidence.verdict import Rules
from labkit.report import figures
from labkit.report.figures import Chart
from labkit.report.harms import What
from labkit.report.tables import titled

TOOL_S = "agent.tool_s"
THRESHOLD = "agent.threshold"
_HARMS: dict[str, What] = {
    "wrong answers": "wrong",
    "look-ups begun for nothing": "wasted",
    "LLM tokens never spoken": "llm_wasted_tokens",
}
_TOTALS = ("begun", "used", "backend_calls")


def arms(*wirings: str) -> dict[str, Arm]:
    """The arms by the way a look-up is begun; all four by default."""
    wanted = wirings or ("none", "as_published", "hook", "interim")
    return {how: Arm("tool_prefetch", {"agent.prefetch": how}) for how in wanted}


def compared(turns: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Each wiring against none, on turns that need a look-up.

    Args:
        turns: What :func:`counted` returned.
        rules: What is worth having.
    """
    arms = by_arm(look_ups(turns))
    return compare(arms.pop("none"), arms, harm="wrong", rules=rules)


def harms(turns: pd.DataFrame, limit: float) -> Chart:
    """What each wiring costs, on all turns; ``limit`` is the largest proportion accepted."""
    arms = by_arm(turns)
    return figures.harms(arms.pop("none"), arms, _HARMS, limit=limit)


def against_tool_time(turns: pd.DataFrame) -> Chart:
    """Mean savings on look-ups against the tool's time, with and without preemption."""
    saved = savings_by_preemption(look_ups(counted(turns)))
    return figures.lines(
        saved, TOOL_S, "saving_s", "arm", "preemption", x_name="time of a look-up",
        y_name="mean saving on a look-up",
    )  # fmt: skip


def against_threshold(turns: pd.DataFrame, default: float) -> Chart:
    """What a stricter gate costs and spares; see :func:`by_threshold`."""
    points = by_threshold(counted(turns))
    return figures.lines(
        points, THRESHOLD, "share", "measure", default=default, share=True,
        x_name="confidence from which a look-up is begun", y_name="proportion",
    )  # fmt: skip


def counted(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what happened in each of them.

    Args:
        turns: Turns of one or more arms, points and calls.

    Returns:
        The same rows plus ``begun``, ``used`` and ``backend_calls`` (in this turn), ``wasted``
        (begun but never used: counted in the turn it was begun in), ``looked_up`` (whether the
        model called a look-up) and ``wrong`` (whether the answer was another than the right one).
    """
    swept = [str(c) for c in turns if str(c).startswith(("agent.", "caller.", "preemptive."))]
    keys = ["arm", *swept, "call"]
    out = turns.sort_values(by=[*keys, "turn"], kind="stable")
    calls = out.groupby(keys, dropna=False, sort=False)
    for name in _TOTALS:
        column = f"agent_{name}"
        if column not in out:
            out[column] = np.nan
        total = calls[column].ffill().fillna(0.0)
        before = total.groupby([out[k] for k in keys], dropna=False, sort=False).shift(fill_value=0)
        out[name] = total - before
    tool = out["agent_tool"] if "agent_tool" in out else pd.Series(np.nan, out.index)
    out["looked_up"] = tool.notna()
    out["wasted"] = (out["begun"] - out["used"]).clip(lower=0)
    out["wrong"] = out["reply_right"] == 0
    return out


def look_ups(turns: pd.DataFrame, baseline: str = "none") -> pd.DataFrame:
    """The turns on which the baseline looked something up, in every arm.

    Args:
        turns: What :func:`counted` returned.
        baseline: Name of the arm without prefetch.
    """
    wanted = turns.loc[(turns["arm"] == baseline) & turns["looked_up"], ["dialogue", "turn_id"]]
    known = set(map(tuple, wanted.drop_duplicates().to_numpy()))
    pairs = zip(turns["dialogue"], turns["turn_id"], strict=True)
    there = pd.Series([pair in known for pair in pairs], index=turns.index)
    return turns.loc[there].reset_index(drop=True)


def savings(turns: pd.DataFrame, x: str = TOOL_S, baseline: str = "none") -> pd.DataFrame:
    """Mean saving on look-ups against a swept setting, and the most that the hook could save.

    The bound is the mean of min(tool time, room): a task begun in the hook can only run while the
    model has not asked yet. The room is measured in the baseline, call by call.

    Args:
        turns: Look-ups of one preemption setting: what :func:`look_ups` returned.
        x: The swept column.
        baseline: Name of the arm without prefetch.

    Returns:
        One row per arm and value of ``x``: ``arm``, ``x`` (under its name), ``saving_s``, ``low``,
        ``high``, ``n_turns``; the bound is the arm ``bound for the hook``.
    """
    rows = []
    for value, point in turns.groupby(x, sort=True):
        base = point[point["arm"] == baseline]
        for arm in dict.fromkeys(point["arm"]):
            if arm != baseline:
                own = point[point["arm"] == arm]
                found = statistics.difference(own, base, q=None)
                rows.append({"arm": arm, x: value, **found.row("saving_s"), "n_turns": len(own)})
        most = base.assign(most_s=np.minimum(base["agent_room_s"], base["agent_wait_s"]))
        found = statistics.mean(most, "most_s")
        rows.append({"arm": "bound for the hook", x: value, **found.row("saving_s"),
                     "n_turns": len(base)})  # fmt: skip
    return pd.DataFrame(rows, columns=["arm", x, "saving_s", "low", "high", "n_turns"])


def by_threshold(turns: pd.DataFrame, threshold: str = THRESHOLD) -> pd.DataFrame:
    """What a stricter gate costs and spares.

    Args:
        turns: What :func:`counted` returned, of one arm at several thresholds.
        threshold: The swept column.

    Returns:
        Rows per threshold and measure: ``measure`` (``look-ups served early``, of all look-ups;
        ``look-ups wasted``, begun for nothing, per turn; ``wrong answers``, of all turns),
        ``threshold`` under its name, ``share``, ``low``, ``high``.
    """
    rows = []
    for value, point in turns.groupby(threshold, sort=True):
        asked = point[point["looked_up"]]
        rates = {
            "look-ups served early": statistics.rate(asked, asked["used"] > 0),
            "turns with a look-up begun for nothing": statistics.rate(point, point["wasted"] > 0),
            "wrong answers": statistics.rate(point, point["wrong"]),
        }
        rows += [{"measure": m, threshold: value, **e.row("share")} for m, e in rates.items()]
    return pd.DataFrame(rows)


def tally(turns: pd.DataFrame) -> pd.DataFrame:
    """Counts per arm: look-ups begun early, used, wasted, tasks alive at the end, wrong answers."""
    leaked = "agent_leaked" if "agent_leaked" in turns else None
    groups = turns.groupby("arm", sort=False)
    table = groups[["begun", "used", "wasted"]].sum()
    table["alive at the end"] = groups[leaked].sum() if leaked else 0.0
    table["wrong answers"] = groups["wrong"].sum()
    table["turns"] = groups.size()
    return titled(table.astype(int), "look-ups")


def savings_by_preemption(turns: pd.DataFrame) -> pd.DataFrame:
    """:func:`savings` with and without preemptive generation, by ``preemption``."""
    parts = []
    for on, name in ((True, "on, the default"), (False, "off")):
        part = turns[turns["preemptive.enabled"] == on]
        parts.append(savings(part).assign(preemption=f"preemptive generation {name}"))
    return pd.concat(parts, ignore_index=True)


def wrong_answers(turns: pd.DataFrame, rows: int = 6) -> pd.DataFrame:
    """Turns answered about the wrong thing, the most frequent first: what was said, how often."""
    wrong = turns[turns["wrong"]]
    found = wrong.groupby(["arm", "said", "replied"], sort=False).size()
    table = found.sort_values(ascending=False, kind="stable").head(rows).reset_index(name="times")
    table = table.rename(columns={"said": "the caller said", "replied": "the agent answered"})
    return titled(table.set_index("arm"))
