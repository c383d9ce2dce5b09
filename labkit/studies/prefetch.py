"""Study 05: look-ups: which turns need one, when it starts, and which are wasted.

The agent logs running totals (``agent_begun``, ``agent_used``) and, where a tool ran, its name
(``agent_tool``) and ``agent_room_s``: from the turn hook to the moment the model's call ran.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.totals import per_turn
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
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


def arms(*wirings: str) -> dict[str, Arm]:
    """The arms by the way a look-up is begun; all four by default."""
    wanted = wirings or ("none", "as_published", "hook", "interim")
    return {how: Arm("tool_prefetch", {"agent.prefetch": how}) for how in wanted}


BEYOND = "interim, beyond the hook"


def judge(results: Results, rules: Rules) -> pd.DataFrame:
    """Each wiring against none, on turns that need a look-up, and the interim against the hook."""
    arms = by_arm(look_ups(counted(results.turns)))
    beyond = compare(arms["hook"], {BEYOND: arms["interim"]}, harm="wrong", rules=rules)
    against_none = compare(arms.pop("none"), arms, harm="wrong", rules=rules)
    return pd.concat([against_none, beyond], ignore_index=True)


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

    Returns:
        The same rows, sorted by arm, point and call, plus ``begun``, ``used`` and ``backend_calls``
        (in this turn), ``wasted`` (begun but never used: counted in the turn it was begun in),
        ``looked_up`` (whether the model called a look-up) and ``wrong`` (whether the answer was
        wrong).
    """
    swept = [str(c) for c in turns if str(c).startswith(("agent.", "caller.", "preemptive."))]
    out = turns.sort_values(by=["arm", *swept, "call", "turn"], kind="stable")
    for name in ("begun", "used", "backend_calls"):
        out[name] = per_turn(out, f"agent_{name}")
    out["looked_up"] = out["agent_tool"].notna() if "agent_tool" in out else False
    out["wasted"] = (out["begun"] - out["used"]).clip(lower=0)
    out["wrong"] = out["reply_right"] == 0
    return out


def look_ups(turns: pd.DataFrame) -> pd.DataFrame:
    """Of the :func:`counted` turns those on which the arm without prefetch looked something up."""
    which = pd.MultiIndex.from_frame(turns[["dialogue", "turn_id"]])
    wanted = which[((turns["arm"] == "none") & turns["looked_up"]).to_numpy(dtype=bool)]
    return turns[which.isin(wanted)].reset_index(drop=True)


def savings(turns: pd.DataFrame) -> pd.DataFrame:
    """Mean saving on look-ups against the tool's time, and the most that the hook could save.

    The bound is the mean of min(tool time, room): a task begun in the hook can only run while the
    model has not asked yet. The room is measured in the baseline, call by call.

    Args:
        turns: :func:`look_ups` of one preemption setting.

    Returns:
        One row per arm and tool time: ``arm``, :data:`TOOL_S`, ``saving_s``, ``low``, ``high``,
        ``n_turns``; the bound is the arm ``bound for the hook``.
    """
    rows = []
    for value, point in turns.groupby(TOOL_S):
        arms = by_arm(point)
        base = arms.pop("none")
        most = base.assign(most_s=np.minimum(base["agent_room_s"], base["agent_wait_s"]))
        found = {arm: statistics.difference(own, base) for arm, own in arms.items()}
        found["bound for the hook"] = statistics.mean(most, "most_s")
        rows += [{"arm": arm, TOOL_S: value, **e.row("saving_s"),
                  "n_turns": len(arms.get(arm, base))} for arm, e in found.items()]  # fmt: skip
    return pd.DataFrame(rows)


def by_threshold(turns: pd.DataFrame) -> pd.DataFrame:
    """What a stricter gate costs and spares.

    Args:
        turns: What :func:`counted` returned, of one arm at several thresholds.

    Returns:
        Rows per threshold and measure: ``measure`` (``look-ups served early``, of all look-ups;
        ``look-ups wasted``, begun for nothing, per turn; ``wrong answers``, of all turns),
        :data:`THRESHOLD`, ``share``, ``low``, ``high``.
    """
    rows = []
    for value, point in turns.groupby(THRESHOLD):
        asked = point[point["looked_up"]]
        rates = {
            "look-ups served early": statistics.rate(asked, asked["used"] > 0),
            "turns with a look-up begun for nothing": statistics.rate(point, point["wasted"] > 0),
            "wrong answers": statistics.rate(point, point["wrong"]),
        }
        rows += [{"measure": m, THRESHOLD: value, **e.row("share")} for m, e in rates.items()]
    return pd.DataFrame(rows)


def tally(turns: pd.DataFrame) -> pd.DataFrame:
    """Counts per arm: look-ups begun early, used, wasted, tasks alive at the end, wrong answers."""
    groups = turns.groupby("arm", sort=False)
    table = groups[["begun", "used", "wasted"]].sum()
    table["alive at the end"] = groups["agent_leaked"].sum() if "agent_leaked" in turns else 0.0
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


def wrong_answers(turns: pd.DataFrame) -> pd.DataFrame:
    """The six most frequent wrong answers: what was said, and how often."""
    wrong = turns[turns["wrong"]]
    found = wrong.groupby(["arm", "said", "replied"], sort=False).size()
    table = found.sort_values(ascending=False, kind="stable").head(6).reset_index(name="times")
    table = table.rename(columns={"said": "the caller said", "replied": "the agent answered"})
    return titled(table.set_index("arm"))


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of each wiring."""
    claimed = {name: claim for name in comparison["arm"] if name != BEYOND}
    return verdicts.rows(comparison, claim=claimed, harm="wrong answers")
