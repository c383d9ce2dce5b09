"""Policies that end a turn, and what each would have done at marked silences.

A policy has a threshold, an action delay and a timeout. At each silence it acts once the silence
has lasted the action delay and the score is at or over the threshold, or when the silence reaches
the timeout. Acting in a silence after which the caller goes on is a *false cut-off*. Only mid-turn
silences of 0.2 to 5 s count. *Latency* is the mean wait at true ends. Silence alone is the policy
that only has a timeout. This is the definition of github.com/livekit/eot-bench (2026), whose sweep
and choice within a budget are followed too; no code of it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from labkit.errors import UsageError
from labkit.evidence import intervals
from labkit.evidence.intervals import Array
from labkit.evidence.statistics import NOTHING, SPEAKER, Estimate, mean

SHORTEST_S, LONGEST_S = 0.2, 5.0
"""Mid-turn silences that count."""
SCORED_S = 0.2
"""How much silence is heard before the detector is asked."""
THRESHOLDS = tuple(np.round(np.arange(0, 1.005, 0.01), 2).tolist())
ACTION_DELAYS_S = tuple(np.round(np.arange(0.2, 1.05, 0.1), 1).tolist())
TIMEOUTS_S = tuple(np.round(np.arange(1.0, 3.55, 0.5), 1).tolist())
SILENCES_S = tuple(np.round(np.arange(0.2, 5.005, 0.01), 2).tolist())
"""Timeouts of silence alone, which is swept more finely."""
KNOBS = ("threshold", "action_delay_s", "timeout_s")
OUTCOMES = ("false_cutoffs", "latency_s", "ends_detected")
_EPS = 1e-9


class Silence(NamedTuple):
    """One marked silence; a table of silences has these columns, among others."""

    call: int
    turn: int  # in the call
    voice: str  # the speaker's
    length_s: float  # until the caller goes on; infinite at an end
    is_end: bool
    score: float  # the detector's, of a finished turn, 0 to 1; NaN where it was not asked


class Policy(NamedTuple):
    """When to act; a threshold that no score reaches leaves the timeout alone."""

    threshold: float
    action_delay_s: float
    timeout_s: float


class Outcome(NamedTuple):
    """What a policy did; NaN where there was no such silence."""

    false_cutoffs: float  # proportion of mid-turn silences
    latency_s: float  # mean wait at true ends
    ends_detected: float  # proportion of true ends at which the score let it act by the timeout


def alone(timeout_s: float) -> Policy:
    """Silence alone, of this length."""
    return Policy(np.inf, timeout_s, timeout_s)


def counted(silences: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mid-turn silences that count, and the ends."""
    length_s = silences["length_s"]
    long_enough = (length_s >= SHORTEST_S - _EPS) & (length_s <= LONGEST_S + _EPS)
    is_end = silences["is_end"].astype(bool)
    return silences[~is_end & long_enough], silences[is_end]


def policy(
    silences: pd.DataFrame, threshold: float, action_delay_s: float, timeout_s: float
) -> Outcome:
    """What a policy would have done.

    Args:
        silences: A table with the columns of :class:`Silence`.
        threshold: Score from which the turn counts as finished, 0 to 1.
        action_delay_s: How long the silence must have lasted then.
        timeout_s: After which the policy acts whatever the score; not shorter than the delay.

    Raises:
        UsageError: the policy is not possible.
    """
    decided = decisions(silences, Policy(threshold, action_delay_s, timeout_s))
    return Outcome(*(float(decided[name].mean()) for name in OUTCOMES))


def decisions(silences: pd.DataFrame, knobs: Policy) -> pd.DataFrame:
    """What a policy does at each silence that counts: a column for each of :data:`OUTCOMES`.

    ``false_cutoffs`` is 0 or 1 at mid-turn silences and NaN at ends; ``latency_s`` and
    ``ends_detected`` the other way round.
    """
    _possible(knobs)
    pauses, ends = counted(silences)
    length_s = pauses["length_s"]
    sure = pauses["score"] >= knobs.threshold
    acts = (sure & (length_s > knobs.action_delay_s + _EPS)) | (length_s > knobs.timeout_s + _EPS)
    detected = ends["score"] >= knobs.threshold
    return pd.concat([
        pauses.assign(false_cutoffs=acts.astype(float), latency_s=np.nan, ends_detected=np.nan),
        ends.assign(false_cutoffs=np.nan,
                    latency_s=np.where(detected, knobs.action_delay_s, knobs.timeout_s),
                    ends_detected=detected.astype(float)),
    ])  # fmt: skip


def _possible(knobs: Policy) -> None:
    if np.isnan(knobs).any() or knobs.action_delay_s < SCORED_S - _EPS:
        raise UsageError(
            f"a policy needs a threshold, and acts after {SCORED_S} s of silence at the earliest, "
            f"when the detector is asked; given were {tuple(knobs)}"
        )
    if knobs.timeout_s < knobs.action_delay_s - _EPS:
        raise UsageError(
            f"timeout {knobs.timeout_s:g} s is shorter than the action delay "
            f"{knobs.action_delay_s:g} s"
        )


def sweep(
    silences: pd.DataFrame,
    thresholds: Sequence[float] = THRESHOLDS,
    action_delays_s: Sequence[float] = ACTION_DELAYS_S,
    timeouts_s: Sequence[float] = TIMEOUTS_S,
) -> pd.DataFrame:
    """Every policy of a grid but those whose timeout is shorter than their action delay.

    Returns:
        One row per policy: its three knobs, and the three :data:`OUTCOMES`.

    Raises:
        UsageError: the grid holds no policy, or an impossible one.
    """
    pairs = [(a, t) for a in action_delays_s for t in timeouts_s if t >= a - _EPS]
    if not pairs or not len(thresholds):
        raise UsageError("no timeout of the grid is as long as one of its action delays")
    for threshold in thresholds:
        _possible(Policy(threshold, min(a for a, _ in pairs), max(t for _, t in pairs)))
    pauses, ends = counted(silences)
    at = np.asarray(thresholds, dtype=float)[:, None]
    delays_s, limits_s = np.array(pairs).T
    length_s = pauses["length_s"].to_numpy(dtype=float)[:, None]
    timed_out = length_s > limits_s + _EPS
    in_time = (length_s > delays_s + _EPS) & ~timed_out
    sure = (_scores(pauses) >= at).astype(float)
    detected = _mean((_scores(ends) >= at).T)[:, None]
    found = {
        "false_cutoffs": _mean(timed_out) + (sure @ in_time) / max(len(pauses), 1),
        "latency_s": detected * delays_s + (1 - detected) * limits_s,
        "ends_detected": detected + 0 * limits_s,
    }
    knobs = {
        "threshold": np.repeat(at, len(pairs)),
        "action_delay_s": np.tile(delays_s, len(at)),
        "timeout_s": np.tile(limits_s, len(at)),
    }
    return pd.DataFrame(knobs | {name: value.ravel() for name, value in found.items()})


def sweep_silence(silences: pd.DataFrame, timeouts_s: Sequence[float] = SILENCES_S) -> pd.DataFrame:
    """The same of silence alone, which detects nothing: all it does is wait."""
    length_s = counted(silences)[0]["length_s"].to_numpy(dtype=float)[:, None]
    waits_s = np.asarray(timeouts_s, dtype=float)
    return pd.DataFrame({
        "threshold": np.inf, "action_delay_s": waits_s, "timeout_s": waits_s,
        "false_cutoffs": _mean(length_s > waits_s + _EPS), "latency_s": waits_s,
        "ends_detected": 0.0,
    })  # fmt: skip


def best(
    swept: pd.DataFrame, *, latency_s: float | None = None, false_cutoffs: float | None = None
) -> pd.Series | None:
    """The best policy of a sweep within one budget.

    Args:
        swept: What :func:`sweep` or :func:`sweep_silence` returned.
        latency_s: Longest latency allowed; the policy with the fewest cut-offs is chosen.
        false_cutoffs: Most cut-offs allowed, 0 to 1; the policy with the shortest latency is.

    Returns:
        Its row, or None if no policy keeps within the budget.

    Raises:
        UsageError: not exactly one budget is given.
    """
    given = {"latency_s": latency_s, "false_cutoffs": false_cutoffs}
    limits = {name: value for name, value in given.items() if value is not None}
    if len(limits) != 1:
        raise UsageError("best() takes one budget: of latency_s, or of false_cutoffs")
    ((budget, limit),) = limits.items()
    wanted = next(name for name in given if name != budget)
    within = swept[swept[budget] <= limit + _EPS]
    if not len(within):
        return None
    order = [wanted, budget, *KNOBS]
    return within.sort_values(order, ascending=[True, True, False, True, True]).iloc[0]


def frontier(swept: pd.DataFrame) -> pd.DataFrame:
    """The policies of a sweep that no other beats in both, by rising latency."""
    ordered = swept.sort_values(["latency_s", "false_cutoffs"], kind="stable")
    least = ordered["false_cutoffs"].cummin()
    return ordered[least < least.shift(fill_value=np.inf) - _EPS].reset_index(drop=True)


def estimates(silences: pd.DataFrame, knobs: Policy, by: str = "turn") -> dict[str, Estimate]:
    """The outcome of a policy with 95% CI, by the name of the outcome.

    Args:
        by: What the intervals count: ``turn``, or ``voice`` for speakers.
    """
    decided = decisions(silences, knobs)
    if by != SPEAKER:
        decided["turn"] = decided.groupby(["call", "turn"]).ngroup()
    found = {"latency_s": mean(decided, "latency_s", by=by)}
    for name in ("false_cutoffs", "ends_detected"):
        found[name] = _rate(decided.dropna(subset=name), name, by)
    return found


def auc(ends: pd.Series, pauses: pd.Series) -> float:
    """The chance that an end's score is above a pause's: one half is guessing; ties count half."""
    ends, pauses = ends.dropna(), pauses.dropna()
    n_pairs = len(ends) * len(pauses)
    ranks = pd.concat([ends, pauses]).rank().iloc[: len(ends)].sum()
    above = float(ranks) - len(ends) * (len(ends) + 1) / 2
    return above / n_pairs if n_pairs else float("nan")


def _rate(decided: pd.DataFrame, name: str, by: str) -> Estimate:
    if not len(decided):
        return NOTHING
    happened = decided[name].to_numpy(dtype=float)
    owner, names = pd.factorize(decided[by])
    ends = intervals.of_rate(happened, np.asarray(owner), len(names))
    return Estimate(float(happened.mean()), *ends, len(happened), len(names))


def _scores(silences: pd.DataFrame) -> Array:
    return silences["score"].to_numpy(dtype=float)


def _mean(happened: Array) -> Array:
    """The proportion in each column; NaN of nothing."""
    return happened.mean(axis=0) if len(happened) else np.full(happened.shape[1], np.nan)
