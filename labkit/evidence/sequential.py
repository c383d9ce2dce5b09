"""How many calls it takes: looking at most four times, at an error rate fixed before the data.

Who looks often and stops at a good moment sees a difference where there is none more often than the
intervals say. A group-sequential design pays for each look in advance: by the spending function of
Lan and DeMets (Biometrika 70, 1983), here the linear one of Kim and DeMets (Biometrika 74, 1987),
each look gets its own, stricter level, so that over all looks 95% still means 95%. The intervals of
the look at which a run stops are repeated confidence intervals (Jennison and Turnbull, J. R. Stat.
Soc. B 51, 1989): they cover whatever the reason to stop was.

``tests/evidence/test_coverage.py`` shows the error rates by simulation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import ndtr

from labkit.engine.experiment import Experiment
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results, joined
from labkit.errors import UsageError, one_of
from labkit.evidence.compare import compare
from labkit.evidence.intervals import LEVEL
from labkit.evidence.verdict import UNDECIDED, Rules

UNTIL = ("decided", "calls")
LIMIT = 160
"""Calls of each arm after which a run stops undecided, unless another limit is set."""
_LOOKS, _FIRST = 4, 20
"""Most looks, and the fewest calls whose intervals cover what they should."""

Judge = Callable[[Results, Rules], pd.DataFrame]
"""Compares arms by rules: what :func:`labkit.evidence.compare.compare` returns."""


@dataclass(frozen=True)
class Look:
    """One look: after how many calls, and at which level of the intervals."""

    calls: int
    level: float


def looks(limit: int, level: float = LEVEL) -> list[Look]:
    """Looks at an eighth, a quarter, half and all of ``limit`` calls, none before 20 calls."""
    planned = {math.ceil(limit / 2**i) for i in range(_LOOKS)}
    calls = sorted(n for n in planned if n >= _FIRST or n == limit)
    levels = _levels(tuple(n / limit for n in calls), level)
    return [Look(n, at) for n, at in zip(calls, levels, strict=True)]


@functools.lru_cache(maxsize=64)
def _levels(fractions: tuple[float, ...], level: float) -> tuple[float, ...]:
    """The level of each look, by numerical integration over Brownian motion (Armitage 1969)."""
    found: list[float] = []
    at = np.linspace(-8, 8, 3201)
    density, before = np.array([]), 0.0
    for fraction in fractions:
        spent = (1 - level) * (fraction - before)
        scale = math.sqrt(fraction)
        if not found:
            density = np.exp(-((at / scale) ** 2) / 2) / (scale * math.sqrt(2 * math.pi))
        else:
            step = math.sqrt(fraction - before)
            reach = np.arange(-8 * step, 8 * step + 1e-12, at[1] - at[0])
            kernel = np.exp(-((reach / step) ** 2) / 2)
            density = np.convolve(density, kernel / kernel.sum(), mode="same")
        mass = density * (at[1] - at[0])
        # how much lies at least so far out, from the outermost point inwards
        outside = np.cumsum(mass[::-1])[: len(at) // 2] * 2
        edge = float(np.interp(spent, outside, at[::-1][: len(at) // 2])) - (at[1] - at[0]) / 2
        density = np.where(np.abs(at) < edge, density, 0.0)
        found.append(float(2 * ndtr(edge / scale) - 1))
        before = fraction
    return tuple(found)


def run_until(
    experiment: Experiment,
    judge: Judge,
    *,
    rules: Rules | None = None,
    until: str = "decided",
    headline: Sequence[str] = (),
    in_full: Sequence[str] = (),
    beside: int = LIMIT,
    run: Callable[[Experiment], Results] = sweep,
) -> tuple[Results, pd.DataFrame]:
    """Runs arms until gain and harm are decided, or to the experiment's number of calls.

    Args:
        experiment: What to run; its ``calls`` are the most that are made of each arm.
        judge: Compares the arms by the rules it is given.
        until: ``decided``, or ``calls`` for all calls and one look.
        headline: Rows of the comparison that are to be decided; all by default.
        in_full: Arms on which the headline rests; all by default.
        beside: The most calls of the other arms, which are shown beside those.
        run: Runs an experiment.

    Returns:
        The results of all calls that were made, and the comparison. The provenance says how many
        ``looks`` there were of how many, and ``decided``, whether they were enough.

    Raises:
        UsageError: another ``until``, no such arm, or whatever the run raises.
    """
    if until not in UNTIL:
        raise UsageError(f"until={until}: {one_of(until, UNTIL)}")
    for name in in_full:
        if name not in experiment.arms:
            raise UsageError(f"in_full={name}: {one_of(name, experiment.arms)}")
    rules = rules or Rules()
    planned = looks(experiment.calls, rules.level)
    if until == "calls":
        planned = [Look(experiment.calls, rules.level)]
    results, done = None, 0
    for look in planned:
        for part in _stretches(experiment, done, look.calls, in_full, beside):
            more = run(part)
            results = more if results is None else joined(results, more)
            if results.interrupted:
                return results, pd.DataFrame()
        done = look.calls
        assert results is not None
        table = judge(results, rules.at(look.level))
        asked = table[table["arm"].isin(headline)] if headline else table
        decided = not (asked["advice"] == UNDECIDED).any()
        if decided:
            break
    assert results is not None  # there is at least one look
    results.provenance |= {
        "until": until,
        "looks": planned.index(look) + 1,
        "of_looks": len(planned),
        "decided": decided,
    }
    return results, table


def _stretches(
    experiment: Experiment, done: int, upto: int, in_full: Sequence[str], beside: int
) -> list[Experiment]:
    """The calls from one look to the next: of all arms as long as the others take part."""
    few = max(min(beside, upto), done) if in_full else upto
    rest = {name: arm for name, arm in experiment.arms.items() if name in in_full}
    return [
        replace(experiment, arms=arms, first=experiment.first + begin, calls=end - begin)
        for arms, begin, end in ((experiment.arms, done, few), (rest, few, upto))
        if end > begin
    ]


def decide(
    experiment: Experiment,
    baseline: str,
    *,
    harm: str | None = None,
    rules: Rules | None = None,
    until: str = "decided",
    run: Callable[[Experiment], Results] = sweep,
) -> tuple[Results, pd.DataFrame]:
    """Runs an experiment until each arm's gain and harm against the baseline are decided.

    Args:
        experiment: Arms without a grid; its ``calls`` are the most that are made of each.
        baseline: Name of the arm that is compared with.
        harm: As of :func:`labkit.evidence.compare.compare`.
        until, run: As of :func:`run_until`.

    Returns:
        As of :func:`run_until`.

    Raises:
        UsageError: no such arm, or whatever the run raises.
    """
    if baseline not in experiment.arms:
        raise UsageError(f"baseline={baseline}: {one_of(baseline, experiment.arms)}")

    def judge(results: Results, by: Rules) -> pd.DataFrame:
        arms = results.arms
        return compare(arms[baseline], arms, harm=harm, rules=by)

    return run_until(experiment, judge, rules=rules, until=until, run=run)
