"""Checks that a run must pass before it is used; they raise, as studies are rerun unattended."""

from __future__ import annotations

import pandas as pd

from labkit.engine.tables import Results

MAX_RESIDUAL_S = 0.005
_TAIL = 20
"""The p95 of fewer turns than this is their largest value."""


class CheckFailed(AssertionError):
    """A table that must not be used; the message says which turns or calls are wrong."""


def check(
    results: Results,
    *,
    max_residual_s: float = MAX_RESIDUAL_S,
    max_missed: int = 0,
    min_turns: int = _TAIL,
) -> pd.DataFrame:
    """Checks a run.

    Args:
        results: The run.
        max_residual_s: Largest difference allowed between a turn's latency and its stages' sum.
        max_missed: How many turns may be ``missed`` or ``failed``.
        min_turns: Fewest answered turns allowed.

    Returns:
        One row per check: what was found and what is allowed.

    Raises:
        CheckFailed: names every check that failed.
    """
    turns = results.turns
    bad = results.failed
    if not len(turns):
        raise CheckFailed(f"no turn was spoken{_calls(bad)}")
    answered = turns[turns["residual_s"].notna()]
    residual = float(answered["residual_s"].abs().max()) if len(answered) else float("nan")
    lost = turns[turns["outcome"].isin(("missed", "failed"))]
    large = answered[answered["residual_s"].abs() >= max_residual_s]
    checks = {  # what was found, whether it is good, where it is not, what is allowed
        "failed calls": (len(bad), not len(bad), _calls(bad), "none"),
        "missed or failed turns": (
            len(lost), len(lost) <= max_missed, _turns(lost), f"{max_missed} at most"),
        "answered turns": (
            len(answered), len(answered) >= min_turns, "", f"{min_turns} at least"),
        "largest residual (ms)": (
            round(residual * 1000, 3), residual < max_residual_s, _turns(large),
            f"below {max_residual_s * 1000:g}"),
    }  # fmt: skip
    failed = [
        f"{what}: {found} (allowed: {allowed}){where}"
        for what, (found, good, where, allowed) in checks.items()
        if not good
    ]
    if failed:
        raise CheckFailed("; ".join(failed))
    shown = {what: {"found": f"{c[0]:g}", "allowed": c[3]} for what, c in checks.items()}
    return pd.DataFrame(shown).T.rename_axis("check", axis="columns")


def _calls(calls: pd.DataFrame) -> str:
    return "".join(f", call {r.call}: {r.error}" for r in calls.head(3).itertuples())


def _turns(turns: pd.DataFrame) -> str:
    return "".join(f", call {r.call} turn {r.turn}" for r in turns.head(5).itertuples())
