"""Earlier names of :mod:`labkit.report.tables`, until no notebook uses them."""

from labkit.report.tables import latency as latency_table
from labkit.report.tables import provenance as provenance_table
from labkit.report.tables import ran as fate

__all__ = ["fate", "latency_table", "provenance_table"]
