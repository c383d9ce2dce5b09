"""What became of arms whose code was taken from a publication as it stands."""

from __future__ import annotations

import pandas as pd

from labkit.engine.tables import Results


def fate(results: Results) -> pd.DataFrame:
    """Whether each arm ran and answered.

    Args:
        results: Several arms, some of which may not run at all.

    Returns:
        One row per arm: ``calls``, ``calls that failed``, ``turns spoken``, ``turns answered``, and
        the ``error`` of the first call that failed.
    """
    rows = {}
    for name, arm in results.arms.items():
        failed = arm.calls[arm.calls["status"] != "ok"]
        heard = arm.turns["response_latency_s"].notna() if len(arm.turns) else pd.Series(dtype=bool)
        rows[name] = {
            "calls": len(arm.calls),
            "calls that failed": len(failed),
            "turns spoken": len(arm.turns),
            "turns answered": int(heard.sum()),
            "error": str(failed["error"].iloc[0]).partition("\n")[0] if len(failed) else "",
        }
    return pd.DataFrame(rows).T.rename_axis("arm", axis="columns")
