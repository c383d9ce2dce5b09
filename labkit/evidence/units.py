"""Numbers as readers want them: seconds become milliseconds, proportions per cent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labkit.evidence.statistics import Estimate

SHARE = "share"
"""Kind of a harm that happens on a turn or does not; others are means of a column."""
_NAMES = {
    "response_latency_s": "mouth-to-ear response latency",
    "sdk_e2e_latency_s": "the SDK's e2e_latency",
    "llm_wasted_tokens": "LLM tokens never spoken, per turn",
    "llm_cached_tokens": "cached prompt tokens per turn",
    "llm_calls": "LLM calls per turn",
    "tts_characters": "TTS characters per turn",
    "usd": "cost per turn",
}
_SUFFIXES = (  # the first that fits; `_per_s` must come before `_s`
    ("_per_s", 1.0, "per s"),
    ("_s", 1000.0, "ms"),
    ("_frac", 100.0, "%"),
    ("_prob", 100.0, "%"),
    ("_rate", 100.0, "%"),
    ("_share", 100.0, "%"),
    ("_hz", 1.0, "Hz"),
    ("_bytes", 1.0, "bytes"),
    ("_tokens", 1.0, "tokens"),
    ("_characters", 1.0, "characters"),
    ("_dbfs", 1.0, "dBFS"),
)


@dataclass(frozen=True)
class Unit:
    """How a column's values are shown."""

    name: str  # of the quantity
    factor: float = 1.0  # multiplies a value of the table
    symbol: str = ""  # unit after that; empty for plain numbers

    @property
    def label(self) -> str:
        """For an axis or the head of a column: name and unit."""
        return f"{self.name} ({self.symbol})" if self.symbol else self.name

    def estimate(
        self, value: float, low: float, high: float, sign: bool = False, symbol: bool = False
    ) -> str:
        """A value of the table with its 95% CI in brackets; a dash for NaN."""
        if math.isnan(value):
            return "–"
        value, low, high = (v * self.factor for v in (value, low, high))
        unit = f" {self.symbol}" if symbol and self.symbol else ""
        size = abs(value) if math.isnan(low) else max(abs(low), abs(high))
        return f"{number(value, sign, like=size)}{unit} {interval(low, high)}"


MS = Unit("", 1000.0, "ms")
"""Times, where what they are of is said elsewhere."""


def unit_of(column: str) -> Unit:
    """Unit of a column by its suffix, as all tables and settings name theirs.

    Unknown suffixes mean a plain number.
    """
    if column == "usd":
        return Unit(_NAMES[column], 100.0, "US cents")
    for suffix, factor, symbol in _SUFFIXES:
        if column.endswith(suffix):
            bare = column.removesuffix(suffix) if "." in column or factor != 1 else column
            return Unit(_NAMES.get(column, bare.replace("_", " ")), factor, symbol)
    return Unit(_NAMES.get(column, column.replace("_", " ")))


def change_unit(kind: str, name: str) -> Unit:
    """How a change of a harm is shown: proportions as percentage points, columns in their own unit.

    Args:
        kind: ``share``, or the column whose mean per turn it is.
    """
    if kind == SHARE:
        return Unit(name, 100.0, "percentage points")
    unit = unit_of(kind)
    return Unit(name, unit.factor, unit.symbol or "per turn")


def number(value: float, sign: bool = False, like: float | None = None) -> str:
    """A number with thousands separated and decimals that suit its size; a dash for NaN.

    Args:
        like: A number whose size sets the decimals instead.
    """
    if math.isnan(value):
        return "–"
    size = abs(value if like is None else like)
    decimals = 0 if size >= 20 else 1 if size >= 1 else 2 if size >= 0.1 else 3
    text = f"{round(value, decimals) + 0.0:{'+' if sign else ''},.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "+0") else text.replace("-", "−")


def interval(low: float, high: float) -> str:
    """An interval in brackets, in shown units; ``[?]`` where it is unknown."""
    if math.isnan(low) or math.isnan(high):
        return "[?]"
    size = max(abs(low), abs(high))
    return _between(number(low, like=size), number(high, like=size))


def whole_interval(low: float, high: float) -> str:
    """An interval in brackets, in whole shown units."""
    if math.isnan(low) or math.isnan(high):
        return "[?]"
    return interval(float(round(low)), float(round(high)))


def ms(seconds: float | None) -> str:
    """Seconds as whole milliseconds; a dash for NaN."""
    if seconds is None or math.isnan(seconds):
        return "–"
    return f"{round(seconds * 1000) + 0.0:,.0f}"  # no negative zero


def percent(proportion: float | None, decimals: int = 1) -> str:
    """A proportion as per cent; a dash for NaN."""
    if proportion is None or math.isnan(proportion):
        return "–"
    return f"{proportion:.{decimals}%}"


def with_ci(e: Estimate, form: str = ".2f") -> str:
    """An estimate with its 95% CI in brackets, each in a format; a dash for NaN."""
    if math.isnan(e.value):
        return "–"
    return f"{e.value:{form}} {_between(f'{e.low:{form}}', f'{e.high:{form}}')}"


def ms_ci(e: Estimate) -> str:
    """An estimate in seconds as whole milliseconds with its 95% CI; a dash for NaN."""
    return "–" if math.isnan(e.value) else f"{ms(e.value)} {_between(ms(e.low), ms(e.high))}"


def percent_ci(e: Estimate, decimals: int = 1) -> str:
    """A proportion as per cent with its 95% CI; a dash for NaN."""
    return with_ci(e, f".{decimals}%")


def _between(low: str, high: str) -> str:
    if low in ("–", "nan", "nan%"):
        return "[?]"
    return f"[{low}{' to ' if low.startswith(('-', '−')) else '–'}{high}]"
