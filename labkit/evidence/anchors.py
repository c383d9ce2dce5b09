"""Published figures to compare with one's own, with their sources, from ``data/anchors.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from labkit.errors import UsageError, unknown
from labkit.paths import data_dir


class AnchorError(UsageError):
    """An unknown or incomplete anchor."""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """One published figure."""

    id: str  # name in data/anchors.toml
    name: str  # in a figure's legend
    quantity: str = "response_latency"  # or dashboard_gap, end_of_turn_delay …
    quantile: float  # that it speaks of, 0 to 1
    low_s: float  # lower end of the published range or interval; the value where there is none
    high_s: float
    value_s: float | None = None  # None where only a range was published
    share: float | None = None  # proportion of turns or pauses that goes with it
    source: str  # who published it where
    date: str  # as precisely as known
    note: str = ""  # what it was measured on


def load(*ids: str) -> list[Anchor]:
    """Published figures by id; all of them by default.

    Raises:
        AnchorError: an id that is not in the file.
    """
    with (data_dir() / "anchors.toml").open("rb") as file:
        known = {row["id"]: row for row in tomllib.load(file)["anchor"]}
    for name in ids:
        if name not in known:
            raise AnchorError(unknown("anchor", name, known))
    return [_anchor(known[name]) for name in ids or known]


def _anchor(row: dict[str, Any]) -> Anchor:
    if "value_s" not in row and not {"low_s", "high_s"} <= row.keys():
        raise AnchorError(f"anchor {row['id']} needs value_s, or low_s and high_s")
    value_s = row.get("value_s")
    return Anchor(**{"low_s": value_s, "high_s": value_s, **row})
