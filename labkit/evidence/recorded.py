"""A published recording of real calls, from ``data/reality.toml``: inputs and outputs kept apart.

What is published of a stage may be given to the emulated providers (:meth:`Recording.settings`).
What was heard may only be compared with what is then heard.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.statistics import Estimate
from labkit.paths import data_dir
from labkit.randomness import Delay

LATENCY = "response_latency_s"


@dataclass(frozen=True, kw_only=True)
class Input:
    """A published stage, seconds as the SDK counts it."""

    id: str
    name: str
    figure: str  # setting of the provider's delay
    column: str  # of the table of turns: the same stage of the run
    median_s: float
    p95_s: float
    floor_s: float  # the least that the provider's delay can be
    added_s: float  # what the tunnel adds to the provider's delay until the SDK counts it
    no_tail: bool = False  # the profile's own tail, of another source, gives way to the body's
    note: str = ""

    def settings(self) -> dict[str, float]:
        """The provider's delay with which the run's stage has these quantiles."""
        fields = {
            "median_s": self.median_s - self.added_s,
            "p95_s": self.p95_s - self.added_s,
            "min_s": self.floor_s,
        }
        if self.no_tail:
            body = Delay(median_s=fields["median_s"], p95_s=fields["p95_s"], min_s=fields["min_s"])
            fields["tail.p99_s"] = body.quantile(0.99)
        return {f"{self.figure}.{name}": round(value, 6) for name, value in fields.items()}


@dataclass(frozen=True, kw_only=True)
class Output:
    """What was heard or reported: a value, an interval or range, or single observations."""

    id: str
    name: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    unit: str = "s"  # or "share", of turns or sounds, or "number"
    samples: Sequence[Sequence[float]] = ()  # by call
    fitted: str = ""  # figure of a provider that is from this very record: then it is no check
    note: str = ""

    @property
    def estimate(self) -> Estimate:
        """It with its 95% CI or published range; the middle of a range without a value."""
        if self.samples:
            rows = [(i, x) for i, call in enumerate(self.samples) for x in call]
            table = pd.DataFrame(rows, columns=["call", "x"])
            if self.unit == "share":
                return statistics.rate(table, table["x"])
            return statistics.quantile(table, 0.5, "x")
        value = (self.low + self.high) / 2 if math.isnan(self.value) else self.value
        return Estimate(value, self.low, self.high, self.n, 0)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The recorded calls.

    Attributes:
        title, source, date: Who published it, where and when.
        agent, caller: What was recorded.
        slow_from_s: Latency from which a reply belongs to the slower of its two modes, seconds.
        inputs, outputs: By id.
        left_open: Settings of what the recording does not tell, by name.
        turns: One row per timed turn: ``call``, ``scenario``, ``line`` (what the caller said) and
            ``response_latency_s``; and ``in_pieces``, whether the line was heard in two pieces.
        in_pieces: Names of those lines.
    """

    title: str
    source: str
    date: str
    agent: str
    caller: str
    slow_from_s: float
    in_pieces: Sequence[str]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    left_open: Mapping[str, str]
    turns: pd.DataFrame

    def settings(self) -> dict[str, float]:
        """Settings of a run whose providers have the recorded stages; none comes from an output."""
        return {k: v for stage in self.inputs.values() for k, v in stage.settings().items()}

    @property
    def claim(self) -> Claim:
        """The recorded median with its 95% CI, as a level that a prediction is compared with."""
        median = self.outputs["ear_p50"]
        return Claim(
            text="The recording", low_s=median.low, high_s=median.high, quantile=0.5,
            quantity="level", claim=self.title, source=self.source,
        )  # fmt: skip


@functools.cache
def load() -> Recording:
    """The recording in ``data/reality.toml``."""
    table = tomllib.loads((data_dir() / "reality.toml").read_text(encoding="utf-8"))
    return Recording(
        **table["record"],
        inputs={row["id"]: Input(**row) for row in table["input"]},
        outputs={row["id"]: Output(**row) for row in table["output"]},
        left_open=table["left_open"],
        turns=_turns(table["scenario"], table["lines"], table["record"]["in_pieces"]),
    )


def _turns(
    scenarios: Sequence[Mapping[str, Any]], lines: Mapping[str, str], in_pieces: Sequence[str]
) -> pd.DataFrame:
    rows = [
        {"scenario": s["name"], "trial": trial, "line": lines[line], LATENCY: latency_s,
         "in_pieces": line in in_pieces}
        for s in scenarios
        for trial, call in enumerate(s["calls_s"])
        for line, latency_s in zip(s["lines"], call, strict=True)
    ]  # fmt: skip
    turns = pd.DataFrame(rows)
    return turns.assign(call=turns.groupby(["scenario", "trial"], sort=False).ngroup())
