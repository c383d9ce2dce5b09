"""A prediction beside a recording: the stages given, what was heard, and where they differ.

Runs are passed as tables of turns: ``calm``, callers as in the field; ``cutting``, callers who cut
in; ``humming``, callers who say mhm to every reply.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from labkit.evidence import statistics
from labkit.evidence.recorded import LATENCY, Recording
from labkit.evidence.statistics import Estimate

SDK, GAP = "sdk_e2e_latency_s", "gap_s"
UNEXPLAINED = "unexplained"
MODES = {
    "fast": ("its quicker mode, p50", "s"),
    "slow": ("its slower mode, p50", "s"),
    "share": ("turns in the slower mode", "share"),
}
"""What :func:`modes` finds: name and unit."""

_SETTLED_TURN = 2
"""The recorded callers cut in on the second reply: the SDK's echo warm-up is over by then."""


class Runs(NamedTuple):
    """The turns of the prediction's arms."""

    calm: pd.DataFrame
    cutting: pd.DataFrame
    humming: pd.DataFrame


def whole(turns: pd.DataFrame) -> pd.DataFrame:
    """Turns of which the SDK's metrics speak: heard as one message, answered, over no other reply.

    Column ``gap_s`` is what the SDK's ``e2e_latency`` leaves out of the response latency.
    """
    plain = (turns["outcome"] == "answered") & ~turns["barged_in"].astype(bool)
    own = turns[plain & (turns["n_user_messages"] == 1)]
    return own.assign(**{GAP: own[LATENCY] - own[SDK]})


def inputs(turns: pd.DataFrame, record: Recording) -> pd.DataFrame:
    """Whether the run has the stages it was given.

    Returns:
        One row per stage and quantile: ``stage``, ``quantile``, ``published_s``, ``run_s`` with
        ``run_low_s`` and ``run_high_s``, and ``off``, the run's deviation as a proportion.
    """
    rows = []
    for stage in record.inputs.values():
        for q, published_s in ((0.5, stage.median_s), (0.95, stage.p95_s)):
            run = statistics.quantile(whole(turns), q, stage.column)
            rows.append({"stage": stage.name, "quantile": q, "published_s": published_s,
                         "run_s": run.value, "run_low_s": run.low, "run_high_s": run.high,
                         "off": run.value / published_s - 1})  # fmt: skip
    return pd.DataFrame(rows)


def predictions(runs: Runs) -> dict[str, Estimate]:
    """What the runs say of each of the recording's outputs, by its id."""
    turns, one = runs.calm, whole(runs.calm)
    eot, cut, hums = "sdk_end_of_turn_delay_s", runs.cutting, runs.humming
    cut = cut[cut["barged_in"].astype(bool) & (cut["turn"] >= _SETTLED_TURN)]
    cut = cut.assign(path_s=_path_s(cut), decided_s=cut["yield_s"] - _path_s(cut))
    hums = hums[hums["n_backchannels"] > 0]
    return {
        "ear_p50": statistics.quantile(turns, 0.5),
        "ear_p95": statistics.quantile(turns, 0.95),
        "sdk_p50": statistics.quantile(one, 0.5, SDK),
        "sdk_p95": statistics.quantile(one, 0.95, SDK),
        "gap": statistics.quantile(one, 0.5, GAP),
        "eot_p50": statistics.quantile(one, 0.5, eot),
        "eot_mean": statistics.mean(one, eot),
        "eot_p95": statistics.quantile(one, 0.95, eot),
        "stop": statistics.quantile(cut, 0.5, "yield_s"),
        "decided": statistics.quantile(cut, 0.5, "decided_s"),
        "path": statistics.quantile(cut, 0.5, "path_s"),
        "hums": statistics.rate(hums, hums["n_false_interruptions"] > 0),
        "requests": statistics.mean(statistics.heard(turns), "llm_calls"),
    }


def _path_s(turns: pd.DataFrame) -> pd.Series:
    """What the line adds to a stop at the ear: the caller's voice up and the agent's audio down."""
    up_s = turns["at_heard_s"] - turns["at_caller_stopped_s"]
    return up_s + turns["downlink_s"]


def modes(turns: pd.DataFrame, slow_from_s: float) -> dict[str, Estimate]:
    """The two modes of a latency: the median of each, and the proportion in the slower one."""
    own = statistics.heard(turns)
    slow = own[LATENCY] >= slow_from_s
    return {
        "fast": statistics.quantile(own[~slow], 0.5),
        "slow": statistics.quantile(own[slow], 0.5),
        "share": statistics.rate(own, slow),
    }


def compared(runs: Runs, record: Recording) -> pd.DataFrame:
    """Prediction and recording side by side.

    Returns:
        One row per output: ``id``, ``name``, ``unit``, ``recorded`` and ``predicted``, each with
        ``_low`` and ``_high``, and ``difference`` (recorded less predicted); seconds, proportions
        or numbers. The modes of the latency are read off both samples by one rule.
    """
    found = predictions(runs)
    pairs = {i: (o.name, o.unit, o.estimate, found[i]) for i, o in record.outputs.items()}
    name, unit, _, p95 = pairs["ear_p95"]
    pairs["ear_p95"] = (name, unit, statistics.quantile(record.turns, 0.95), p95)
    was, now = (modes(turns, record.slow_from_s) for turns in (record.turns, runs.calm))
    split = {i: (*MODES[i], was[i], now[i]) for i in MODES}
    order = {i: pairs.pop(i) for i in ("ear_p50", "ear_p95")} | split | pairs
    return pd.DataFrame([_pair(i, *pair) for i, pair in order.items()])


def _pair(
    id_: str, name: str, unit: str, recorded: Estimate, predicted: Estimate
) -> dict[str, Any]:
    sides = recorded.columns("recorded") | predicted.columns("predicted")
    difference = recorded.value - predicted.value
    return {"id": id_, "name": name, "unit": unit, **sides, "difference": difference}


def causes(runs: Runs, record: Recording) -> pd.DataFrame:
    """Where the difference of the medians at the ear comes from, as far as it can be told.

    Returns:
        One row per cause: ``cause``, ``size_s`` with ``size_low_s`` and ``size_high_s`` (NaN
        where there is no range) and ``known_from``. The last, :data:`UNEXPLAINED`, is what the
        others leave.
    """
    table = {row["id"]: row for row in compared(runs, record).to_dict("records")}
    ear, gap = table["ear_p50"], table["gap"]
    waits_s = reweighted(statistics.heard(runs.calm), record) - ear["predicted"]
    longer = {end: gap[f"recorded{end}"] - gap["predicted"] for end in ("", "_low", "_high")}
    left = {end: ear["difference"] - waits_s - size for end, size in longer.items()}
    rows = [
        ("the detector doubts more often", waits_s, math.nan, math.nan,
         "the prediction's turns, weighted to the recorded proportion of waits"),
        ("a longer audio path than the tunnel's line", *longer.values(),
         "ear less SDK, in both; the range is that of the published comparisons"),
        (UNEXPLAINED, left[""], left["_high"], left["_low"], "the rest; medians do not add up"),
    ]  # fmt: skip
    return pd.DataFrame(
        rows, columns=["cause", "size_s", "size_low_s", "size_high_s", "known_from"]
    )


def reweighted(turns: pd.DataFrame, record: Recording) -> float:
    """The median latency if as many turns were in the slower mode as in the recording, seconds."""
    slow = (turns[LATENCY] >= record.slow_from_s).to_numpy()
    share = float((record.turns[LATENCY] >= record.slow_from_s).mean())
    if not slow.any() or slow.all():
        return math.nan
    weight = np.where(slow, share / slow.sum(), (1 - share) / (~slow).sum())
    latency = turns[LATENCY].to_numpy(dtype=float)
    order = np.argsort(latency, kind="stable")
    reached = np.cumsum(weight[order]) - weight[order] / 2
    return float(np.interp(0.5, reached, latency[order]))
