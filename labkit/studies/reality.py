"""Study 19: a recorded LiveKit starter, predicted from its published stages, and what is left over.

The recording's stages are the run's inputs; what was heard is only compared. Every difference gets a
cause with a size, measured where that can be done, or is called unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.recorded import LATENCY, Recording
from labkit.evidence.statistics import Estimate
from labkit.evidence.units import ms, ms_ci, percent, percent_ci, with_ci
from labkit.report.dots import Dot, dots
from labkit.report.figures import Chart
from labkit.report.palette import looks
from labkit.report.tables import titled
from labkit.settings import Settings

PREDICTED, CUTTING_IN, HUMMING = "predicted", "cutting in", "humming"
SDK, GAP = "sdk_e2e_latency_s", "gap_s"
UNEXPLAINED = "unexplained"

_SETTLED_TURN = 2
"""The recorded callers cut in on the second reply: the SDK's echo warm-up is over by then."""
_FORMS: dict[str, Callable[[Estimate], str]] = {
    "s": ms_ci, "share": percent_ci, "number": lambda e: with_ci(e, ".2f"),
}  # fmt: skip


def arms(cut_in_after_s: float) -> dict[str, Arm]:
    """The starter with callers as in the field, with callers who cut in, with ones who say mhm."""
    cutting = {"caller.persona": "barging_in", "caller.barge_in_after_s": cut_in_after_s}
    humming = {"caller.persona": "back_channelling", "caller.backchannel_prob": 1.0}
    return {PREDICTED: Arm(), CUTTING_IN: Arm("vanilla", cutting), HUMMING: Arm("vanilla", humming)}


def changes(farther_s: float, slower: float, settings: Mapping[str, object]) -> dict[str, Arm]:
    """Arms with one thing changed that the recording leaves open.

    Args:
        farther_s: Added to the caller's round trip.
        slower: By how much the LLM's pace is divided.
        settings: Those of the prediction.
    """
    base = Settings(settings)
    rtt_s = base.number("links.caller.rtt_s") + farther_s
    pace = "providers.openai.models.gpt-4.1-mini.tokens_per_s"
    return {
        f"caller's round trip {ms(farther_s)} ms longer": Arm("vanilla", {
            "links.caller.rtt_s": rtt_s}),
        f"LLM writes at 1/{slower:g} of the pace": Arm("vanilla", {pace: _value(pace) / slower}),
        "no silence at the head of the speech": Arm("vanilla", {
            "providers.cartesia.audio.leading_silence": 0.0}),
        "fluent callers over digital silence": Arm("vanilla", {"caller.persona": "fluent"}),
    }  # fmt: skip


def _value(name: str) -> float:
    from labkit.providers.profile import load_profiles

    _, provider, *_ = name.split(".")
    figures = dict(load_profiles()[provider].figures())
    return float(figures[name.removeprefix(f"providers.{provider}.")]["value"])


def whole(turns: pd.DataFrame) -> pd.DataFrame:
    """Answered turns that the session heard as one message: the SDK's metrics speak of all of it."""
    own = statistics.heard(turns)
    own = own[own["n_user_messages"] == 1]
    return own.assign(**{GAP: own[LATENCY] - own[SDK]})


def inputs(turns: pd.DataFrame, record: Recording) -> pd.DataFrame:
    """Whether the run has the stages it was given.

    Returns:
        One row per stage and quantile: ``stage``, ``quantile``, ``published_s``, ``run_s`` with
        ``low_s`` and ``high_s``, and ``off``, the run's deviation as a proportion.
    """
    rows = []
    for stage in record.inputs.values():
        for q, published_s in ((0.5, stage.median_s), (0.95, stage.p95_s)):
            run = statistics.quantile(whole(turns), q, stage.column)
            rows.append({"stage": stage.name, "quantile": q, "published_s": published_s,
                         "run_s": run.value, "low_s": run.low, "high_s": run.high,
                         "off": run.value / published_s - 1})  # fmt: skip
    return pd.DataFrame(rows)


def predictions(results: Results) -> dict[str, Estimate]:
    """What the runs of :func:`arms` say of each of the recording's outputs, by its id."""
    runs = {name: run.turns for name, run in results.arms.items()}
    turns, one = runs[PREDICTED], whole(runs[PREDICTED])
    eot = "sdk_end_of_turn_delay_s"
    cut = runs[CUTTING_IN]
    cut = cut[cut["barged_in"] & (cut["turn"] >= _SETTLED_TURN)]
    hums = runs[HUMMING]
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
        "path": statistics.quantile(cut.assign(path_s=_path_s(cut)), 0.5, "path_s"),
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


_MODES = {"fast": "its quicker mode, p50", "slow": "its slower mode, p50",
          "share": "turns in the slower mode"}  # fmt: skip


def compared(results: Results, record: Recording) -> pd.DataFrame:
    """Prediction and recording side by side.

    Returns:
        One row per output: ``id``, ``name``, ``unit``, ``recorded`` and ``predicted``, each with
        ``_low`` and ``_high``, and ``difference`` (recorded less predicted); seconds, proportions
        or numbers. The modes of the latency are read off both samples by one rule.
    """
    found = predictions(results)
    pairs = {i: (o.name, o.unit, o.estimate, found[i]) for i, o in record.outputs.items()}
    slow_s = record.slow_from_s
    was, now = (modes(t, slow_s) for t in (record.turns, results.arms[PREDICTED].turns))
    split = {i: (name, "share" if i == "share" else "s", was[i], now[i])
             for i, name in _MODES.items()}  # fmt: skip
    p95 = pairs["ear_p95"]
    pairs["ear_p95"] = (*p95[:2], statistics.quantile(record.turns, 0.95), p95[3])
    order = {i: pairs.pop(i) for i in ("ear_p50", "ear_p95")} | split | pairs
    return pd.DataFrame([
        {"id": i, "name": name, "unit": unit, **recorded.columns("recorded"),
         **predicted.columns("predicted"), "difference": recorded.value - predicted.value}
        for i, (name, unit, recorded, predicted) in order.items()
    ])  # fmt: skip


def causes(results: Results, record: Recording) -> pd.DataFrame:
    """Where the difference of the medians at the ear comes from, as far as it can be told.

    Returns:
        One row per cause: ``cause``, ``ms``, ``low``, ``high`` (NaN where there is no range) and
        ``known_from``. The last row, :data:`UNEXPLAINED`, is what the others leave of the whole.
    """
    table = compared(results, record).set_index("id")
    turns = statistics.heard(results.arms[PREDICTED].turns)
    waits_s = reweighted(turns, record) - float(table.loc["ear_p50", "predicted"])
    path, gap = table.loc["path"], table.loc["gap"]
    longer = [1000 * (gap[f"recorded{end}"] - gap["predicted"]) for end in ("", "_low", "_high")]
    stop = 1000 * path["difference"]
    whole_ms = 1000 * float(table.loc["ear_p50", "difference"])
    rows = [
        ("the detector doubts more often", 1000 * waits_s, math.nan, math.nan,
         "the prediction's turns, weighted to the recorded proportion of waits"),
        ("a longer audio path than the tunnel's line", *longer,
         f"ear less SDK in both; the stop after a barge-in says {stop:,.0f} ms of its own"),
    ]  # fmt: skip
    left = whole_ms - sum(row[1] for row in rows)
    rows.append((UNEXPLAINED, left, whole_ms - 1000 * waits_s - longer[2],
                 whole_ms - 1000 * waits_s - longer[1], "the rest; medians do not add up"))  # fmt: skip
    return pd.DataFrame(rows, columns=["cause", "ms", "low", "high", "known_from"])


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


def moved(base: pd.DataFrame, changed: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What each of :func:`changes` does to the same turns: the paired means, ms with 95% CI."""
    rows = {}
    for name, turns in changed.items():
        both = whole(base), whole(turns)
        rows[name] = {
            "at the ear": _signed(statistics.difference(*both, LATENCY)),
            "the SDK's e2e_latency": _signed(statistics.difference(*both, SDK)),
            "ear less SDK": _signed(statistics.difference(*both, GAP)),
        }
    return titled(pd.DataFrame(rows).T, "ms, paired mean")


def _signed(e: Estimate) -> str:
    return f"{'+' if e.value > 0 else ''}{ms_ci(e)}"


def input_table(turns: pd.DataFrame, record: Recording) -> pd.DataFrame:
    """:func:`inputs` to read: ms, and the deviation in %."""
    found = inputs(turns, record)
    table = pd.DataFrame({
        "at": [f"p{100 * q:g}" for q in found["quantile"]],
        "published (ms)": found["published_s"].map(ms),
        "this run (ms)": [
            ms_ci(Estimate(r.run_s, r.low_s, r.high_s, 0, 0)) for r in found.itertuples()
        ],
        "off": [f"{off:+.1%}" for off in found["off"]],
    })  # fmt: skip
    return titled(table.set_index(found["stage"]), "stage")


WHY = {
    "ear_p50": "see the table of causes",
    "ear_p95": "the slower mode's",
    "fast": "audio path",
    "slow": "audio path; here some replies wait for an LLM that was asked again",
    "share": "one sentence of the script makes v1 wait every time; v1-mini hears other callers",
    "sdk_p50": "",
    "sdk_p95": "",
    "gap": "audio path",
    "eot_p50": "another count: an SDK that commits on a final cannot do so before the STT's median",
    "eot_mean": "another count, as above",
    "eot_p95": "another count: the agent's log has 2.5 s; less the STT delay it is the dashboard's",
    "stop": "audio path; adaptive interruption decides sooner than the VAD does here",
    "path": "audio path",
    "hums": "adaptive interruption is hosted; here the VAD decides",
    "requests": "not known how many of the recorded ones were preemptive",
}
"""The named cause of each row's difference, where it has one."""


def compared_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`compared` to read: ms, % or numbers, each with its 95% CI or published range."""
    rows = {}
    for row in table.to_dict("records"):
        form = _FORMS[str(row["unit"])]
        recorded, predicted = (
            Estimate(row[f"{side}"], row[f"{side}_low"], row[f"{side}_high"], 0, 0)
            for side in ("recorded", "predicted")
        )
        rows[row["name"]] = {
            "recorded": form(recorded).removesuffix(" [?]").removesuffix(" [nan–nan]"),
            "predicted": form(predicted),
            "recorded less predicted": _difference(row),
            "covered": "yes" if _overlap(row) else "no",
            "cause of the difference": WHY[row["id"]],
        }
    return titled(pd.DataFrame(rows).T, "output")


def _difference(row: Mapping[str, Any]) -> str:
    value = float(row["difference"])
    if row["unit"] == "share":
        return f"{100 * value:+.1f} points"
    return f"{1000 * value:+,.0f} ms" if row["unit"] == "s" else f"{value:+.2f}"


def _overlap(row: Mapping[str, Any]) -> bool:
    """Whether the two intervals meet; what has none counts as a point."""
    low, high = (row[f"recorded{end}"] for end in ("_low", "_high"))
    low, high = (row["recorded"] if math.isnan(end) else end for end in (low, high))
    return bool(low <= row["predicted_high"] and row["predicted_low"] <= high)


def cause_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`causes` to read."""
    sizes = [
        f"{r.ms:+,.0f}" + ("" if math.isnan(r.low) else f" [{r.low:+,.0f} to {r.high:+,.0f}]")
        for r in table.itertuples()
    ]
    shown = pd.DataFrame({"of the median's difference (ms)": sizes,
                          "known from": table["known_from"]})  # fmt: skip
    return titled(shown.set_index(table["cause"]), "cause")


def side_by_side(table: pd.DataFrame) -> Chart:
    """Draws :func:`compared`, of what is a time: recorded and predicted with their intervals."""
    times = table[table["unit"] == "s"]
    shown = [
        Dot(str(row["name"]), side, tuple(float(row[f"{side}{end}"]) for end in ("", "_low", "_high")),  # type: ignore[arg-type]
            look, filled=side == "predicted")
        for row in times.to_dict("records")
        for side, look in (("recorded", looks(1)), ("predicted", looks(0)))
    ]  # fmt: skip
    return Chart(dots(shown, "time"), table)


def read(table: pd.DataFrame, causes_: pd.DataFrame) -> str:
    """The answer in sentences."""
    by = table.set_index("id")
    ear, sdk, share = by.loc["ear_p50"], by.loc["sdk_p50"], by.loc["share"]
    left = causes_.set_index("cause").loc[UNEXPLAINED, "ms"]
    return (
        f"Predicted at the ear: **{ms(ear['predicted'])} ms** at the median, recorded "
        f"{ms(ear['recorded'])}: off by {_difference(ear)} ({ear['difference'] / ear['recorded']:.0%} "
        f"of what was heard). The SDK's own figure is off by {_difference(sdk)}. The detector's limit "
        f"is waited out on {percent(share['predicted'])} of turns, recorded {percent(share['recorded'])}. "
        f"Of the median's difference {left:+,.0f} ms have no named cause."
    )
