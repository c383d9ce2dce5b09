"""Which arms a run until decided goes on with."""

from __future__ import annotations

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence.sequential import run_until
from labkit.evidence.verdict import Rules

ARMS = {"before": "vanilla", "after": "vanilla", "beside": "vanilla"}


class Runs:
    """A stand-in for the engine, which remembers what was run."""

    def __init__(self) -> None:
        self.calls: dict[str, list[int]] = {name: [] for name in ARMS}

    def __call__(self, part: Experiment) -> Results:
        rows = []
        for arm in part.arms:
            made = range(part.first, part.first + part.calls)
            self.calls[arm] += made
            rows += [{"arm": arm, "call": call, "turn": 0, "status": "ok"} for call in made]
        table = pd.DataFrame(rows)
        counts = {"n_calls": part.calls, "n_calls_finished": len(rows)}
        return Results(table, table.drop(columns="turn"), counts)


def until(n_calls: int):
    """A judge to whom the headline is decided once so many calls of it were made."""

    def judge(results: Results, rules: Rules) -> pd.DataFrame:
        decided = (results.calls["arm"] == "after").sum() >= n_calls
        advice = ["adopt" if decided else "undecided", "undecided"]
        return pd.DataFrame({"arm": ["after", "beside"], "advice": advice})

    return judge


@pytest.mark.parametrize("beside", [5, 20, 30])
def test_arms_beside_the_headline_make_fewer_calls(beside: int) -> None:
    runs = Runs()
    results, _ = run_until(
        Experiment(ARMS, calls=80, first=7), until(40), headline=["after"],
        in_full=["before", "after"], beside=beside, run=runs,
    )  # fmt: skip
    for name, n in (("before", 40), ("after", 40), ("beside", beside)):
        assert runs.calls[name] == list(range(7, 7 + n)), name
    assert len(results.calls) == 80 + beside
    assert results.provenance["n_calls"] == 40 and results.provenance["decided"]


def test_all_arms_make_all_calls_unless_it_is_said_which_are_needed() -> None:
    runs = Runs()
    run_until(Experiment(ARMS, calls=80), until(80), headline=["after"], beside=5, run=runs)
    assert [len(calls) for calls in runs.calls.values()] == [80, 80, 80]


def test_an_arm_that_is_not_there_cannot_be_needed() -> None:
    with pytest.raises(UsageError, match="in_full=befor: "):
        run_until(Experiment(ARMS), until(1), in_full=["befor"], run=Runs())
