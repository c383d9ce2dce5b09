"""The stacked agents: the published one answers nothing, ours answers every turn."""

import pytest

import labkit as lab
from labkit.studies import stacking
from labkit.tunnel.agentfile import builtin_agents

TECHNIQUES = (
    "endpointing", "eager_stt", "preemptive_tts", "opener", "routing", "short_turns", "cache",
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> lab.Results:
    arms = {
        "defaults": lab.Arm("vanilla"),
        "none": stacking.stack([]),
        "everything": stacking.stack(TECHNIQUES),
        "published": lab.Arm("stacked-as-published"),
        "repaired": lab.Arm("stacked-as-published", {"agent.repaired": True}),
        "misspelt": stacking.stack(["cash"]),
    }
    return lab.sweep(
        lab.Experiment(arms, settings={"caller.persona": "fluent"}, calls=2, turns=4, seed=7),
        workers=2,
    )


def test_no_technique_is_the_defaults(results: lab.Results) -> None:
    one, other = (results.arms[a].turns["response_latency_s"] for a in ("defaults", "none"))
    assert one.tolist() == pytest.approx(other.tolist(), abs=1e-6)


def test_the_published_stack_answers_nothing(results: lab.Results) -> None:
    published = results.arms["published"].turns
    assert set(published["outcome"]) == {"failed"}
    (trouble,) = results.part(arm="published").troubles.to_dict("records")
    assert "property 'llm' of 'AsPublished' object has no setter" in trouble["error"]
    assert published["llm_calls"].sum() > 0  # and the model is paid for it


def test_repaired_and_done_right_answer_every_turn(results: lab.Results) -> None:
    for arm in ("repaired", "everything"):
        turns = results.arms[arm].turns
        assert set(turns["outcome"]) == {"answered"}, arm
        assert turns["residual_s"].abs().max() < 0.005, arm


def test_a_misspelt_technique_is_an_error(results: lab.Results) -> None:
    calls = results.arms["misspelt"].calls
    assert set(calls["status"]) == {"failed"}
    assert calls["error"].str.contains("'cash' must be one of endpointing").all()


def test_both_are_built_in() -> None:
    assert {"stacked", "stacked_as_published"} <= set(builtin_agents())
    assert not [name for name in builtin_agents() if name.startswith("_")]
