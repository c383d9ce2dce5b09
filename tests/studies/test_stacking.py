"""What the study of stacked savings computes, on hand-made turns."""

import pandas as pd
import pytest

from labkit.engine.tables import Results
from labkit.evidence.compare import compare
from labkit.evidence.verdict import Rules
from labkit.studies import stacking

PARTS = {
    "transcript_s": 0.3, "commit_s": 0.5, "hook_s": 0.0, "llm_s": 0.6, "sentence_s": 0.2,
    "voice_s": 0.2, "rest_s": 0.3,
}  # fmt: skip


def parts(n: int = 6, **change: float) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples([(i, 0) for i in range(n)], names=["call", "turn"])
    return pd.DataFrame([{**PARTS, **change}] * n, index=index)


def turns(latency_s: float, n: int = 6, arm: str = "a") -> pd.DataFrame:
    rows = [
        {"arm": arm, "call": i, "turn": 0, "outcome": "answered", "response_latency_s": latency_s}
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def test_arms_name_their_techniques() -> None:
    assert stacking.stack([]).settings == {"agent.techniques": "none"}
    assert stacking.singles(["a"], **{"preemptive.enabled": False})["a"].settings == {
        "agent.techniques": "a",
        "preemptive.enabled": False,
    }
    arms = {k: v.settings["agent.techniques"] for k, v in stacking.combinations("abc").items()}
    assert arms == {
        stacking.ALL: "a+b+c", "without a": "b+c", "without b": "a+c", "without c": "a+b",
    }  # fmt: skip
    assert list(stacking.combinations([])) == list(stacking.combinations("a")) == [stacking.ALL]
    assert list(stacking.pairs("abc")) == ["a+b", "a+c", "b+c"]


def test_adopted_is_good_somewhere_and_bad_nowhere() -> None:
    at_p95 = pd.DataFrame({"arm": list("abcd"), "verdict": ["adopt", "adopt", "reject", "reject"]})
    same = "no practical difference"
    at_p50 = pd.DataFrame({"arm": list("abcd"), "verdict": [same, "reject", "adopt", same]})
    assert stacking.adopted(at_p95, at_p50) == ["a"]


def test_savings_on_the_same_branch_are_not_counted_twice() -> None:
    """Model and sentence take 0.8 s from the transcript at 0.3 s; the commit comes at 0.5 s."""
    one, other = parts(llm_s=0.3), parts(sentence_s=0.0)
    found = stacking.additivity(
        turns(1.6),
        {"quick": turns(1.3), "short": turns(1.4)},
        turns(1.1),
        parts(),
        {"quick": one, "short": other},
        stacked=["quick", "short"],
    ).set_index("arm")
    assert found.loc["quick", ["measured_s", "predicted_s"]].tolist() == pytest.approx([0.3, 0.3])
    assert found.loc["short", ["measured_s", "predicted_s"]].tolist() == pytest.approx([0.2, 0.2])
    assert found.loc[stacking.SUM, "predicted_s"] == pytest.approx(0.5)
    assert found.loc[stacking.ALL, "predicted_s"] == pytest.approx(0.5)
    later = parts(commit_s=1.0)  # now the commit is what is waited for
    found = stacking.additivity(
        turns(1.6),
        {"quick": turns(1.5), "short": turns(1.5)},
        turns(1.5),
        later,
        {"quick": parts(llm_s=0.3, commit_s=1.0), "short": parts(sentence_s=0.0, commit_s=1.0)},
        stacked=["quick", "short"],
    ).set_index("arm")
    assert found.loc[stacking.SUM, "predicted_s"] == pytest.approx(0.2)
    assert found.loc[stacking.ALL, "predicted_s"] == pytest.approx(0.1)
    assert found.loc[stacking.SUM, "measured_s"] == pytest.approx(0.2)
    assert found.loc[stacking.ALL, "measured_s"] == pytest.approx(0.1)


def test_an_empty_stack_saves_nothing() -> None:
    found = stacking.additivity(
        turns(1.6), {"quick": turns(1.3)}, turns(1.6), parts(), {"quick": parts(llm_s=0.3)},
        stacked=[],
    ).set_index("arm")  # fmt: skip
    assert found.loc[stacking.SUM, "measured_s"] == found.loc[stacking.ALL, "predicted_s"] == 0.0


def test_interactions_are_what_a_pair_saves_beyond_its_members() -> None:
    table = pd.concat(
        [
            turns(2.0, arm="defaults"),
            turns(1.7, arm="a"),
            turns(1.8, arm="b"),
            turns(1.6, arm="a+b"),
        ]
    )
    (row,) = stacking.interactions(table, "defaults", ["a", "b"]).to_dict("records")
    assert (row["first"], row["second"]) == ("a", "b")
    assert row["interaction_s"] == pytest.approx(-0.1)  # 0.4 together, 0.3 and 0.2 alone


def test_wrong_and_missing_replies_are_harm() -> None:
    table = turns(1.0, n=3).assign(
        reply_right=[1.0, 0.0, float("nan")], outcome=["answered", "answered", "missed"]
    )
    found = stacking.judged(Results(table, table[["arm", "call"]]))["a"]
    assert found["wrong"].tolist() == [0.0, 1.0, 0.0]
    assert found["harmed"].tolist() == [0.0, 1.0, 1.0]


def test_the_mean_speaks_for_what_acts_on_a_fifth_of_the_turns() -> None:
    def arm(slow_s: float) -> pd.DataFrame:
        rows = [
            {"arm": "a", "call": i, "turn": k, "outcome": "answered",
             "response_latency_s": slow_s if k == 0 else 1.0}
            for i in range(20) for k in range(5)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    found = {
        q: compare(arm(3.0), {"b": arm(2.0)}, q=q, rules=Rules(0.05, 0.5))["verdict"].tolist()
        for q in (0.5, None)
    }
    assert found == {0.5: ["no practical difference"], None: ["adopt"]}


@pytest.mark.parametrize(
    ("harm_low", "arm", "techniques"),
    [
        ([0.0, 0.01, 0.01], stacking.ALL, ["a", "b"]),
        ([0.01, -0.01, 0.0], "without b", ["a"]),
        ([0.01, -0.01, 0.01], "without a", ["b"]),
        ([0.01, 0.01, 0.01], stacking.DEFAULTS, []),
    ],
)
def test_a_stack_that_harms_gives_up_a_technique(
    harm_low: list[float], arm: str, techniques: list[str]
) -> None:
    together = pd.DataFrame(
        {
            "arm": [stacking.ALL, "without a", "without b"],
            "saving_p95_s": [0.7, 0.1, 0.5],
            "harm_low": harm_low,
        }
    )
    assert stacking.kept(together, ["a", "b"]) == (arm, techniques)
