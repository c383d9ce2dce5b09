"""Virtual time is exact, never waits, and never hides a hang."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from labkit.tunnel import loop as loops
from labkit.tunnel.clock import install, real
from labkit.tunnel.executor import JobRule
from labkit.tunnel.loop import TunnelHang, TunnelLoop
from labkit.tunnel.network_loop import WallNetworkLoop

install()


def run(coro, **kwargs):
    return run_on(TunnelLoop(**kwargs), coro)


def run_on(loop, coro):
    try:
        return loop.run_until_complete(coro(loop))
    finally:
        loop.close()


def test_an_hour_of_sleep_is_exact_and_costs_nothing():
    async def main(loop):
        start = loop.time()
        for _ in range(3600):
            await asyncio.sleep(1.0)
        return loop.time() - start

    began = real["perf_counter"]()
    assert run(main) == 3600.0
    assert real["perf_counter"]() - began < 5


def test_every_clock_function_follows():
    async def main(loop):
        before = (time.time(), time.monotonic(), time.perf_counter_ns(), time.time_ns())
        await asyncio.sleep(1.5)
        after = (time.time(), time.monotonic(), time.perf_counter_ns(), time.time_ns())
        return [b - a for a, b in zip(before, after, strict=True)]

    seconds, monotonic, perf_ns, unix_ns = run(main)
    assert (monotonic, perf_ns, unix_ns) == (1.5, 1_500_000_000, 1_500_000_000)
    assert seconds == pytest.approx(1.5, abs=1e-6)


def test_outside_the_loop_time_is_real():
    assert abs(time.time() - real["time"]()) < 1


def test_a_blocking_sleep_stalls_the_loop_for_as_long():
    async def main(loop):
        fired = []
        loop.call_later(0.1, lambda: fired.append(loop.time()))
        time.sleep(0.5)  # noqa: ASYNC251
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return fired

    assert run(main) == [0.5]


def test_an_executor_job_is_charged_its_cost_and_its_sleeps():
    async def main(loop):
        other = []
        loop.call_later(0.05, lambda: other.append(loop.time()))
        await asyncio.to_thread(time.sleep, 0.2)
        return loop.time(), other

    ended, other = run(main, rule_for=lambda func: JobRule(cost_s=0.1))
    assert ended == pytest.approx(0.3)
    assert other == [0.05], "the loop goes on while a job is in the executor"


def test_a_pure_job_is_remembered_but_still_charged():
    calls = []

    def model(data):
        calls.append(bytes(data))
        return len(calls)

    async def main(loop):
        answers = [await asyncio.to_thread(model, b"ab") for _ in range(3)]
        answers.append(await asyncio.to_thread(model, b"cd"))
        return answers, loop.time()

    answers, ended = run(main, rule_for=lambda func: JobRule(cost_s=0.5, memo=memo))
    assert answers == [1, 1, 1, 2] and ended == 2.0 and calls == [b"ab", b"cd"]


memo: dict[str, int] = {}


def test_a_job_in_a_real_thread_holds_the_clock():
    async def main(loop):
        await loop.run_in_executor(None, real["sleep"], 0.2)
        return loop.time()

    assert run(main, rule_for=lambda func: JobRule(thread=True)) == 0.0


def test_an_error_in_a_job_reaches_its_caller():
    async def main(loop):
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    run(main)


def test_who_is_woken_for_a_deadline_finds_it_past():
    """anyio's deadlines ask the loop's time when they are called, and again until it is past."""
    woken = 0

    def ask(loop, deadline, done):
        nonlocal woken
        woken += 1
        if loop.time() >= deadline or woken > 10_000:
            done.set()
        else:
            loop.call_at(deadline, ask, loop, deadline, done)

    async def main(loop):
        for i in range(2000):
            deadline, done = loop.time() + 1 / (3 + i), asyncio.Event()
            loop.call_at(deadline, ask, loop, deadline, done)
            await done.wait()

    run(main)
    assert 2000 < woken <= 4000, "some deadlines lie between two nanoseconds, and ask twice"


def test_timers_of_one_instant_fire_in_the_order_they_were_set():
    async def main(loop):
        fired = []
        timers = [loop.call_at(0.5, fired.append, i) for i in range(50)]
        timers[7].cancel()
        await asyncio.sleep(1)
        return fired

    assert run(main) == [i for i in range(50) if i != 7]


def test_the_kernel_is_asked_only_while_it_can_have_news():
    async def main(loop):
        asked, poll = [], loop._kernel.select
        loop._kernel.select = lambda timeout: asked.append(loop.time()) or poll(timeout)
        await asyncio.sleep(1)
        release = loop.hold("a connection")
        loop.call_soon(release)
        await asyncio.sleep(1)
        return asked

    assert set(run(main)) == {1.0}, "while the clock is held, and at no other time"


@pytest.mark.parametrize("known", [False, True])
def test_bytes_from_a_socket_that_the_tunnel_does_not_know_are_not_missed(known):
    async def main(loop):
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            if known:  # nobody writes to such a one without holding the clock
                loop.expects_holders(here)
            loop.call_soon(there.send, b"x")
            loop.call_at(1.0, there.send, b"y")
            try:
                async with asyncio.timeout(5.0):
                    await loop.sock_recv(here, 1)
            except TimeoutError:
                return None
            return loop.time()

    assert run(main) == (None if known else 0.0)


def test_a_socket_is_forgotten_when_it_is_closed():
    async def main(loop):
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        before = loop._kernel.strangers
        server.close()
        await server.wait_closed()
        return before, loop._kernel.strangers

    assert run(main) == (1, 0)


def test_a_hang_names_the_waiting_task():
    async def main(loop):
        async def waits_for_godot():
            await asyncio.Event().wait()

        await asyncio.create_task(waits_for_godot(), name="godot")

    with pytest.raises(TunnelHang, match=r"(?s)godot: .*waits_for_godot at .*test_clock.py:\d+"):
        run(main)


def test_a_loop_that_spins_at_one_instant_is_a_hang(monkeypatch):
    monkeypatch.setattr(loops, "_SPINS", 10_000)

    async def main(_):
        await asyncio.sleep(1.0)
        while True:  # noqa: ASYNC110  (that is what is wrong with it)
            await asyncio.sleep(0)

    with pytest.raises(TunnelHang, match=r"10,000 times at the same instant; waiting:\n.*main"):
        run(main)


def test_the_wall_clock_loop_really_waits():
    async def main(loop):
        await asyncio.sleep(0.05)

    began = real["perf_counter"]()
    run_on(WallNetworkLoop(None), main)
    assert real["perf_counter"]() - began >= 0.05
