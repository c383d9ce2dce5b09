"""How often intervals cover the truth, and how often a verdict is wrong: by simulation.

``python tests/evidence/test_coverage.py`` prints the whole table with more repetitions.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from synthetic import KINDS, branches, draw, equal, shifted, tables, truth

from labkit.engine.experiment import Experiment
from labkit.engine.tables import Results
from labkit.evidence import intervals
from labkit.evidence.compare import compare
from labkit.evidence.sequential import looks, run_until
from labkit.evidence.verdict import FASTER, MORE, SAME, SLOWER, UNDECIDED, Rules

CALLS = (20, 40, 150)
RATES = {"rare": (1.0, 0.0), "rises": (1.0, 0.03), "doubles": (2.0, 0.05), "falls": (0.4, 0.0)}


def all_ends(before, after) -> dict[str, tuple[float, float]]:
    """Every interval that is made of latencies."""
    n, n_turns = before.shape
    owner = np.repeat(np.arange(n), n_turns)
    one, other = before.ravel(), after.ravel()
    found = {
        "mean": intervals.of_mean(other - one, owner, n),
        "level": intervals.of_mean(one, owner, n),
    }
    for p in (50, 95):
        found[f"p{p}"] = intervals.of_quantile(one, owner, n, p / 100, 0.95)
        found[f"change of p{p}"] = intervals.of_quantile_change(one, other, owner, n, p / 100, 0.95)
    return found


def coverage(kind, n_calls: int, repetitions: int, seed: int = 21) -> dict[str, float]:
    rng, covered = np.random.default_rng(seed), Counter()
    for _ in range(repetitions):
        for name, (low, high) in all_ends(*draw(rng, kind, n_calls)[:2]).items():
            covered[name] += low <= truth(kind)[name] <= high
    return {name: n / repetitions for name, n in covered.items()}


@pytest.mark.slow
@pytest.mark.parametrize("n_calls", CALLS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_intervals_cover_the_truth_as_often_as_they_say(kind, n_calls: int) -> None:
    """Nominal 95%. With 1,000 repetitions a figure is known to 1.4 points.

    A change of a quantile between arms that are nearly the same is covered more often: its interval
    knows how often a turn crosses the quantile, and that is seldom.
    """
    for name, found in coverage(kind, n_calls, 1000).items():
        most = 1.0 if name.startswith("change of p") else 0.98
        assert 0.925 <= found <= most, f"{name}: {found:.3f}"


def flags(rng, n_calls: int, times: float, more: float):
    """Harm that depends on the call, before and after: (calls, turns) of 0 and 1."""
    prone = rng.choice([0.01, 0.02, 0.05, 0.15], (n_calls, 1))
    u, w = rng.random((2, n_calls, 5))
    return (u < prone).astype(float), ((u < times * prone) | (w < more)).astype(float)


def rate_coverage(n_calls: int, name: str, repetitions: int) -> dict[str, float]:
    big = flags(np.random.default_rng(99), 300_000, *RATES[name])
    true, level = float(big[1].mean() - big[0].mean()), float(big[0].mean())
    rng, covered = np.random.default_rng(3), Counter()
    owner = np.repeat(np.arange(n_calls), 5)
    for _ in range(repetitions):
        before, after = (x.ravel() for x in flags(rng, n_calls, *RATES[name]))
        low, high = intervals.of_rate_change(after - before, owner, n_calls)
        covered["change"] += low <= true <= high
        low, high = intervals.of_rate(before, owner, n_calls)
        covered["rate"] += low <= level <= high
    return {k: n / repetitions for k, n in covered.items()}


@pytest.mark.slow
@pytest.mark.parametrize("n_calls", CALLS)
@pytest.mark.parametrize("name", [n for n in RATES if n != "rare"])
def test_intervals_of_rates_cover_the_truth(name: str, n_calls: int) -> None:
    """A score interval cannot be exact where only a few turns change; it is then too wide."""
    found = rate_coverage(n_calls, name, 800)
    assert 0.925 <= found["rate"] <= 0.98, found
    assert 0.925 <= found["change"] <= (1.0 if n_calls == 20 else 0.985), found


def dealt(kind, seed: int):
    """A stand-in for running calls: the calls of an experiment from one long table."""
    before, after = tables(np.random.default_rng(seed), kind, 160)

    def run(experiment: Experiment) -> Results:
        wanted = range(experiment.first, experiment.first + experiment.calls)
        turns = pd.concat([
            t[t["call"].isin(wanted)].assign(arm=arm)
            for arm, t in (("before", before), ("after", after))
        ])  # fmt: skip
        calls = pd.DataFrame({"arm": ["before", "after"], "call": 0, "status": "ok"})
        n = experiment.calls
        return Results(turns, calls, {"n_calls": n, "n_calls_finished": 2 * n})

    return run


def judged(results: Results, rules: Rules) -> pd.DataFrame:
    arms = results.arms
    return compare(arms["before"], {"after": arms["after"]}, rules=rules)


def verdicts(kind, repetitions: int, rules: Rules) -> tuple[Counter, list[int], int]:
    """Gains, calls that were made, and how often the interval of the last look missed the truth."""
    gains, calls, missed = Counter(), [], 0
    experiment = Experiment({"before": "vanilla", "after": "vanilla"}, calls=160)
    for seed in range(repetitions):
        results, table = run_until(experiment, judged, rules=rules, run=dealt(kind, seed))
        (row,) = table.to_dict("records")
        gains[row["gain"]] += 1
        calls.append(results.provenance["n_calls"])
        missed += not row["saving_low_s"] <= -truth(kind)["mean"] <= row["saving_high_s"]
    return gains, calls, missed


@pytest.mark.slow
def test_equal_arms_are_seldom_judged_different_however_often_one_looks() -> None:
    """Any difference counts here: with a margin of nothing, every wrong interval is a verdict."""
    n = 200
    gains, _, missed = verdicts(equal, n, Rules(worth_saving_s=1e-9, worth_p95_s=9.0))
    assert gains[FASTER] + gains[SLOWER] <= 0.05 * n + 2 * (0.05 * 0.95 * n) ** 0.5
    assert missed <= 0.05 * n + 2 * (0.05 * 0.95 * n) ** 0.5
    gains, _, _ = verdicts(equal, 40, Rules(worth_p95_s=0.4))
    assert gains[FASTER] + gains[SLOWER] == 0, "50 ms is far from no difference"


@pytest.mark.slow
def test_a_large_difference_is_decided_early_and_rightly() -> None:
    gains, calls, missed = verdicts(branches, 60, Rules())
    assert gains[SLOWER] + gains[SAME] == 0
    assert gains[FASTER] >= 0.9 * 60
    assert np.mean(calls) < 100
    assert missed <= 0.1 * 60


@pytest.mark.slow
def test_a_difference_on_the_margin_stays_undecided() -> None:
    """The truth is 50 ms and so is the margin: either verdict would be wrong half of the time."""
    gains, calls, _ = verdicts(shifted, 60, Rules(worth_saving_s=0.05))
    assert gains[UNDECIDED] >= 0.9 * 60
    assert np.mean(calls) > 145


def test_harm_is_seldom_said_to_rise_where_it_does_not() -> None:
    rng, wrong = np.random.default_rng(8), 0
    for _ in range(150):
        before, after = tables(rng, equal, 40)
        for t in (before, after):  # at the limit: it rises by 2% of turns
            t["outcome"] = np.where(rng.random(len(t)) < 0.05, "premature", "answered")
        extra = rng.random(len(after)) < 0.02 / 0.95
        after.loc[extra, "outcome"] = "premature"
        wrong += compare(before, {"after": after})["harm_verdict"].iloc[0] == MORE
    assert wrong <= 0.07 * 150


def test_looks_are_at_most_four_and_spend_five_percent() -> None:
    planned = looks(160)
    assert [look.calls for look in planned] == [20, 40, 80, 160]
    assert [look.calls for look in looks(40)] == [20, 40]
    for few in (1, 2, 12):
        assert [look.calls for look in looks(few)] == [few]
    assert looks(12)[0].level == pytest.approx(0.95, abs=1e-4)
    rng = np.random.default_rng(0)
    at = np.array([look.calls for look in planned]) / 160
    steps = rng.normal(size=(200_000, 4)) * np.sqrt(np.diff(at, prepend=0))
    edges = [intervals.z_of(look.level) for look in planned]
    crossed = np.abs(steps.cumsum(axis=1) / np.sqrt(at)) > edges
    spent = [crossed[:, : k + 1].any(axis=1).mean() for k in range(4)]
    assert spent == pytest.approx([0.05 * f for f in at], abs=0.0015)


def test_several_equal_arms_are_no_more_often_judged_different_than_one() -> None:
    """Six arms of noise: some interval misses zero in 5% of tables, not in 26%."""
    rng, wrong, alone = np.random.default_rng(4), 0, 0
    n, owner = 40, np.repeat(np.arange(40), 5)
    for _ in range(200):
        arms = rng.normal(0, 1, (6, 200))
        offs = np.array([intervals.sums(a, owner, n)[1] for a in arms])
        level = intervals.simultaneous(offs)
        ends = [intervals.of_mean(a, owner, n, level) for a in arms]
        wrong += any(low > 0 or high < 0 for low, high in ends)
        plain = [intervals.of_mean(a, owner, n) for a in arms]
        alone += any(low > 0 or high < 0 for low, high in plain)
    assert wrong <= 0.08 * 200 < 0.15 * 200 <= alone


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    rows = [
        {"kind": kind.__name__, "calls": n, **coverage(kind, n, repetitions)}
        for kind in KINDS for n in CALLS
    ]  # fmt: skip
    rates = [
        {"kind": name, "calls": n, **rate_coverage(n, name, repetitions)}
        for name in RATES for n in CALLS
    ]  # fmt: skip
    for found in (rows, rates):
        print(pd.DataFrame(found).set_index(["kind", "calls"]).round(3).to_string())
