"""Whether savings add up, on hand-made turns."""

from __future__ import annotations

import pandas as pd
import pytest

from labkit.evidence.additivity import ALL, SUM, additivity, interactions
from labkit.report.pairs import pair_matrix

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


def test_savings_on_the_same_branch_are_not_counted_twice() -> None:
    """Model and sentence take 0.8 s from the transcript at 0.3 s; the commit comes at 0.5 s."""
    one, other = parts(llm_s=0.3), parts(sentence_s=0.0)
    rows = additivity(
        "defaults",
        {"defaults": turns(1.6), "quick": turns(1.3), "short": turns(1.4)},
        turns(1.1),
        {"defaults": parts(), "quick": one, "short": other},
        ["quick", "short"],
    ).set_index("arm")
    assert rows.loc["quick", ["measured_s", "predicted_s"]].tolist() == pytest.approx([0.3, 0.3])
    assert rows.loc["short", ["measured_s", "predicted_s"]].tolist() == pytest.approx([0.2, 0.2])
    assert rows.loc[SUM, "predicted_s"] == pytest.approx(0.5)
    assert rows.loc[ALL, "predicted_s"] == pytest.approx(0.5)
    later = parts(commit_s=1.0)  # now the commit is what is waited for
    quick, short = parts(llm_s=0.3, commit_s=1.0), parts(sentence_s=0.0, commit_s=1.0)
    rows = additivity(
        "defaults",
        {"defaults": turns(1.6), "quick": turns(1.5), "short": turns(1.5)},
        turns(1.5),
        {"defaults": later, "quick": quick, "short": short},
        ["quick", "short"],
    ).set_index("arm")
    assert rows.loc[SUM, "predicted_s"] == pytest.approx(0.2)
    assert rows.loc[ALL, "predicted_s"] == pytest.approx(0.1)
    assert rows.loc[SUM, "measured_s"] == pytest.approx(0.2)
    assert rows.loc[ALL, "measured_s"] == pytest.approx(0.1)


def test_an_empty_stack_saves_nothing() -> None:
    alone = {"defaults": turns(1.6), "quick": turns(1.3)}
    of = {"defaults": parts(), "quick": parts(llm_s=0.3)}
    rows = additivity("defaults", alone, turns(1.6), of, []).set_index("arm")
    assert rows.loc[SUM, "measured_s"] == rows.loc[ALL, "predicted_s"] == 0.0


def test_interactions_are_what_a_pair_saves_beyond_its_members() -> None:
    table = pd.concat(
        [
            turns(2.0, arm="defaults"),
            turns(1.7, arm="a"),
            turns(1.8, arm="b"),
            turns(1.6, arm="a+b"),
        ]
    )
    (row,) = interactions(table, "defaults", ["a", "b"]).to_dict("records")
    assert (row["first"], row["second"]) == ("a", "b")
    assert row["interaction_s"] == pytest.approx(-0.1)  # 0.4 together, 0.3 and 0.2 alone


def test_a_pair_that_shares_a_saving_is_drawn_with_its_interval() -> None:
    row = {"first": "a", "second": "b", "interaction_s": -0.1, "interaction_low_s": -0.2,
           "interaction_high_s": -0.05}  # fmt: skip
    ax, _ = pair_matrix(pd.DataFrame([row]), ["a", "b"])
    (text,) = ax.texts
    assert text.get_text() == "-100\n[-200 to -50]"
    assert text.get_fontweight() == "bold", "its interval is clear of zero"


def test_fewer_than_two_techniques_have_nothing_to_share() -> None:
    ax, _ = pair_matrix(pd.DataFrame(columns=["first", "second"]), ["a"])
    assert [text.get_text() for text in ax.texts] == [
        "Fewer than two techniques: nothing can overlap."
    ]
