"""The end-of-turn sweep as tables to read: per cent, milliseconds, points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.evidence.eot_bench import EotBench
from labkit.evidence.units import Unit, number, whole_interval

QUANTITIES = {
    "false_cutoffs": Unit("false cut-offs", 100.0, "%"),
    "latency_s": Unit("latency", 1000.0, "ms"),
    "ends_detected": Unit("ends detected", 100.0, "%"),
}
COLUMNS = ("policy or budget", "", "published", "here [95% CI]", "by speaker", "off by", "so it")


def comparison_rows(comparison: pd.DataFrame) -> list[tuple[str, ...]]:
    """:func:`labkit.evidence.eot_comparison.compared` in words, under :data:`COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for r in comparison.to_dict("records"):
        unit = QUANTITIES[r["quantity"]]
        low, high = (unit.factor * r[k] for k in ("low", "high"))
        speakers = (unit.factor * r[f"speaker_{end}"] for end in ("low", "high"))
        here = f"{_value(r, 'ours')} {whole_interval(low, high)}"
        rows.append((
            r["at"], unit.label, _value(r, "published"), here, whole_interval(*speakers), off(r),
            "agrees" if r["agrees"] else "differs",
        ))  # fmt: skip
    return rows


def comparison_table(comparison: pd.DataFrame, bench: EotBench) -> pd.DataFrame:
    """The same as a table for a notebook."""
    named = comparison["detector"].map(lambda name: bench[name].name)
    table = pd.DataFrame(comparison_rows(comparison), columns=list(COLUMNS))
    table = table.rename(columns={"": "quantity"}).assign(detector=named.to_numpy())
    return table.set_index(["detector", COLUMNS[0], "quantity"])


def _value(row: Mapping[Any, Any], name: str) -> str:
    """Milliseconds, or per cent with a decimal."""
    unit = QUANTITIES[row["quantity"]]
    return number(unit.factor * row[name], like=100.0 if unit.symbol == "ms" else 1.0)


def off(row: Mapping[Any, Any]) -> str:
    """A row's difference: of a latency in per cent, of a proportion in points."""
    text = number(100 * row["difference"], sign=True, like=1.0)
    unit = "%" if row["quantity"] == "latency_s" else " points"
    return text if text == "–" else text + unit
