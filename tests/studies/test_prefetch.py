"""Tool prefetch: what each wiring serves, what it wastes, and how the study counts it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.paths import agents_dir
from labkit.studies import prefetch

WIRINGS = ("none", "as_published", "hook", "interim")
TOOL_S = 0.6


@pytest.fixture(scope="module")
def turns() -> pd.DataFrame:
    arms = {how: Arm("tool_prefetch", {"agent.prefetch": how}) for how in WIRINGS}
    settings = {
        "caller.persona": "fluent",
        "caller.dialogue": "order_status",
        "agent.threshold": 0.5,
        "agent.tool_s": TOOL_S,
    }
    results = sweep(Experiment(arms, settings=settings, calls=2, turns=4), workers=2)
    assert (results.calls["status"] == "ok").all(), results.calls["error"].tolist()
    return prefetch.counted(results.turns)


def of(turns: pd.DataFrame, arm: str, turn_id: str | None = None) -> pd.DataFrame:
    part = turns[turns["arm"] == arm]
    return part if turn_id is None else part[part["turn_id"] == turn_id]


def test_as_published_serves_the_order_that_was_asked_for_before(turns: pd.DataFrame) -> None:
    corrected = of(turns, "as_published", "corrected_number")
    assert corrected["wrong"].all()
    assert corrected["replied"].str.contains("4571").all()
    assert not corrected["replied"].str.contains("4572").any()


def test_every_other_wiring_answers_every_turn_rightly(turns: pd.DataFrame) -> None:
    for arm in ("none", "hook", "interim"):
        part = of(turns, arm)
        assert (part["outcome"] == "answered").all()
        assert (part["reply_right"] == 1).all(), part[["said", "replied"]]


def test_what_the_hook_saves_is_the_room_it_had_or_the_whole_tool(turns: pd.DataFrame) -> None:
    keys = ["call", "turn"]
    base = of(turns, "none").set_index(keys)
    hook = of(turns, "hook").set_index(keys)
    asked = base[base["looked_up"]]
    most = np.minimum(asked["agent_room_s"], TOOL_S)
    saved = asked["agent_wait_s"] - hook.loc[asked.index, "agent_wait_s"]
    assert len(asked) == 4
    assert saved.to_numpy() == pytest.approx(most.to_numpy(), abs=1e-6)


def test_begun_on_the_transcript_the_tool_is_never_later_than_begun_in_the_hook(
    turns: pd.DataFrame,
) -> None:
    for turn_id in ("order_number", "corrected_number"):
        waits = [of(turns, arm, turn_id)["agent_wait_s"].to_numpy() for arm in ("hook", "interim")]
        assert (waits[1] <= waits[0] + 1e-9).all()


def test_no_task_is_left_when_the_call_ends(turns: pd.DataFrame) -> None:
    last = of(turns, "interim").groupby("call")["agent_leaked"].last()
    assert (last == 0).all()


# ------------------------------------------------------------------------- the agent's parts


@pytest.fixture
def agents_on_path() -> Iterator[None]:
    sys.path.insert(0, str(agents_dir()))
    yield
    sys.path.remove(str(agents_dir()))
    for name in ("tool_prefetch", "_order_desk", "vanilla"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("It's order four five seven one.", ["4571"]),
        ("Sorry, I meant four five seven two, not seven one.", ["4572"]),
        ("S P one four, zero two, double nine.", ["SP140299"]),
        ("Order 4571, please", ["4571"]),
        ("four five seven", []),
        ("my number is four five seven one two", []),
    ],
)
def test_numbers_are_read_only_when_they_are_complete(
    agents_on_path: None, said: str, found: list[str]
) -> None:
    from _order_desk import numbers

    assert numbers(said) == found


def test_the_guess_knows_the_number_said_last_and_is_unsure_of_small_talk(
    agents_on_path: None,
) -> None:
    from _order_desk import Guesser

    guess = Guesser()
    assert guess("When do you close?") is None, "no number has been said yet"
    first = guess("My order number is four five seven one.")
    assert first is not None and (first.tool, first.number) == ("lookup_order", "4571")
    later = guess("Okay.")
    assert later is not None and later.number == "4571"
    assert later.confidence < 0.5 < first.confidence


def test_leaving_cancels_what_is_still_running(agents_on_path: None) -> None:
    from _order_desk import Backend
    from tool_prefetch import Prefetching

    async def leave() -> tuple[int, int]:
        agent = Prefetching(Backend(delay_s=60.0), threshold=0.0, on_interim=False)
        agent._begin(agent._guess("My order number is four five seven one."))
        await asyncio.sleep(0)
        ((_, task),) = agent._tasks.values()
        await agent.on_exit()
        return task.cancelled(), len(agent._tasks)

    assert asyncio.run(leave()) == (True, 0)


def test_another_number_is_never_served(agents_on_path: None) -> None:
    from _order_desk import Backend
    from tool_prefetch import Prefetching

    async def ask() -> Any:
        agent = Prefetching(Backend(delay_s=0.0), threshold=0.0, on_interim=False)
        agent._begin(agent._guess("My order number is four five seven one."))
        return await agent.find("lookup_order", "4572"), agent.used

    found, used = asyncio.run(ask())
    assert (found["order_id"], used) == ("4572", 0)


# ------------------------------------------------------------------------- the tables


def a_table() -> pd.DataFrame:
    """Two arms of one call of three turns; the second turn needs a look-up."""
    common = {"call": 0, "dialogue": "d", "agent.tool_s": 0.6, "preemptive.enabled": True}
    rows = []
    for arm, latency, begun, used in (
        ("none", 2.0, [0, 0, 0], [0, 0, 0]),
        ("hook", 1.7, [1, 2, np.nan], [0, 1, np.nan]),
    ):
        for turn in range(3):
            rows.append({
                **common, "arm": arm, "turn": turn, "turn_id": f"t{turn}",
                "response_latency_s": latency, "reply_right": 1.0,
                "agent_begun": begun[turn], "agent_used": used[turn],
                "agent_tool": "find" if turn == 1 else None,
                "agent_room_s": 0.3 if turn == 1 else np.nan,
                "agent_wait_s": 0.6 if turn == 1 else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


def test_running_totals_become_counts_per_turn() -> None:
    hook = of(prefetch.counted(a_table()), "hook")
    assert hook["begun"].tolist() == [1, 1, 0]
    assert hook["used"].tolist() == [0, 1, 0]
    assert hook["wasted"].tolist() == [1, 0, 0]


def test_the_bound_is_the_shorter_of_tool_and_room() -> None:
    looked_up = prefetch.look_ups(prefetch.counted(a_table()))
    assert looked_up["turn_id"].unique().tolist() == ["t1"]
    saved = prefetch.savings(looked_up).set_index("arm")["saving_s"]
    assert saved["hook"] == pytest.approx(0.3)
    assert saved["bound for the hook"] == pytest.approx(0.3)
