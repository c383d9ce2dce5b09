"""What the study of stacked savings computes, on hand-made turns."""

import pandas as pd
import pytest

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.evidence.verdict import Rules
from labkit.studies import stacking


def turns(latency_s: float, n: int = 6, arm: str = "a") -> pd.DataFrame:
    rows = [
        {"arm": arm, "call": i, "turn": 0, "outcome": "answered", "response_latency_s": latency_s}
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def test_arms_name_their_techniques() -> None:
    assert stacking.stack([]).settings == {"agent.techniques": "none"}
    off = {"preemptive.enabled": False}
    assert stacking.singles(["a"], **off) == {
        "defaults": Arm("vanilla", off),
        "a": Arm("stacked", {"agent.techniques": "a", **off}),
    }
    assert list(stacking.alone("a")) == [
        "defaults", "as published", "as published, repaired", "a",
    ]  # fmt: skip
    arms = stacking.combinations("abc")
    assert arms.pop("defaults") == Arm("vanilla")
    assert {k: v.settings["agent.techniques"] for k, v in arms.items()} == {
        stacking.ALL: "a+b+c", "without a": "b+c", "without b": "a+c", "without c": "a+b",
    }  # fmt: skip
    for few in ([], ["a"]):
        assert list(stacking.combinations(few)) == ["defaults", stacking.ALL]
    assert list(stacking.pairs("abc")) == ["defaults", *"abc", "a+b", "a+c", "b+c"]


def test_adopted_is_good_somewhere_and_bad_nowhere() -> None:
    at_p95 = pd.DataFrame({"arm": list("abcd"), "verdict": ["adopt", "adopt", "reject", "reject"]})
    same = "no practical difference"
    at_p50 = pd.DataFrame({"arm": list("abcd"), "verdict": [same, "reject", "adopt", same]})
    assert stacking.adopted("abcd", [at_p95, at_p50]) == ["a"]


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


def test_the_promise_is_compared_with_the_defaults() -> None:
    row = {"saving_p95_s": 0.5, "saving_p95_low_s": 0.4, "saving_p95_high_s": 0.6,
           "harm_low": 0.01, "harm_high": 0.03, "baseline_harm_rate": 0.02}  # fmt: skip
    together = pd.DataFrame([{"arm": stacking.ALL, **row}, {"arm": "without b", **row}])
    text = stacking.read_promises(together, stacking.ALL, ["a", "b"])
    assert text == (
        "**all adopted** is at p95 at least as fast as the plain defaults: it saves 500 ms "
        "[400–600]. It harms significantly more turns than they do (2.0% there; a change of +1.0 "
        "to +3.0 points).\n\nTo recommend: **a, b**."
    )


def test_short_turns_and_the_others_are_drawn_apart() -> None:
    table = turns(1.0, n=4).assign(
        kind=["acknowledgement", "question"] * 2, response_latency_s=[0.3, 1.0, 0.3, 1.0],
        harmed=[0.0, 0.0, 0.0, 1.0],
    )  # fmt: skip
    claim = Claim("The guide", 0.0, 0.4, quantity="level")
    ax, rows = stacking.short_turns({"a": table}, claim)
    assert rows["p50_s"].tolist() == [0.3, 1.0] and rows["harm"].tolist() == [0.0, 0.5]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["a: short, 0.0% harmed", "a: other, 50.0% harmed"]
