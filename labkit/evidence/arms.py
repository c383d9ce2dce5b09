"""Arms of a table of turns, once a study has added its own columns to it."""

from __future__ import annotations

import pandas as pd


def by_arm(turns: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The turns of each arm, in the order of their first turns."""
    return {str(name): part for name, part in turns.groupby("arm", sort=False)}
