"""Tables to read, in milliseconds and per cent, and sentences with numbers, of any study.

Notebooks print what these return, so no number in their prose is typed by hand. The tables of a run
keep seconds and proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.paired import waits
from labkit.evidence.summary import OUTCOMES
from labkit.evidence.units import ms, ms_ci, percent, percent_ci, with_ci


def titled(table: pd.DataFrame, title: str = "arm") -> pd.DataFrame:
    """Writes a name above the row names, in the same line as the columns' names."""
    return table.rename_axis(None).rename_axis(title, axis="columns")


def latency(turns: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of the response latency and of the SDK's ``e2e_latency``, ms with 95% CI."""
    both = turns[turns["sdk_e2e_latency_s"].notna()]
    column = "response_latency_s"
    wanted = {"mouth-to-ear response latency": (turns, column)}
    if len(both) < turns[column].notna().sum():
        wanted["the same, on turns with an e2e_latency"] = (both, column)
    wanted["the SDK's e2e_latency"] = (both, "sdk_e2e_latency_s")
    rows = {}
    for name, (part, column) in wanted.items():
        estimates = {f"p{p}": statistics.quantile(part, p / 100, column) for p in (50, 95)}
        rows[name] = {p: ms_ci(e) for p, e in estimates.items()}
        rows[name]["turns"] = str(estimates["p50"].n)
    return titled(pd.DataFrame.from_dict(rows, orient="index"), "ms")


def outcomes(turns: pd.DataFrame) -> pd.DataFrame:
    """How turns ended, in % of turns, and what they cost per turn, with 95% CI."""
    rows = {
        f"{outcome} (% of turns)": percent_ci(statistics.rate(turns, turns["outcome"] == outcome))
        for outcome in OUTCOMES
    }
    cents = turns.assign(cents=100 * turns["usd"])
    for column, name, form in (
        ("llm_calls", "LLM calls", ".2f"),
        ("llm_wasted_tokens", "LLM tokens generated, never spoken", ".1f"),
        ("tts_characters", "TTS characters", ".0f"),
        ("cents", "US cents", ".4f"),
    ):
        rows[f"{name} per turn"] = with_ci(statistics.mean(cents, column), form)
    return titled(pd.DataFrame({"value, 95% CI": rows}), "outcome")


def sdk_gap(means: pd.DataFrame) -> pd.DataFrame:
    """:func:`labkit.report.sdk_gap.difference_means` as a table to read: ms, and % of the whole."""
    ends = 1000 * means[["low_s", "high_s"]]
    table = pd.DataFrame({
        "owner": means["owner"],
        "mean (ms)": (1000 * means["mean_s"]).round(1),
        "95% CI": [f"{low:,.1f} to {high:,.1f}" for low, high in ends.to_numpy()],
        "% of the gap": (means["mean_s"] / means["mean_s"].iloc[-1]).map(percent),
    })  # fmt: skip
    return titled(table.set_index(means["name"]), "what the SDK leaves out")


def saving_by_wait(saved: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    """Means of :func:`labkit.evidence.paired.savings`, by what a turn waited for.

    ``delay_s`` is the wait that the turn detector's doubt brings.
    """
    rows: dict[str, dict[str, str]] = {}
    for (arm, wait), own in saved.groupby(["arm", waits(saved, delay_s)], sort=False):
        e = statistics.mean(own, "saved_s")
        row = rows.setdefault(str(arm), {})
        row |= {f"{wait}: saved (ms)": ms_ci(e), f"{wait}: turns": str(e.n)}
    return titled(pd.DataFrame(rows).T.sort_index(axis="columns"))


def same(turns: pd.DataFrame, one: str, other: str, axes: Sequence[str] = ()) -> str:
    """Whether two arms answered the same turns at the same moment, on calls that both made."""
    key = [*axes, "call", "turn"]
    a, b = (turns[turns["arm"] == n].set_index(key)["response_latency_s"] for n in (one, other))
    both = a.index.intersection(b.index)
    apart = (a[both] - b[both]).abs()
    worst, n = float(apart.max()), int(apart.notna().sum())
    if worst < 0.0005 and (a[both].isna() == b[both].isna()).all():
        return f"On all {n} answered turns *{one}* and *{other}* answer at the same millisecond."
    return f"*{one}* and *{other}* differ by up to {ms(worst)} ms on {n} turns."


def ran(results: Results) -> pd.DataFrame:
    """Whether each arm ran and answered: for code that was taken from a publication as it stands.

    Returns:
        One row per arm: ``calls``, ``calls that failed``, ``turns spoken``, ``turns answered``, and
        the first ``error``, in a call that failed or in the agent's code.
    """
    rows = {}
    for name, arm in results.arms.items():
        troubles = arm.troubles
        heard = arm.turns["response_latency_s"].notna() if len(arm.turns) else pd.Series(dtype=bool)
        rows[name] = {
            "calls": len(arm.calls),
            "calls that failed": len(arm.failed),
            "turns spoken": len(arm.turns),
            "turns answered": int(heard.sum()),
            "error": troubles["error"].iloc[0].partition("\n")[0] if len(troubles) else "",
        }
    return pd.DataFrame(rows).T.rename_axis("arm", axis="columns")


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, the key of each, unless empty, written behind its arms' names."""
    named = [t.assign(arm=t["arm"] + (f" ({key})" if key else "")) for key, t in tables.items()]
    return pd.concat(named, ignore_index=True)


def flat(record: Mapping[str, object]) -> dict[str, str]:
    """A record in which each entry of a mapping stands by itself, under the names of both."""
    found: dict[str, str] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= {f"{key}: {name}": str(v) for name, v in value.items()}
        else:
            found[key] = str(value)
    return found


def provenance(results: Results) -> pd.DataFrame:
    """Where the tables come from: run, code, packages, data and machine."""
    record = {**results.provenance, "digest": results.digest}
    shown = {k: "all at their defaults" if v == {} else v for k, v in record.items()}
    return titled(pd.DataFrame({"value": flat(shown)}), "provenance")
