"""Published end-of-turn detection on real speech, from ``data/eot_bench.toml``.

What the figures mean is said by :mod:`labkit.evidence.eot_policy`, which computes the same for
other speech.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import UsageError, unknown
from labkit.paths import data_dir

SILENCE, LOCAL = "silence", "v1-mini"
"""Detectors of the file that can be run here: silence alone, and the SDK's local model."""
_ROUNDING_S = 0.004


class EotBenchError(UsageError):
    """The file of published figures is not valid, or has no such detector."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A published policy and what came of it."""

    threshold: float
    action_delay_s: float
    timeout_s: float
    false_cutoffs: float  # proportion of mid-turn silences
    latency_s: float  # mean wait at true ends
    ends_detected: float  # proportion of true ends at which the score reached the threshold


@dataclass(frozen=True, kw_only=True)
class Published:
    """A detector's published figures; NaN where none was published.

    The first four are those of the best policy within a budget: of latency in seconds for cut-offs,
    of cut-offs for the latency.
    """

    id: str
    name: str
    cutoffs_at_300ms: float = math.nan
    cutoffs_at_600ms: float = math.nan
    latency_at_5_s: float = math.nan
    latency_at_10_s: float = math.nan
    auc: float = math.nan
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class EotBench:
    """Everything the file holds."""

    source: str
    date: str
    n_ends: int
    n_pauses: int
    detectors: Mapping[str, Published]

    def __getitem__(self, name: str) -> Published:
        """A detector by its id.

        Raises:
            EotBenchError: there is none; the message names the closest.
        """
        if name not in self.detectors:
            raise EotBenchError(unknown("detector", name, self.detectors))
        return self.detectors[name]


def load(path: Path | None = None) -> EotBench:
    """Reads and checks the published figures.

    Args:
        path: Another file of the same form.

    Raises:
        EotBenchError: the file cannot be read, or a figure is missing, misspelt or impossible.
    """
    path = path or data_dir() / "eot_bench.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        detectors = [_published(row) for row in table["detector"]]
        bench = EotBench(table["source"], str(table["date"]), table["n_ends"], table["n_pauses"],
                         {d.id: d for d in detectors})  # fmt: skip
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise EotBenchError(f"{path}: {e}") from None
    except (KeyError, TypeError) as e:
        raise EotBenchError(f"{path}: a key is missing or unknown: {e}") from None
    for name in (SILENCE, LOCAL):
        bench[name]
    if len(bench.detectors) < len(detectors):
        raise EotBenchError(f"{path}: a detector is listed twice")
    return bench


def _published(row: dict[str, Any]) -> Published:
    points = tuple(Point(**p) for p in row.pop("point", ()))
    found = Published(**row, points=points)
    for name, value in ((n, v) for one in (found, *points) for n, v in vars(one).items()):
        highest = math.inf if name.endswith("_s") else 1.0
        if isinstance(value, (int, float)) and not (math.isnan(value) or 0 <= value <= highest):
            raise EotBenchError(f"{found.id}: {name}={value} is not possible")
    for p in points:
        wait_s = p.ends_detected * p.action_delay_s + (1 - p.ends_detected) * p.timeout_s
        if p.latency_s < wait_s - _ROUNDING_S:  # longer where a detector's score comes late
            raise EotBenchError(
                f"{found.id} at {p.threshold}: with {p.ends_detected} of the ends detected the "
                f"latency is {wait_s:.3f} s or more, not {p.latency_s}"
            )
    return found
