"""Tables of the turn-taking studies: who is cut off, who waits, and what the detector thought."""

from __future__ import annotations

from typing import Any

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.statistics import Estimate

PERSONA = "caller.persona"
FLOOR = "caller.noise_floor_dbfs"


def waits(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns, with no response latency where the agent cut in.

    A cut-in has a negative latency, so the more callers an agent cuts off the quicker it would
    look. What is left is how long those waited who were let finish.
    """
    let_finish = turns["outcome"] != "premature"
    return turns.assign(response_latency_s=turns["response_latency_s"].where(let_finish))


def split(turns: pd.DataFrame) -> pd.Series:
    """Whether a turn reached the session as more than one user message."""
    return turns["n_messages"] > 1


def table(results: Results) -> pd.DataFrame:
    """Gain and harms of every arm for every persona, with 95% intervals, ready to be shown."""
    rows = []
    for (persona, arm), turns in results.turns.groupby([PERSONA, "arm"], sort=False):
        waited = waits(turns)
        rows.append({
            "caller": persona, "arm": arm, "turns": len(turns),
            "p50 (ms)": _ms(statistics.quantile(waited, 0.5)),
            "p95 (ms)": _ms(statistics.quantile(waited, 0.95)),
            "cut off, any": _percent(statistics.rate(turns, turns["n_false_endpoints"] > 0)),
            "cut in on": _percent(statistics.rate(turns, turns["n_premature_replies"] > 0)),
            "split": _percent(statistics.rate(turns, split(turns))),
            "talk-over (s in all)": f"{turns['overlap_s'].sum():.1f}",
            "words lost": f"{turns['deletions'].sum() / turns['words_said'].sum():.1%}",
            "LLM calls per turn": f"{turns['llm_calls'].mean():.2f}",
        })  # fmt: skip
    return pd.DataFrame(rows).set_index(["caller", "arm"])


def pause_points(results: Results) -> pd.DataFrame:
    """Decisions at pauses, as end-of-turn benchmarks count them.

    Returns:
        One row per arm over all turns with a pause: ``arm``, ``group``, ``label``, ``delay_s`` (the
        median from the last sound at the agent's ear to the decision, of turns that were not cut
        off), ``share`` (cut-offs per pause) with ``low`` and ``high``, ``n_pauses``.
    """
    rows = []
    for name, arm in results.arms.items():
        turns = arm.turns[arm.turns["n_pauses"] > 0]
        group, label = group_and_label(name)
        whole = turns[turns["n_false_endpoints"] == 0]
        false_endpoints = turns[["n_false_endpoints", "n_pauses"]].min(axis=1)
        cut = turns.assign(cut=false_endpoints / turns["n_pauses"])
        share = statistics.mean(cut, "cut")
        low, high = statistics.wilson(share.value, share.n)
        rows.append({
            "arm": name, "group": group, "label": label,
            "delay_s": statistics.quantile(whole, 0.5, "end_of_turn_s").value,
            "share": share.value, "low": min(share.low, low), "high": max(share.high, high),
            "n_pauses": int(turns["n_pauses"].sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def group_and_label(arm: str) -> tuple[str, str]:
    """``"silence alone, 0.3 s"`` is the point "0.3 s" of the group "silence alone"."""
    group, _, label = arm.rpartition(", ")
    return group, label


def floor_points(turns: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """What the detector takes for a finished turn, against the room tone.

    Args:
        turns: Turns of all floors.
        threshold: Probability from which the detector calls a turn finished.

    Returns:
        ``asked`` ("at the end", "at a pause"), the floor in dBFS, ``finished`` (share of turns
        taken for finished there) with ``low`` and ``high``, ``median_prob``, ``n_turns``.
    """
    rows = []
    for asked, column in (("at the end", "eot_prob"), ("at a pause", "eot_pause_prob")):
        for floor, part in turns[turns[column].notna()].groupby(FLOOR):
            share = statistics.rate(part, part[column] >= threshold)
            rows.append({
                "asked": asked, FLOOR: floor, "finished": share.value, "low": share.low,
                "high": share.high, "median_prob": float(part[column].median()),
                "n_turns": len(part),
            })  # fmt: skip
    return pd.DataFrame(rows)


def separation(turns: pd.DataFrame, by: str) -> pd.DataFrame:
    """How well the detector tells the end of a turn from a pause in it, at each setting.

    Returns:
        Indexed by the setting: ``auc``, the chance that an end's probability is above a pause's
        (0.5 is guessing; ties count half), with the number of ends and of pauses it rests on.
    """
    rows = {}
    for at, part in turns.groupby(by):
        ends, pauses = part["eot_prob"].dropna(), part["eot_pause_prob"].dropna()
        ranks = pd.concat([ends, pauses]).rank().iloc[: len(ends)].sum()
        above = ranks - len(ends) * (len(ends) + 1) / 2
        n_pairs = len(ends) * len(pauses)
        rows[at] = {"auc": above / n_pairs if n_pairs else float("nan"),
                    "ends": len(ends), "pauses": len(pauses)}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)


def cells(turns: pd.DataFrame, x: str, y: str, column: str = "end_of_turn_s") -> pd.DataFrame:
    """The median of a column in each cell of a grid, with its 10th and 90th percentile."""
    groups = turns.groupby([x, y])[column]
    return pd.DataFrame({
        "median": groups.median(), "p10": groups.quantile(0.1), "p90": groups.quantile(0.9),
        "n_turns": groups.size(),
    }).reset_index()  # fmt: skip


def shares(turns: pd.DataFrame, by: str, x: str, harms: list[str]) -> pd.DataFrame:
    """Share of turns with each harm at each point of a sweep: ``harm``, ``by``, ``x``, interval."""
    rows: list[dict[str, Any]] = []
    for harm in harms:
        for (group, at), part in turns.groupby([by, x], sort=True):
            found = statistics.rate(part, part[harm] > 0)
            rows.append({"harm": harm, by: group, x: at, "share": found.value, "low": found.low,
                         "high": found.high, "n_turns": len(part)})  # fmt: skip
    return pd.DataFrame(rows)


def release_table(results: Results, release: str = "caller.release_after_s") -> pd.DataFrame:
    """What each arm makes of each release time, with 95% intervals, ready to be shown."""
    rows = []
    for (arm, at), turns in results.turns.groupby(["arm", release], sort=False):
        rows.append({
            "arm": arm, "release (ms)": round(1000 * float(str(at))), "turns": len(turns),
            "handover p50 (ms)": _ms(statistics.quantile(turns, 0.5, "handover_s")),
            "response p50 (ms)": _ms(statistics.quantile(waits(turns), 0.5)),
            "response p95 (ms)": _ms(statistics.quantile(waits(turns), 0.95)),
            "last words lost": _percent(statistics.rate(turns, turns["trailing_deletions"] > 0)),
            "right replies": _percent(statistics.mean(turns, "reply_right")),
            "unanswered": _percent(statistics.rate(turns, turns["unanswered"])),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index(["arm", "release (ms)"])


def _ms(found: Estimate) -> str:
    return f"{1000 * found.value:,.0f} [{1000 * found.low:,.0f}, {1000 * found.high:,.0f}]"


def _percent(found: Estimate) -> str:
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"
