"""The rows of one call as bytes and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

Rows = dict[str, Any]
"""``turns``: the rows of a call's turns; ``call``: the call's own row."""


def encode(rows: Mapping[str, Any]) -> bytes:
    """Rows as bytes; floats keep every digit, NaN stays NaN."""
    return zlib.compress(json.dumps(rows, default=_plain).encode(), 6)


def decode(blob: bytes) -> Rows:
    """What :func:`encode` was given."""
    rows: Rows = json.loads(zlib.decompress(blob))
    return rows


def _plain(value: Any) -> Any:
    """numpy's scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} cannot be kept in a table")
