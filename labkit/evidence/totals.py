"""Running totals that agents log in each turn, as what every turn added."""

from __future__ import annotations

import numpy as np
import pandas as pd


def per_turn(turns: pd.DataFrame, column: str) -> pd.Series:
    """What each turn added to a running total of its call; 0 where nothing was logged.

    Args:
        turns: The turns of each call in their order, of any arms and points.
        column: The total, which may be missing altogether.
    """
    swept = [str(c) for c in turns if "." in str(c)]
    keys = [turns[key] for key in ("arm", *swept, "call")]
    logged = turns[column] if column in turns else pd.Series(np.nan, turns.index)
    total = logged.groupby(keys, dropna=False, sort=False).ffill().fillna(0.0)
    return total - total.groupby(keys, dropna=False, sort=False).shift(fill_value=0.0)
