"""The agent's own code can take no time, and nothing else changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pandas as pd
import pytest

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.errors import UsageError
from labkit.evidence.paired import savings
from labkit.tunnel import instant
from labkit.tunnel.executor import JobRule
from labkit.tunnel.loop import TunnelLoop

AGENT = str(Path(__file__).parents[1] / "agents" / "own_work.py")
PLAIN = {"preemptive.enabled": False, "caller.dialogue": "order_status"}
"""Nothing overlaps, and there is something to look up."""
TICK_S = 1e-4


def made_instant(does: str, kind: str, **more: object) -> pd.DataFrame:
    """Turns of an agent that does something, as it is and with a kind of code instant."""
    base = PLAIN | {"agent.does": does} | more
    arms = {"as it is": Arm(AGENT, base), "instant": Arm(AGENT, base | {f"instant.{kind}": True})}
    results = sweep(Experiment(arms, calls=1, turns=3), workers=1, progress=lambda *_: None)
    assert not len(results.troubles), results.troubles["error"].tolist()
    return results.turns


def saved(turns: pd.DataFrame) -> list[float]:
    found = savings(turns, "as it is")["saved_s"].tolist()
    assert len(found) == 3
    return found


@pytest.mark.parametrize("does", ["sleep", "block"])
def test_a_hook_that_sleeps_or_blocks_costs_what_it_sleeps(does: str) -> None:
    assert saved(made_instant(does, "hook")) == pytest.approx([0.4] * 3, abs=TICK_S)


def test_a_hook_that_asks_an_llm_costs_its_whole_answer() -> None:
    turns = made_instant("judge", "hook")
    hook_s = turns[turns["arm"] == "as it is"]["hook_s"].tolist()
    assert min(hook_s) > 0.2
    assert saved(turns) == pytest.approx(hook_s, abs=TICK_S)


def test_an_instant_tool_saves_its_own_time_where_it_is_called() -> None:
    turns = made_instant("tool", "tools")
    calls = turns[turns["arm"] == "as it is"]["tool_calls"]
    assert 0 < calls.sum() < 3
    assert saved(turns) == pytest.approx([0.6 * n for n in calls], abs=TICK_S)


def test_an_instant_node_saves_its_own_time_and_not_the_models() -> None:
    turns = made_instant("node", "nodes")
    rounds = 1 + turns[turns["arm"] == "as it is"]["tool_calls"]
    assert saved(turns) == pytest.approx([0.3 * n for n in rounds], abs=TICK_S)


@pytest.mark.parametrize(("does", "kind"), [("node", "hook"), ("sleep", "nodes"),
                                            ("sleep", "tools"), ("nothing", "hook")])  # fmt: skip
def test_one_kind_of_code_leaves_the_others_alone(does: str, kind: str) -> None:
    assert saved(made_instant(does, kind)) == [0, 0, 0]


def test_a_wait_for_something_else_is_not_instant() -> None:
    assert saved(made_instant("wait", "hook")) == pytest.approx([0] * 3, abs=TICK_S)


def test_what_a_hook_has_the_session_say_takes_its_time() -> None:
    turns = made_instant("say", "hook")
    spoken = turns.groupby("arm")["agent_hook_s"].min()
    assert spoken.min() > 1
    assert spoken["instant"] == pytest.approx(spoken["as it is"], abs=1e-3)


def test_a_hook_that_polls_ends() -> None:
    turns = made_instant("poll", "hook")
    assert saved(turns) == pytest.approx([0] * 3, abs=0.021)


def test_what_a_hook_leaves_running_takes_its_time() -> None:
    turns = made_instant("leave", "hook")
    later = turns.groupby("arm")["agent_later_s"].min()
    assert later.tolist() == pytest.approx([0.3, 0.3], abs=TICK_S)


def test_where_the_hook_overlaps_the_reply_it_costs_less_than_its_length() -> None:
    turns = made_instant("sleep", "hook", **{"preemptive.enabled": True})
    found = savings(turns, "as it is")["saved_s"]
    assert (found > -TICK_S).all() and found.min() < 0.35
    assert turns[turns["arm"] == "as it is"]["hook_s"].max() > 0.39


def test_real_time_does_not_stand_still() -> None:
    arm = Arm("vanilla", {"instant.hook": True})
    with pytest.raises(UsageError, match=r"instant\.hook.*virtual"):
        Experiment({"a": arm}, clock="wall").runs()


# ------------------------------------------------------------------------- on the loop alone


@pytest.fixture
def instant_hooks():
    instant.begin(frozenset({"hook", "nodes"}), lambda _: False, lambda _: False)
    yield
    instant.begin(frozenset(), lambda _: False, lambda _: False)


def run(coro, cost_s=0.0):
    loop = TunnelLoop(lambda _: JobRule(cost_s=cost_s))
    try:
        return loop.run_until_complete(coro), loop.time()
    finally:
        loop.close()


def test_timeouts_do_not_end_early(instant_hooks) -> None:
    async def hook():
        async with asyncio.timeout(1):
            await asyncio.sleep(5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 2)

    _, took_s = run(instant.wrapped("hook", hook)())
    assert took_s == pytest.approx(2, abs=TICK_S)


def test_a_job_takes_none_of_what_it_is_charged(instant_hooks) -> None:
    async def hook():
        return await asyncio.to_thread(lambda: 7)

    assert run(instant.wrapped("hook", hook)(), cost_s=0.5) == (7, 0)
    assert run(hook(), cost_s=0.5) == (7, 0.5)


def test_polling_for_something_outside_takes_its_time_in_the_end(instant_hooks) -> None:
    n = 0

    async def hook(happened):
        nonlocal n
        while not happened.is_set():
            await asyncio.sleep(0.1)
            n += 1

    async def both():
        happened = asyncio.Event()
        asyncio.get_running_loop().call_later(2, happened.set)
        await instant.wrapped("hook", hook)(happened)

    assert run(both())[1] == pytest.approx(2, abs=0.11)
    assert n <= instant.MOST_SLEEPS + 21


def test_a_node_may_have_any_of_its_forms(instant_hooks) -> None:
    async def stream() -> AsyncIterator[int]:
        for i in range(3):
            await asyncio.sleep(1)
            yield i

    async def later():
        await asyncio.sleep(1)
        return stream()

    async def text():
        time.sleep(1)  # noqa: ASYNC251
        return "hello"

    async def read(node):
        found = instant.wrapped("nodes", node)()
        if asyncio.iscoroutine(found):
            found = await found
        return found if isinstance(found, str) else [i async for i in found]

    for node, expected in ((stream, [0, 1, 2]), (later, [0, 1, 2]), (text, "hello")):
        found, took_s = run(read(node))
        assert found == expected
        assert took_s == pytest.approx(0, abs=TICK_S)


def test_code_outside_is_not_touched_while_a_hook_runs(instant_hooks) -> None:
    async def hook():
        await asyncio.Event().wait()

    async def both():
        task = asyncio.create_task(instant.wrapped("hook", hook)())
        await asyncio.sleep(1.5)
        time.sleep(0.5)  # noqa: ASYNC251
        task.cancel()

    assert run(both())[1] == pytest.approx(2)
