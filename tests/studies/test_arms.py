"""What the first studies run and compare: arms that can run, and the pairs that are meant."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest
from handmade import make_turns

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.tables import Results
from labkit.evidence.verdict import Rules
from labkit.studies import (
    anatomy,
    evaluation,
    prebuffer,
    preemption,
    prefetch,
    prefix_cache,
    routing,
    streaming,
)

RULES = Rules()
ARMS: dict[str, Mapping[str, str | Arm]] = {
    "preemption": preemption.arms(0.4),
    "preemption, swept": preemption.swept(0.4),
    "streaming": streaming.arms(4),
    "prefix cache": prefix_cache.arms(1500, 8000) | prefix_cache.probes(8000),
    "prefix cache, published": prefix_cache.published(),
    "prefix cache, swept": prefix_cache.swept(),
    "routing": routing.arms(),
    "prefetch": prefetch.arms(),
    "prebuffer": prebuffer.arms(3.0),
    "evaluation": evaluation.arms(0.3),
    "guardrails": evaluation.guards(),
}


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_can_be_run(name: str) -> None:
    points = Experiment(ARMS[name], calls=1, turns=1).runs()
    assert [point.arm for point in points] == list(ARMS[name])


def of_arms(**faster_s: float) -> pd.DataFrame:
    """Turns of arms, each so much faster than the turns of the zoo."""
    return pd.concat(
        [make_turns(faster_s=s).assign(arm=name) for name, s in faster_s.items()],
        ignore_index=True,
    )


def as_run(turns: pd.DataFrame) -> Results:
    calls = turns[["arm", "call"]].drop_duplicates().assign(status="ok", error="")
    return Results(turns, calls, {})


def saved(comparison: pd.DataFrame) -> dict[str, float]:
    return {row.arm: round(row.saving_s, 6) for row in comparison.itertuples()}


def test_each_stt_is_compared_with_itself() -> None:
    names = {"off": 0.0, "default": 0.1, "Flux, off": 0.2, "Flux, eager": 0.25}
    main = as_run(of_arms(**names))
    assert saved(preemption.compared(main, RULES)) == {"default": 0.1, "Flux, eager": 0.05}


def test_streaming_is_compared_with_a_buffer_and_all_else_with_the_default() -> None:
    turns = of_arms(buffered=0.0, default=0.3, opener=0.4).assign(reply_gap_s=0.1, reply_right=1)
    assert saved(streaming.judge(0.5)(as_run(turns), RULES)) == {"default": 0.3, "opener": 0.1}


def test_routing_saves_on_easy_turns_and_harms_on_all() -> None:
    names = {routing.LARGE: 0.0, routing.IN_NODE: 0.2}
    turns = of_arms(**names).assign(heavy=lambda t: t["turn"] == 3, harmed=lambda t: t["heavy"])
    turns["harmed"] &= turns["arm"] == routing.IN_NODE
    row = routing.compared(turns, RULES).iloc[0]
    assert row["p95_s"] == pytest.approx(1.15 + 0.2 - 0.2), "the slowest turns are hard ones"
    assert row["harm"] == pytest.approx(0.25)


def test_a_look_up_is_compared_where_the_baseline_looked_something_up() -> None:
    """Only turn 1 of each call did; the interim is compared with the hook, too."""
    turns = of_arms(none=0.0, hook=0.1, interim=0.25).assign(
        dialogue="d", turn_id=lambda t: t["turn"], reply_right=1.0,
        agent_tool=lambda t: t["turn"].map({1: "status"}),
    )  # fmt: skip
    found = prefetch.judge(as_run(turns), RULES)
    assert saved(found) == {"hook": 0.1, "interim": 0.25, prefetch.BEYOND: 0.15}
    assert found["n_turns"].tolist() == [10, 10, 10]


def test_guardrails_are_compared_with_a_check_of_the_whole_reply() -> None:
    turns = of_arms(whole=0.0, sentence=0.3, early=0.4, parallel=0.5)
    turns = turns.assign(at_reply_over_s=turns["at_reply_heard_s"] + 2.0, replied="well then")
    found = saved(evaluation.guards_compared(as_run(turns), RULES))
    assert found == {"sentence": 0.3, "early": 0.4, "parallel": 0.5}


def test_a_judge_is_compared_with_a_judge_and_spans_with_spans() -> None:
    turns = of_arms(**{"no judge": 0.0, "inline judge": -0.3, evaluation.BACKGROUND: 0.0,
                       "spans, batch": 0.0, "spans, simple": -0.5})  # fmt: skip
    found = saved(evaluation.compared(as_run(turns), RULES))
    assert found == {evaluation.BACKGROUND: 0.3, "no judge": 0.3, "spans, batch": 0.5}


def test_a_cache_entry_lives_exactly_as_long_as_the_place_says() -> None:
    (place,) = prefix_cache.lifetimes([8.0])
    assert set(place.values()) == {8.0} and len(place) == 2
    assert Experiment(prefix_cache.stable(), points=[place], calls=1).runs()


def test_the_chart_of_commits_has_a_point_per_known_turn() -> None:
    turns = make_turns()
    turns.loc[0, "sdk_end_of_turn_delay_s"] = float("nan")
    chart = anatomy.commit_modes({"default": turns, "probe": make_turns()})
    assert chart.data.groupby("arm").size().to_dict() == {"default": 39, "probe": 40}
