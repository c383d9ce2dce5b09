"""Verdicts in words: the sentence of a row, and the table that a notebook shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.report.units import interval, number


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dicts, keyed by column name."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as a reader wants them: milliseconds and percentage points with 95% intervals."""
    shown = []
    for row in records(verdicts):
        saved = "saved" if row["measures"] == "saving" else "latency"
        line = {"arm": row["arm"]}
        for p in ("p50", "p95"):
            line[f"{saved} {p} (ms)"] = _with_interval(row, p, "_s", 1000)
        if not is_none(row["harm_name"]):
            unit = harm_unit(row)
            line[unit.label] = _with_interval(row, "harm", "", unit, sign=True)
        if not is_none(row["claim"]):
            line["claimed (ms)"] = f"{_band(row)} at {_p(row)}"
            line["claim"] = row["claim_outcome"]
        if not is_none(row["decision"]):
            line |= {"verdict": row["decision"], "because": row["reason"]}
        shown.append(line)
    out = pd.DataFrame(shown).fillna("").set_index("arm")
    return out.rename_axis(None).rename_axis("arm", axis="columns")


def sentence(row: Mapping[str, Any]) -> str:
    """A row of a table of verdicts as a sentence."""
    kind = "Saving" if row["measures"] == "saving" else "Latency"
    p50, p95 = (_with_interval(row, p, "_s", 1000, unit=" ms") for p in ("p50", "p95"))
    text = f"{row['arm']}: " + (f"{row['decision']}. " if row.get("decision") else "")
    text += f"{kind} at p50 {p50}, at p95 {p95}"
    if row.get("harm_name"):
        change = _with_interval(row, "harm", "", 100, sign=True, unit=" percentage points")
        text += f"; {row['harm_name']}: {change}"
    text += f" ({row['reason']})." if row.get("reason") else "."
    if row.get("claim"):
        text += f" {row['claim']} claims {_band(row)} ms at {_p(row)}: {row['claim_outcome']}."
    return text


def _with_interval(
    row: Mapping[str, Any],
    name: str,
    end: str,
    factor: float,
    *,
    sign: bool = False,
    unit: str = "",
) -> str:
    value, low, high = (factor * float(row[f"{name}{x}{end}"]) for x in ("", "_low", "_high"))
    if math.isnan(value):
        return "–"
    digits = 0 if factor == 1000 else 1
    value, low, high = (round(v, digits) for v in (value, low, high))
    return f"{number(value, sign)}{unit} {interval(low, high)}"


def _band(row: Mapping[str, Any]) -> str:
    return f"{number(1000 * row['claimed_low_s'])}–{number(1000 * row['claimed_high_s'])}"


def _p(row: Mapping[str, Any]) -> str:
    return f"p{row['claimed_quantile'] * 100:g}"


def is_none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
