"""What the study of stacked savings computes, on hand-made turns."""

import pandas as pd
import pytest

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence.claims import Claim
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
    arms = stacking.tried("abc")
    assert arms.pop("defaults") == Arm("vanilla")
    published = [arms.pop(name) for name in ("as published", "as published, repaired")]
    assert [arm.agent for arm in published] == ["stacked-as-published"] * 2
    assert {k: v.settings["agent.techniques"] for k, v in arms.items()} == {
        "a": "a", "b": "b", "c": "c", stacking.ALL: "a+b+c",
        "without a": "b+c", "without b": "a+c", "without c": "a+b",
    }  # fmt: skip
    assert "without a" not in stacking.tried("a")
    fresh = stacking.fresh("abc", ["b"])
    assert list(fresh) == ["defaults", stacking.ALL, stacking.CHOSEN]
    assert fresh[stacking.CHOSEN] == stacking.stack(["b"])
    assert list(stacking.pairs("abc")) == ["defaults", *"abc", "a+b", "a+c", "b+c"]


def test_wrong_and_missing_replies_are_harm() -> None:
    table = turns(1.0, n=3).assign(
        reply_right=[1.0, 0.0, float("nan")], outcome=["answered", "answered", "missed"]
    )
    found = stacking.judged(Results(table, table[["arm", "call"]]))["a"]
    assert found["wrong"].tolist() == [0.0, 1.0, 0.0]
    assert found["harmed"].tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("savings", "harms", "found"),
    [
        ((0.7, 0.1, 0.5, 0.3, 0.4), "wwwww", ["a", "b"]),
        ((0.7, 0.1, 0.5, 0.3, 0.4), "mwwww", ["a"]),  # without b
        ((0.7, 0.1, 0.5, 0.3, 0.4), "mwmwu", ["b"]),  # b alone, undecided harm may be confirmed
        ((0.7, 0.1, 0.5, 0.3, 0.4), "mmmmm", []),
        ((-0.1, -0.2, -0.3, -0.1, -0.2), "wwwww", []),
    ],
)
def test_the_fastest_stack_that_harms_no_more_is_chosen(savings, harms, found) -> None:
    words = {"w": "within the limit", "m": "more", "u": "undecided"}
    table = pd.DataFrame({
        "arm": [stacking.ALL, "without a", "without b", "a", "b"],
        "saving_s": savings, "harm_verdict": [words[h] for h in harms],
    })  # fmt: skip
    published = pd.DataFrame([{"arm": "as published", "saving_s": 9.0, "harm_verdict": "more"}])
    assert stacking.chosen(pd.concat([table, published]), ["a", "b"]) == found
    assert stacking.strongest(table, ["a", "b"], 1) == ["b" if savings[4] > savings[3] else "a"]
    assert stacking.stacks_only(table)["arm"].tolist() == [stacking.ALL, "without a", "without b"]


def test_what_was_chosen_speaks_by_its_fresh_calls() -> None:
    base = turns(1.2, n=40, arm="defaults").assign(reply_right=1.0)
    both = pd.concat([base, base.assign(arm=stacking.ALL, response_latency_s=1.0)])
    results = Results(both, both[["arm", "call"]])
    confirmed = stacking.compared(results, Rules(max_harm=0.1))
    text = stacking.read_confirmed(confirmed)
    assert text.startswith("**all together**: adopt. It saves 200 ms [200–200] per turn, 200 ms")
    assert "(0.0% of turns are harmed by the defaults, 0.0% here)" in text
    claim = Claim("The guide", 0.5, 0.65, quantity="level")
    rows = stacking.verdict_rows(confirmed, confirmed, stacking.judged(results), claim)
    assert rows["arm"].tolist() == [stacking.LEVEL, stacking.ALL]
    assert rows["claim_outcome"].iloc[0] == "slower than claimed"


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
