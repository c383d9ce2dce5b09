"""What lies between two ends: closed forms of each delay, and what each random draw depends on."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from labkit.callers.line import PACKET_S, Line
from labkit.settings import Settings
from labkit.tunnel import link as links
from labkit.tunnel.clock import install
from labkit.tunnel.link import INITIAL_WINDOW_BYTES, Connection, Link, Pipe
from labkit.tunnel.loop import TunnelLoop
from labkit.tunnel.network import Host, Network
from labkit.tunnel.network_loop import NetworkLoop

install()
RTT = 0.1
ONE_WAY = 0.05
MS = 0.001
MOMENTS = [(i + 0.5) * 0.02 for i in range(3000)]
"""The middles of a minute's stretches of one draw each."""
SLACK = 1e-6
"""The clock ticks in nanoseconds."""


def draws(link: Link, *key: int | str, seed: int = 7) -> np.ndarray:
    return np.array([link.extra_s(t, seed, *(key or ("host", 0))) for t in MOMENTS])


# ------------------------------------------------------------------- figures with a source


def test_tcps_own_figures() -> None:
    assert links.SEGMENT_BYTES == 1448  # 1500 less 20 of IPv4, 20 of TCP, 12 of its timestamps
    assert INITIAL_WINDOW_BYTES == 10 * 1448  # RFC 6928
    assert links.MIN_RETRANSMIT_S == 0.2  # TCP_RTO_MIN of Linux
    assert links.CONDITIONS_S == 0.02


# ------------------------------------------------------------------- draws


def test_a_quiet_link_draws_nothing() -> None:
    assert Link(rtt_s=0.3, dns_s=0.1).extra_s(1.0, 7, "host", 0) == 0.0


@pytest.mark.parametrize("link", [Link(jitter_s=0.01), Link(loss=0.2)], ids=["jitter", "loss"])
@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"key": ("host", 1)}, {"key": ("other", 0)}],
    ids=["seed", "call", "host"],
)
def test_each_draw_depends_on_the_seed_the_host_and_the_call(link: Link, other: dict) -> None:
    """All of them differ with another name, as far as chance lets a loss differ."""
    key, seed = other.get("key", ("host", 0)), other.get("seed", 7)
    first, second = draws(link), draws(link, *key, seed=seed)
    same = float(np.mean(first == second))
    assert same < 0.01 if link.jitter_s else 0.62 < same < 0.74, "0.8² + 0.2² by chance"


@pytest.mark.parametrize("link", [Link(jitter_s=0.01), Link(loss=0.2)], ids=["jitter", "loss"])
def test_each_draw_depends_on_the_moment_to_20_ms(link: Link) -> None:
    found = draws(link)
    assert len(set(found)) == (len(found) if link.jitter_s else 2)
    for t_s in (0.02, 0.5, 7.66):
        own = link.extra_s(t_s + MS, 7, "host", 0)
        assert link.extra_s(t_s + 0.02 - MS, 7, "host", 0) == own
    jitter = Link(jitter_s=0.01)
    for t_s in (0.02, 0.5, 7.66):
        before, after = (jitter.extra_s(t_s + step, 7, "host", 0) for step in (-MS, MS))
        assert before != after


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    link = Link(rtt_s=RTT, jitter_s=0.01, loss=0.1)
    alone = link.extra_s(3.0, 7, "host", 0)
    for i in range(50):
        link.extra_s(i / 10, 7, "host", 1)
        Link(jitter_s=0.5).extra_s(3.0, 7, "host", 0)
    assert link.extra_s(3.0, 7, "host", 0) == alone


def test_arms_whose_links_differ_see_the_same_draws() -> None:
    """Common random numbers: the same quantile of another spread, the same luck of another loss."""
    one, two = draws(Link(jitter_s=0.01)), draws(Link(jitter_s=0.02))
    assert two == pytest.approx(2 * one)
    assert (draws(Link(rtt_s=RTT, jitter_s=0.01)) == one).all(), "no matter how far"
    little, much = draws(Link(loss=0.05)) > 0, draws(Link(loss=0.2)) > 0
    assert (much[little]).all() and little.sum() < much.sum()
    both = draws(Link(jitter_s=0.01, loss=0.2))
    assert both == pytest.approx(one + draws(Link(loss=0.2))), "and one does not move the other"


def test_jitter_has_the_median_and_95th_percentile_it_is_given() -> None:
    found = draws(Link(jitter_s=0.01))
    assert np.quantile(found, 0.5) == pytest.approx(0.01, rel=0.06)
    assert np.quantile(found, 0.95) == pytest.approx(0.03, rel=0.1)
    assert found.min() > 0


def test_loss_has_the_share_it_is_given_and_costs_a_retransmission() -> None:
    found = draws(Link(rtt_s=RTT, loss=0.2))
    assert set(found) == {0.0, 0.2 + RTT}
    assert np.mean(found > 0) == pytest.approx(0.2, abs=0.025)


@pytest.mark.parametrize(
    ("link", "good"),
    [({"loss": 0.0}, True), ({"loss": 1 - MS}, True), ({"loss": 1.0}, False),
     ({"loss": -MS}, False), ({"rtt_s": -MS}, False), ({"jitter_s": -MS}, False),
     ({"dns_s": -MS}, False), ({"rtt_s": 0.0, "jitter_s": 0.0, "dns_s": 0.0}, True)],
)  # fmt: skip
def test_what_a_link_can_be(link: dict, good: bool) -> None:
    if good:
        Link(**link)
        return
    with pytest.raises(ValueError, match=rf"{next(iter(link))}=.* must be at least 0"):
        Link(**link)


def network(link: Link) -> tuple[Network, Host, Host]:
    hosts = {name: Host(name, "p", link) for name in ("one.example.com", "two.example.com")}
    return Network(hosts), *hosts.values()


def test_a_network_names_its_draws_by_seed_host_and_call() -> None:
    link = Link(jitter_s=0.01)
    net, one, two = network(link)
    net.begin_call(7, 3)
    extra_s = net.extra_s(one)
    assert extra_s(1.0) == link.extra_s(1.0, 7, "one.example.com", 3)
    seen = {extra_s(1.0), net.extra_s(two)(1.0)}
    net.begin_call(7, 4)
    seen.add(extra_s(1.0))  # a connection that is kept has the weather of the call in progress
    net.begin_call(8, 3)
    seen.add(net.extra_s(one)(1.0))
    assert len(seen) == 4
    net.begin_call(7, 3)
    assert extra_s(1.0) == link.extra_s(1.0, 7, "one.example.com", 3)


def test_a_call_begins_with_nothing_resolved_refused_or_connected() -> None:
    net, one, _ = network(Link())
    net.begin_call(7, 0)
    net.resolved.add(one.name)
    net.refused.append("x")
    net.connects["x"] = 1
    net.begin_call(7, 1)
    assert (net.resolved, net.refused, net.connects) == (set(), [], {})


@pytest.mark.parametrize(("seed", "number"), [(7, 0), (7, 1), (8, 0)])
@pytest.mark.parametrize("link", [Link(rtt_s=RTT, jitter_s=0.01), Link(rtt_s=RTT, loss=0.5)])
def test_a_handshake_takes_a_round_trip_and_its_own_draw(
    link: Link, seed: int, number: int
) -> None:
    net, one, _ = network(link)
    net.begin_call(seed, number)
    loop = NetworkLoop(net)

    async def main() -> list[tuple[float, float]]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            one.port = server.getsockname()[1]
            taken = []
            for _ in range(4):
                with socket.socket() as sock:
                    sock.setblocking(False)
                    began = loop.time()
                    release: list[Callable[[], None]] = []
                    hold = loop.hold
                    loop.hold = lambda name, hold=hold, to=release: to.append(hold(name)) or to[-1]  # type: ignore[assignment]
                    await loop.sock_connect(sock, (one.address, 443))
                    loop.hold = hold  # type: ignore[method-assign]
                    taken.append((began, loop.time() - began))
                    release[0]()  # nobody accepts here
                await asyncio.sleep(0.03)
            return taken

    try:
        taken = loop.run_until_complete(main())
    finally:
        loop.close()
    for began, took_s in taken:
        assert took_s == pytest.approx(RTT + link.extra_s(began, seed, one.name, number), abs=SLACK)
    assert net.connects == {one.name: 4}


# ------------------------------------------------------------------- pipes


def sent(link: Link, script: list[tuple[float, int]], extra=lambda t_s: 0.0) -> list[tuple]:
    """When bytes arrive, ``(seconds, bytes)``, of a script of the same form; None is the end."""
    loop = TunnelLoop()
    arrived: list[tuple[float, int | None]] = []

    async def main() -> None:
        began, over = loop.time(), asyncio.Event()
        pipe = Pipe(loop, link, lambda t_s: extra(t_s - began))

        def receive(data: bytes | None) -> None:
            arrived.append((loop.time() - began, None if data is None else len(data)))
            if data is None:
                over.set()

        pipe.receive = receive
        for at_s, size in script:
            await asyncio.sleep(at_s - (loop.time() - began))
            pipe.send(bytes(size))
        pipe.finish()
        await over.wait()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return arrived


def times(arrived: list[tuple]) -> list[float]:
    return [t for t, size in arrived if size is not None]


@pytest.mark.parametrize("rtt_s", [0.0, 0.03, 0.2])
def test_a_byte_takes_half_a_round_trip(rtt_s: float) -> None:
    assert sent(Link(rtt_s=rtt_s), [(0.0, 5), (0.3, 7)]) == [
        (pytest.approx(rtt_s / 2, abs=SLACK), 5),
        (pytest.approx(0.3 + rtt_s / 2, abs=SLACK), 7),
        (pytest.approx(0.3 + rtt_s / 2, abs=SLACK), None),
    ]


def test_the_draw_is_that_of_the_moment_of_sending() -> None:
    link = Link(rtt_s=RTT, jitter_s=0.01)
    found = sent(link, [(0.0, 1), (1.0, 1), (2.0, 1)], lambda t_s: 0.01 * round(t_s) + 0.003)
    assert times(found) == pytest.approx(
        [ONE_WAY + 0.003, 1.0 + ONE_WAY + 0.013, 2.0 + ONE_WAY + 0.023], abs=SLACK
    )


def test_what_is_held_up_holds_up_what_follows() -> None:
    link = Link(rtt_s=RTT, loss=0.1)
    found = sent(link, [(0.0, 1), (0.1, 2), (0.3, 3)], lambda t_s: 0.3 if t_s < 0.05 else 0.0)
    assert times(found) == pytest.approx([0.35, 0.35, 0.35], abs=SLACK)
    assert [size for _, size in found] == [1, 2, 3, None]


def test_a_quiet_pipe_does_not_ask_for_draws() -> None:
    assert times(sent(Link(rtt_s=RTT), [(0.0, 1)], lambda t_s: 9.0)) == pytest.approx([ONE_WAY])


@pytest.mark.parametrize(
    ("size", "rounds"),
    [(1, 1), (14_480, 1), (14_481, 2), (3 * 14_480, 2), (3 * 14_480 + 1, 3), (7 * 14_480, 3),
     (7 * 14_480 + 1, 4)],
)  # fmt: skip
def test_a_fresh_connection_doubles_what_it_sends_each_round_trip(size: int, rounds: int) -> None:
    found = sent(Link(rtt_s=RTT), [(0.0, size)])
    assert sum(n for _, n in found if n) == size
    assert found[-1][0] == pytest.approx((rounds - 1) * RTT + ONE_WAY, abs=SLACK)
    first = sum(n for t, n in found if n and t < ONE_WAY + MS)
    assert first == min(size, 14_480)


def test_an_acknowledgement_waits_for_what_was_held_up() -> None:
    link = Link(rtt_s=RTT, loss=0.1)
    found = sent(link, [(0.0, 20_000)], lambda t_s: 0.3 if t_s < 0.01 else 0.0)
    # the first window arrives at 0.35 and is acknowledged at 0.40
    assert times(found) == pytest.approx([0.35, 0.45], abs=SLACK)


def test_there_is_no_window_where_there_is_no_distance() -> None:
    assert sent(Link(), [(0.0, 100_000)]) == [(0.0, 100_000), (0.0, None)]


@pytest.mark.parametrize(
    ("idle_s", "window"),
    # 0.3 s is one period of idling: 0.2 s to retransmit and the round trip
    [(0.3 - MS, 4), (0.3 + MS, 2), (0.6 - MS, 2), (0.6 + MS, 1), (30.0, 1)],
)
def test_a_window_halves_with_every_period_of_idling_down_to_the_first(
    idle_s: float, window: int
) -> None:
    """After 14,480 and 28,960 bytes have been acknowledged the window is four times the first."""
    two_rounds = 3 * INITIAL_WINDOW_BYTES
    at_s = RTT + idle_s  # the last of them left at one round trip
    found = sent(Link(rtt_s=RTT), [(0.0, two_rounds), (at_s, 10 * INITIAL_WINDOW_BYTES)])
    first = sum(n for t, n in found if n and abs(t - at_s - ONE_WAY) < MS)
    assert first == window * INITIAL_WINDOW_BYTES


def test_a_window_never_falls_below_the_first() -> None:
    found = sent(Link(rtt_s=RTT), [(0.0, 1), (60.0, 14_480)])
    assert found[1] == (pytest.approx(60.05), 14_480)


def piped(script: Callable[[TunnelLoop, Pipe], None], link: Link = Link(rtt_s=RTT)) -> list[tuple]:  # noqa: B008
    """What arrives within 2 s, after a script has used the pipe at once."""
    loop = TunnelLoop()
    arrived: list[tuple[float, int | None]] = []

    async def main() -> None:
        began = loop.time()
        pipe = Pipe(loop, link, lambda t_s: 0.0)
        pipe.receive = lambda data: arrived.append(
            (loop.time() - began, None if data is None else len(data))
        )
        script(loop, pipe)
        await asyncio.sleep(2.0)

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return arrived


def test_the_end_comes_after_the_last_byte_and_a_reset_before_what_waits() -> None:
    def finish(loop: TunnelLoop, pipe: Pipe) -> None:
        pipe.send(bytes(20_000))
        assert pipe.queued_bytes == 20_000 - 14_480
        pipe.finish()

    assert piped(finish) == [
        (pytest.approx(ONE_WAY), 14_480), (pytest.approx(RTT + ONE_WAY), 5_520),
        (pytest.approx(RTT + ONE_WAY), None),
    ]  # fmt: skip

    def reset(loop: TunnelLoop, pipe: Pipe) -> None:
        pipe.send(bytes(20_000))
        pipe.reset()
        assert pipe.queued_bytes == 0

    assert piped(reset) == [(pytest.approx(ONE_WAY), 14_480), (pytest.approx(ONE_WAY), None)]

    def close_twice(loop: TunnelLoop, pipe: Pipe) -> None:
        pipe.finish()
        pipe.finish()

    assert piped(close_twice) == [(pytest.approx(ONE_WAY), None)]


def test_whoever_sends_is_told_what_waits() -> None:
    told: list[int] = []

    def send(loop: TunnelLoop, pipe: Pipe) -> None:
        pipe.flow = told.append
        pipe.send(bytes(14_000))
        pipe.send(bytes(1_000))
        pipe.send(bytes(30_000))

    piped(send)
    assert told == [0, 520, 30_520, 1_560, 0]


@effort(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9_000)), min_size=1, max_size=12),
    st.lists(st.integers(0, 200), min_size=12, max_size=12),
)
def test_every_byte_arrives_once_in_order_and_not_before_light(
    script: list[tuple[int, int]], delays: list[int]
) -> None:
    gaps = itertools.accumulate(gap for gap, _ in script)
    moments = [(at * 0.01, size) for at, (_, size) in zip(gaps, script, strict=True)]
    delay = itertools.cycle(delays)
    found = sent(Link(rtt_s=RTT, jitter_s=0.01), moments, lambda t_s: next(delay) * MS)
    assert [t for t, _ in found] == sorted(t for t, _ in found)
    assert found[-1][1] is None
    n_sent = list(itertools.accumulate(size for _, size in moments))
    n_there = 0
    for t_s, size in found[:-1]:
        n_there += size
        sender = next(
            at_s for (at_s, _), total in zip(moments, n_sent, strict=True) if total >= n_there
        )
        assert t_s >= sender + ONE_WAY - SLACK
    assert n_there == n_sent[-1]


def test_a_connection_has_a_pipe_each_way_over_the_same_link() -> None:
    loop = TunnelLoop()
    accepted: list[int] = []
    got: list[tuple[str, float]] = []

    async def main() -> None:
        began = loop.time()
        both = Connection(loop, Link(rtt_s=RTT), lambda t_s: 0.0, lambda: accepted.append(1))
        both.up.receive = lambda data: got.append(("up", loop.time() - began))
        both.down.receive = lambda data: got.append(("down", loop.time() - began))
        both.up.send(b"x")
        await asyncio.sleep(0.01)
        both.down.send(b"x")
        await asyncio.sleep(1.0)
        both.accepted()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert got == [("up", pytest.approx(ONE_WAY)), ("down", pytest.approx(ONE_WAY + 0.01))]
    assert accepted == [1]


# ------------------------------------------------------------------- the caller's line


def heard(line: Line, direction: str = "up", turn: int = 0) -> list[bool]:
    return [line.arrives(direction, turn, packet) for packet in range(1500)]


def line(seed: int = 7, call: int = 0, **links: float) -> Line:
    return Line.of(Settings({f"links.caller.{k}": v for k, v in links.items()}), seed, call)


def test_the_caller_is_heard_half_a_round_trip_a_codec_and_a_buffer_later() -> None:
    assert PACKET_S == 0.02
    assert line().up_s == line().down_s == pytest.approx(0.02 + 0.0265 + 0.04)
    far = line(**{"rtt_s": 0.21, "codec_s": 0.013, "jitter_buffer_s": 0.057,
                  "down.jitter_buffer_s": 0.061})  # fmt: skip
    assert far.up_s == pytest.approx(0.105 + 0.013 + 0.057)
    assert far.down_s == pytest.approx(0.105 + 0.013 + 0.061)


@pytest.mark.parametrize("weather", [{"loss": 0.3}, {"jitter_s": 0.03}], ids=["loss", "jitter"])
def test_each_packet_depends_on_seed_call_direction_turn_and_itself(weather: dict) -> None:
    own = heard(line(**weather))
    assert own == heard(line(**weather))
    for other in (
        heard(line(seed=8, **weather)), heard(line(call=1, **weather)),
        heard(line(**weather), "down"), heard(line(**weather), turn=1), [*own[1:], own[0]],
    ):  # fmt: skip
        assert 0.3 < np.mean(np.array(own) == np.array(other)) < 0.75
    lost = 1 - np.mean(own)
    # the buffer of 40 ms hides all but what a log-normal with median 30 and P95 90 ms has above it
    assert lost == pytest.approx(0.3 if "loss" in weather else 0.333, abs=0.04)


def test_a_better_line_loses_no_packet_that_a_worse_one_kept() -> None:
    for worse, better in (
        ({"loss": 0.3}, {"loss": 0.1}),
        ({"jitter_s": 0.03}, {"jitter_s": 0.01}),
        ({"jitter_s": 0.03}, {"jitter_s": 0.03, "jitter_buffer_s": 0.06}),
        ({"loss": 0.3, "burst_ratio": 4}, {"loss": 0.1, "burst_ratio": 4}),
    ):
        a, b = heard(line(**worse)), heard(line(**better))
        assert all(y for x, y in zip(a, b, strict=True) if x) and sum(b) > sum(a)


def test_each_way_has_losses_of_its_own() -> None:
    uneven = line(**{"loss": 0.3, "down.loss": 0.05})
    assert 1 - np.mean(heard(uneven)) == pytest.approx(0.3, abs=0.04)
    assert 1 - np.mean(heard(uneven, "down")) == pytest.approx(0.05, abs=0.02)
    assert heard(uneven) == heard(line(loss=0.3)), "the other way is none of its business"
    late = line(**{"up.jitter_s": 0.03})
    assert not all(heard(late)) and all(heard(late, "down"))


@pytest.mark.parametrize("loss", [0.02, 0.2])
@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_losses_come_in_runs_of_the_length_that_was_asked_for(loss: float, ratio: float) -> None:
    bursty = line(loss=loss, burst_ratio=ratio)
    lost = np.array([not bursty.arrives("up", turn, p) for turn in range(40) for p in range(1000)])
    runs = np.count_nonzero(lost[1:] & ~lost[:-1])
    # four standard errors of a proportion whose packets go together
    assert lost.mean() == pytest.approx(loss, abs=4 * np.sqrt(2 * ratio * loss / len(lost)))
    assert lost.sum() / runs == pytest.approx(ratio / (1 - loss), rel=0.2)


def test_one_draw_decides_a_packet_and_those_before_the_turn_have_one_too() -> None:
    bursty = line(loss=0.2, burst_ratio=5.0)
    backwards = [bursty.arrives("up", 0, packet) for packet in range(99, -21, -1)]
    assert backwards[::-1] == [bursty.arrives("up", 0, packet) for packet in range(-20, 100)]
