"""Units as readers want them: seconds become milliseconds, shares per cent, and axes say so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

_NAMES = {
    "response_latency_s": "response latency at the caller's ear",
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
_WHOLE = 100
"""Numbers from here on are printed without decimals."""


@dataclass(frozen=True)
class Unit:
    """How a column's values are shown.

    Attributes:
        name: What the quantity is called.
        factor: Multiplies a value of the table.
        symbol: Unit after that; empty for plain numbers.
    """

    name: str
    factor: float = 1.0
    symbol: str = ""

    @property
    def label(self) -> str:
        """For an axis or the head of a column: name and unit."""
        return f"{self.name} ({self.symbol})" if self.symbol else self.name

    def text(self, value: float, sign: bool = False) -> str:
        """A value of the table as printed, without its unit; a dash for NaN."""
        return number(value * self.factor, sign)

    def interval(self, low: float, high: float) -> str:
        """Two values of the table as an interval in brackets."""
        return interval(low * self.factor, high * self.factor)


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


def number(value: float, sign: bool = False) -> str:
    """A number as short as it is readable: three figures, thousands separated; a dash for NaN."""
    if math.isnan(value):
        return "–"
    if abs(value) >= _WHOLE or float(value).is_integer():
        text = f"{value:+,.0f}" if sign else f"{value:,.0f}"
    else:
        text = f"{value:+.3g}" if sign else f"{value:.3g}"
    return "0" if text in ("-0", "+0") else text.replace("-", "−")


def interval(low: float, high: float) -> str:
    """An interval in brackets, in shown units."""
    return f"[{number(low)} to {number(high)}]" if low < 0 else f"[{number(low)}–{number(high)}]"


def unit_axis(ax: Axes, unit: Unit, axis: str = "x") -> None:
    """Names an axis whose values were multiplied by the unit's factor; thousands are separated."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_label_text(unit.label)
    chosen.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
