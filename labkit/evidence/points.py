"""A sweep in one table: what each point of each arm came to, and which calls failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.compare import harmed


def by_point(results: Results, axes: Sequence[str]) -> pd.DataFrame:
    """Latency, harm and failures of every point of a sweep over ``axes``.

    Returns:
        One row per arm and place, in the order they were run: ``arm``, the swept settings,
        ``n_calls``, ``failed_calls``, ``n_turns``, ``p50_s``, ``p95_s`` and ``harm`` (proportion
        of turns with a premature or no reply), each with its 95% CI (``…_low``, ``…_high``), and
        ``error``, the first one.
    """
    heads = ["arm", *axes]
    calls = results.calls
    rows: list[dict[str, Any]] = []
    for values, own in calls.groupby(heads, sort=False, dropna=False) if len(calls) else ():
        place = dict(zip(heads, values, strict=True))
        row: dict[str, Any] = {k: None if v != v else v for k, v in place.items()}  # NaN: unset
        turns = results.part(**row).turns
        failed = own[own["status"] != "ok"]
        row |= {"n_calls": len(own), "failed_calls": len(failed), "n_turns": len(turns)}
        p50, p95 = (statistics.quantile(turns, q) for q in (0.5, 0.95))
        harm = statistics.rate(turns, harmed(turns)) if len(turns) else statistics.NOTHING
        row |= p50.columns("p50", "_s") | p95.columns("p95", "_s") | harm.columns("harm")
        row["error"] = str(failed["error"].iloc[0]) if len(failed) else ""
        rows.append(row)
    return pd.DataFrame(rows)
