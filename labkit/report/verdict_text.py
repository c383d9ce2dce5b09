"""Verdicts in words: the sentence of a row, and the table that a notebook shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.evidence.claims import REPRODUCED
from labkit.evidence.units import MS, Unit, change_unit, interval, number
from labkit.report.saving import ends, records
from labkit.report.tables import titled


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """A row in words, piece by piece; empty where there is none.

    Returns:
        ``claimed``, ``mean`` (of the saving), ``p50``, ``p95``, ``harm``.
    """
    level = "" if row["measures"] == "saving" else "latency "
    found = {p: level + _estimate(row, p, MS) for p in ("p50", "p95")}
    found["mean"] = "" if is_none(row.get("saving_s")) else _estimate(row, "saving", MS)
    found["claimed"] = "" if is_none(row["claimed_low_s"]) else f"{_band(row)} at {_p(row)}"
    found["harm"] = ""
    if not is_none(row["harm_name"]):
        unit = change_unit(row["harm_kind"], "")
        change = _estimate(row, "harm", unit, sign=True, symbol=True)
        found["harm"] = f"{row['harm_name']}: {change}"
    return found


def badges(row: Mapping[str, Any]) -> list[str]:
    """The badges of a card: the advice, and how the claim fared."""
    found = [] if is_none(row.get("advice")) else [str(row["advice"])]
    if not is_none(row["claim_outcome"]):
        outcome = str(row["claim_outcome"])
        if outcome == REPRODUCED:
            found.append(f"claim {outcome}")
        else:
            found.append(outcome if "claimed" in outcome else f"claim: {outcome}")
    return found


def table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as a reader wants them: in shown units, with 95% CI."""
    shown = []
    for row in records(verdicts):
        saved = "saved" if row["measures"] == "saving" else "latency"
        line = {"arm": row["arm"]}
        if not is_none(row["saving_s"]):
            line["saved per turn (ms)"] = _estimate(row, "saving", MS)
            line["by speaker"] = _speakers(row)
        for p in ("p50", "p95"):
            line[f"{saved} {p} (ms)"] = _estimate(row, p, MS)
        if not is_none(row["harm_name"]):
            unit = change_unit(row["harm_kind"], row["harm_name"])
            line[unit.label] = _estimate(row, "harm", unit, sign=True)
        if not is_none(row["claimed_low_s"]):
            line["claimed (ms)"] = f"{_band(row)} at {_p(row)}"
        if not is_none(row["claim_outcome"]):
            line["claim"] = row["claim_outcome"]
        if not is_none(row["advice"]):
            line |= {"gain": row["gain"], "harm": row["harm_verdict"], "advice": row["advice"],
                     "because": row["reason"]}  # fmt: skip
        shown.append(line)
    return titled(pd.DataFrame(shown).fillna("").set_index("arm"))


def sentence(row: Mapping[str, Any]) -> str:
    """A row of a table of verdicts as a sentence."""
    p50, p95 = (_estimate(row, p, MS, symbol=True) for p in ("p50", "p95"))
    if row.get("advice"):
        saved = _estimate(row, "saving", MS, symbol=True)
        text = f"{row['arm']}: {row['advice']}. It saves {saved} per turn in the mean"
        text += f" (by speaker {_speakers(row)}), {p50} at p50 and {p95} at p95"
    else:
        text = f"{row['arm']}: {row['measures']} at p50 {p50}, at p95 {p95}"
    if row.get("harm_name"):
        unit = change_unit(row["harm_kind"], row["harm_name"])
        text += f"; {row['harm_name']}: {_estimate(row, 'harm', unit, sign=True, symbol=True)}"
    text += f" ({row['reason']})." if row.get("reason") else "."
    if row.get("claim_outcome"):
        band = "" if is_none(row["claimed_low_s"]) else f" claims {_band(row)} ms at {_p(row)}"
        text += f" {row['claim']}{band}: {row['claim_outcome']}."
    return text


def _speakers(row: Mapping[str, Any]) -> str:
    low, high = row["saving_speaker_low_s"], row["saving_speaker_high_s"]
    return "unknown" if is_none(low) else interval(1000 * low, 1000 * high)


def _estimate(
    row: Mapping[str, Any], name: str, unit: Unit, sign: bool = False, symbol: bool = False
) -> str:
    suffix = "_s" if unit is MS else ""
    value, low, high = (math.nan if is_none(v) else float(v) for v in ends(row, name, suffix))
    return unit.estimate(value, low, high, sign, symbol)


def _band(row: Mapping[str, Any]) -> str:
    return f"{number(1000 * row['claimed_low_s'])}–{number(1000 * row['claimed_high_s'])}"


def _p(row: Mapping[str, Any]) -> str:
    return f"p{row['claimed_quantile'] * 100:g}"


def is_none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
