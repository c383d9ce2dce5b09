"""Study 19: a recorded LiveKit starter, predicted from its published stages.

The recording's stages are the run's inputs; what was heard is only compared. A difference gets a
cause with a size, measured where that can be done, or is called unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import prediction, statistics
from labkit.evidence.prediction import GAP, SDK, UNEXPLAINED, Runs, whole
from labkit.evidence.recorded import LATENCY, Recording
from labkit.evidence.statistics import Estimate
from labkit.evidence.units import ms, ms_ci, percent, percent_ci, with_ci
from labkit.report.dots import Dot, dots
from labkit.report.figures import Chart
from labkit.report.palette import looks
from labkit.report.saving import ends, records
from labkit.report.tables import titled

PREDICTED, CUTTING_IN, HUMMING = "predicted", "cutting in", "humming"
_AGENT = "starter"

_FORMS: dict[str, Callable[[Estimate], str]] = {
    "s": ms_ci,
    "share": percent_ci,
    "number": with_ci,
}
_DETECTOR = "other callers; the hosted detector's scores are emulated"
_COUNT = "another count: a turn cannot be committed before its final transcript"
_PATH = "audio path"
_FITTED = "none to name: the figure is this recording's own, so this is no check"
WHY = {
    "ear_p50": "see the causes below",
    "ear_p95": "of the slower mode",
    "fast": _PATH,
    "slow": f"{_PATH}; field callers' pauses make some replies start anew after the wait",
    "share": f"{_DETECTOR}; most of the recorded waits are one sentence's",
    "gap": _PATH,
    "eot_p50": _COUNT,
    "eot_mean": _COUNT,
    "eot_p95": f"{_COUNT}; see the text",
    "stop": f"{_PATH}; the decision is another, too",
    "decided": _FITTED,
    "path": _PATH,
    "hums": _FITTED,
    "requests": "the recorded voice pauses inside lines; see the text",
}
"""What is named as the cause of a row's difference, where one is."""


def arms(cut_in_after_s: float) -> dict[str, Arm]:
    """The starter with callers as in the field, with callers who cut in, with ones who say mhm."""
    cutting = {"caller.persona": "barging_in", "caller.barge_in_after_s": cut_in_after_s}
    humming = {"caller.persona": "back_channelling", "caller.backchannel_prob": 1.0}
    return {
        PREDICTED: Arm(_AGENT),
        CUTTING_IN: Arm(_AGENT, cutting),
        HUMMING: Arm(_AGENT, humming),
    }


def changes(record: Recording, rtt_s: float, tokens_per_s: float) -> dict[str, Arm]:
    """Arms with one thing changed that the recording leaves open.

    Args:
        rtt_s: The caller's round trip.
        tokens_per_s: The LLM's pace.
    """
    pace, silence = (record.left_open[name] for name in ("llm_pace", "leading_silence"))
    return {
        f"caller's round trip {ms(rtt_s)} ms": Arm(_AGENT, {"links.caller.rtt_s": rtt_s}),
        f"LLM at {tokens_per_s:g} tokens/s": Arm(_AGENT, {pace: tokens_per_s}),
        "speech begins without silence": Arm(_AGENT, {silence: 0.0}),
        "fluent callers over digital silence": Arm(_AGENT, {"caller.persona": "fluent"}),
    }


def runs(results: Results) -> Runs:
    """The turns of :func:`arms`."""
    found = results.arms
    return Runs(*(found[name].turns for name in (PREDICTED, CUTTING_IN, HUMMING)))


def input_table(results: Results, record: Recording) -> pd.DataFrame:
    """Whether the run has the stages it was given: ms with 95% CI, and by how much it is off."""
    rows = records(prediction.inputs(runs(results).calm, record))
    table = pd.DataFrame({
        "at": [f"p{100 * row['quantile']:g}" for row in rows],
        "published (ms)": [ms(row["published_s"]) for row in rows],
        "this run (ms)": [ms_ci(_estimate(row, "run", "_s")) for row in rows],
        "off": [f"{row['off']:+.1%}" for row in rows],
    })  # fmt: skip
    return titled(table.set_index(pd.Index([row["stage"] for row in rows])), "stage")


def comparison_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`labkit.evidence.prediction.compared` to read, each with its 95% CI or range."""
    rows = {}
    for row in records(table):
        form, recorded = _FORMS[row["unit"]], _estimate(row, "recorded")
        met = covered(row)
        rows[row["name"]] = {
            "recorded": form(recorded).partition(" [" if math.isnan(recorded.low) else "|")[0],
            "predicted": form(_estimate(row, "predicted")),
            "recorded less predicted": difference(row),
            "intervals meet": "yes" if met else "no",
            "cause": WHY.get(row["id"], "none needed" if met else UNEXPLAINED),
        }
    return titled(pd.DataFrame(rows).T, "output")


def covered(row: Mapping[str, Any]) -> bool:
    """Whether the two intervals meet; what has none counts as a point."""
    low, high = (
        row["recorded"] if math.isnan(row[f"recorded{end}"]) else row[f"recorded{end}"]
        for end in ("_low", "_high")
    )
    return bool(low <= row["predicted_high"] and row["predicted_low"] <= high)


def difference(row: Mapping[str, Any]) -> str:
    """Recorded less predicted, in the row's unit."""
    value = float(row["difference"])
    if row["unit"] == "share":
        return f"{100 * value:+.1f} points"
    return f"{1000 * value:+,.0f} ms" if row["unit"] == "s" else f"{value:+.2f}"


def cause_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`labkit.evidence.prediction.causes` to read, ms."""
    rows = records(table)
    sizes = [_estimate(row, "size", "_s") for row in rows]
    shown = {
        "of the median's difference (ms)": [
            _signed(e).partition(" [" if math.isnan(e.low) else "|")[0] for e in sizes
        ],
        "known from": [row["known_from"] for row in rows],
    }
    return titled(pd.DataFrame(shown, index=[row["cause"] for row in rows]), "cause")


def moved(results: Results, changed: Results) -> pd.DataFrame:
    """What each of :func:`changes` does to the same turns: paired means, ms with 95% CI."""
    base, rows = whole(runs(results).calm), {}
    for name, run in changed.arms.items():
        own = whole(run.turns)
        rows[name] = {
            what: _signed(statistics.difference(base, own, column))
            for what, column in (("at the ear", LATENCY), ("SDK's e2e_latency", SDK),
                                 ("ear less SDK", GAP))
        }  # fmt: skip
    return titled(pd.DataFrame(rows).T, "ms per turn")


def side_by_side(table: pd.DataFrame) -> Chart:
    """Draws the times of a comparison: recorded and predicted, each with its interval."""
    shown = [
        Dot(row["name"], side, ends(row, side), look, filled=side == "predicted")
        for row in records(table[table["unit"] == "s"])
        for side, look in (("recorded", looks(1)), ("predicted", looks(0)))
    ]
    return Chart(dots(shown, "time"), table)


def read(table: pd.DataFrame, causes: pd.DataFrame) -> str:
    """The answer in sentences."""
    by = {row["id"]: row for row in records(table)}
    ear, share = by["ear_p50"], by["share"]
    left = {row["cause"]: row for row in records(causes)}[UNEXPLAINED]
    off = ear["difference"] / ear["recorded"]
    return (
        f"At the ear **{ms(ear['predicted'])} ms** at the median are predicted, and "
        f"{ms(ear['recorded'])} were recorded: off by {difference(ear)}, or {off:.0%} of what was "
        f"heard. The SDK's own figure is off by {difference(by['sdk_p50'])}. The detector's limit "
        f"is waited out on {percent(share['predicted'])} of turns, and was on "
        f"{percent(share['recorded'])}. {_signed(_estimate(left, 'size', '_s'))} ms of the "
        "median's difference have no named cause."
    )


def read_path(table: pd.DataFrame) -> str:
    """Whether two outputs that have little in common ask for the same longer audio path."""
    by = {row["id"]: row for row in records(table)}
    return (
        f"Ear less SDK differs by {difference(by['gap'])}, the audio path of a barge-in by "
        f"{difference(by['path'])}: two measurements, of a reply's start and of its end, that "
        "share neither a stage of the pipeline nor a provider."
    )


def read_count(record: Recording, limit_s: float) -> str:
    """Why the dashboard's end-of-turn delay is not the SDK's."""
    out, stt_s = record.outputs, record.inputs["stt"].median_s
    return (
        f"The dashboard's median, {ms(out['eot_p50'].value)} ms, is below that of the STT delay, "
        f"{ms(stt_s)} ms, although the agent's log has each turn committed on its final "
        f"transcript. Its p95 is {ms(out['eot_p95'].value)} ms, although the log has waits of "
        f"{ms(limit_s)}: less the STT delay that is {ms(limit_s - stt_s)}. So the dashboard seems "
        "to count from the transcript on the turns that wait, and the two are not one quantity."
    )


def read_requests(record: Recording) -> str:
    """Whether the pauses of the recorded voice account for the requests to the LLM."""
    pieces, requests = record.turns["in_pieces"].mean(), record.outputs["requests"].value
    return (
        f"The recorded voice pauses inside three of its lines, {percent(pieces, 0)} of the turns, "
        "and these were heard in two pieces. With preemptive generation each piece asks the LLM: "
        f"that makes {1 + pieces:.2f} requests per reply, and {requests:.2f} were counted."
    )


def _estimate(row: Mapping[str, Any], name: str, suffix: str = "") -> Estimate:
    return Estimate(*ends(row, name, suffix), 0, 0)


def _signed(e: Estimate) -> str:
    return f"{'+' if e.value > 0 else ''}{ms_ci(e)}"
