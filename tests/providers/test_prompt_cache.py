"""The providers' cache rules on hand-made cases."""

from __future__ import annotations

import pytest

from labkit.providers.block_cache import Block, BlockCache, BreakpointCache
from labkit.providers.prompt_cache import Lookup, PrefixCache, PrefixRules


def ids(count: int, *, salt: int = 0) -> bytes:
    return b"".join((n + salt).to_bytes(4, "little") for n in range(count))


def ask(cache: PrefixCache, prompt: bytes, now_s: float, scope: str = "org", key: str = "") -> int:
    """One request whose prefill takes no time."""
    found = cache.lookup(scope, prompt, now_s, key=key)
    found.commit(now_s)
    return found.read


class TestPrefixCache:
    def test_a_hit_is_a_multiple_of_128_from_1024_on(self) -> None:
        cache = PrefixCache()
        assert ask(cache, ids(1300), 0.0) == 0
        assert ask(cache, ids(1300), 1.0) == 1280
        assert ask(cache, ids(1151), 2.0) == 1024
        assert ask(cache, ids(1152), 3.0) == 1152
        assert ask(cache, ids(1023), 4.0) == 0

    def test_a_shared_beginning_hits_as_far_as_it_goes(self) -> None:
        cache = PrefixCache()
        ask(cache, ids(3000), 0.0)
        changed = ids(2000) + ids(1000, salt=9)
        assert ask(cache, changed, 1.0) == 1024 + 7 * 128  # 1920, the last step before 2000
        assert ask(cache, b"\xff" + ids(3000)[1:], 2.0) == 0

    def test_nothing_is_found_before_the_writer_is_done(self) -> None:
        cache = PrefixCache()
        first = cache.lookup("org", ids(2000), 0.0)
        assert cache.lookup("org", ids(2000), 0.1).read == 0
        first.commit(0.5)
        assert cache.lookup("org", ids(2000), 0.6).read == 1920

    def test_entries_leave_memory_after_five_to_ten_idle_minutes(self) -> None:
        for salt in range(20):
            cache = PrefixCache()
            ask(cache, ids(2000, salt=salt), 0.0)
            assert ask(cache, ids(2000, salt=salt), 299.0) > 0
            assert ask(cache, ids(2000, salt=salt), 299.0 + 601.0) == 0

    def test_use_keeps_entries_alive_but_not_beyond_an_hour(self) -> None:
        cache = PrefixCache()
        ask(cache, ids(2000), 0.0)
        assert all(ask(cache, ids(2000), 290.0 * n) > 0 for n in range(1, 12))
        assert ask(cache, ids(2000), 3700.0) == 0

    def test_retention_of_a_day_outlives_memory(self) -> None:
        cache = PrefixCache()
        cache.lookup("org", ids(2000), 0.0, keep_s=86_400.0).commit(0.0)
        assert cache.lookup("org", ids(2000), 80_000.0).read > 0

    def test_organisations_and_models_share_nothing(self) -> None:
        cache = PrefixCache()
        ask(cache, ids(2000), 0.0, scope="org one")
        assert ask(cache, ids(2000), 1.0, scope="org two") == 0

    def test_more_than_15_requests_a_minute_overflow_to_a_cold_machine(self) -> None:
        cache = PrefixCache()
        reads = [ask(cache, ids(2000), n * 0.1) for n in range(17)]
        assert reads[0] == 0
        assert all(reads[1:15])
        assert reads[15] == 0  # the second machine has not seen it
        assert reads[16] > 0
        assert ask(cache, ids(2000), 70.0) > 0

    @pytest.mark.parametrize(("every_s", "misses"), [(5.0, 1), (3.0, 2)])
    def test_fifteen_a_minute_is_a_rate(self, every_s: float, misses: int) -> None:
        cache = PrefixCache()
        reads = [ask(cache, ids(2000), n * every_s) for n in range(40)]
        assert reads.count(0) == misses  # 12 a minute stay on one machine, 20 need a second

    def test_the_cache_key_takes_part_in_routing(self) -> None:
        cache = PrefixCache(PrefixRules(route_per_minute=1))
        ask(cache, ids(2000), 0.0, key="a")
        assert ask(cache, ids(2000), 0.1, key="b") == 0


def prompt(*blocks: tuple[str, int]) -> list[Block]:
    """User messages: each may end an entry."""
    return [Block(text.encode(), n, boundary=True) for text, n in blocks]


class TestBreakpointCache:
    def use(self, cache: BreakpointCache, blocks: list[Block], now_s: float = 0.0) -> Lookup:
        found = cache.lookup("org", blocks, now_s)
        found.commit(now_s)
        return found

    def test_a_growing_conversation_hits_at_its_previous_end(self) -> None:
        cache = BreakpointCache()
        first = self.use(cache, prompt(("system", 1100), ("one", 10)))
        assert (first.read, first.written) == (0, 1110)
        second = self.use(cache, prompt(("system", 1100), ("one", 10), ("two", 7)))
        assert (second.read, second.written) == (1110, 7)

    def test_a_changed_last_message_misses_even_behind_a_long_prefix(self) -> None:
        cache = BreakpointCache()
        self.use(cache, prompt(("system", 9000), ("one", 10)))
        assert self.use(cache, prompt(("system", 9000), ("other", 10))).read == 0

    def test_an_explicit_breakpoint_makes_the_prefix_reusable(self) -> None:
        cache = BreakpointCache()
        system = Block(b"system", 9000, mark_ttl_s=0.0)
        self.use(cache, [system, *prompt(("one", 10))])
        found = self.use(cache, [system, *prompt(("other", 10))])
        assert (found.read, found.written) == (9000, 10)

    def test_short_prompts_and_old_entries_do_not_count(self) -> None:
        cache = BreakpointCache()
        assert self.use(cache, prompt(("short", 1000))).written == 0
        self.use(cache, prompt(("long", 2000)), 0.0)
        assert self.use(cache, prompt(("long", 2000)), 1799.0).read == 2000
        assert self.use(cache, prompt(("long", 2000)), 1799.0 + 1801.0).read == 0

    def test_reading_renews_an_entry_that_is_not_written_again(self) -> None:
        cache = BreakpointCache()
        self.use(cache, prompt(("system", 1100), ("one", 10)), 0.0)
        grown = prompt(("system", 1100), ("one", 10), ("two", 10))
        self.use(cache, grown, 1700.0)
        branch = prompt(("system", 1100), ("one", 10), ("other", 10))
        assert self.use(cache, branch, 3000.0).read == 1110

    def test_explicit_mode_writes_nothing_by_itself(self) -> None:
        cache = BreakpointCache()
        found = cache.lookup("org", prompt(("long", 2000)), 0.0, explicit_only=True)
        assert found.written == 0


def block(text: str, n: int, ttl_s: float | None = None) -> Block:
    return Block(text.encode(), n, ttl_s)


class TestBlockCache:
    def use(
        self, cache: BlockCache, blocks: list[Block], now_s: float = 0.0, least: int = 1024
    ) -> Lookup:
        found = cache.lookup("org", blocks, now_s, least)
        found.commit(now_s)
        return found

    def test_writes_up_to_the_last_mark_and_reads_it_back(self) -> None:
        cache = BlockCache()
        blocks = [block("tools", 500), block("system", 700, 300.0), block("hello", 9)]
        first = self.use(cache, blocks)
        assert (first.read, first.written) == (0, 1200)
        again = self.use(cache, blocks, 10.0)
        assert (again.read, again.written) == (1200, 0)

    def test_below_the_minimum_nothing_happens(self) -> None:
        cache = BlockCache()
        blocks = [block("system", 4095, 300.0)]
        assert self.use(cache, blocks, least=4096).written == 0
        assert self.use(cache, blocks, least=4096).read == 0
        assert self.use(cache, [block("system", 4096, 300.0)], least=4096).written == 4096

    def test_looks_back_twenty_blocks_and_no_further(self) -> None:
        for extra, hit in ((20, 2000), (21, 0)):
            cache = BlockCache()
            self.use(cache, [block("system", 2000, 300.0)])
            more = [block(f"m{n}", 1) for n in range(extra - 1)] + [block("last", 1, 300.0)]
            assert self.use(cache, [block("system", 2000), *more], 1.0).read == hit

    def test_changed_tools_void_everything_and_a_changed_message_only_itself(self) -> None:
        cache = BlockCache()
        old = [block("tools", 1500, 300.0), block("system", 700, 300.0), block("hi", 50, 300.0)]
        self.use(cache, old)
        new_tools = [block("TOOLS", 1500, 300.0), *old[1:]]
        assert self.use(cache, new_tools, 1.0).read == 0
        new_system = [old[0], block("SYSTEM", 700, 300.0), old[2]]
        assert self.use(cache, new_system, 1.0).read == 1500
        new_message = [*old[:2], block("HI", 50, 300.0)]
        assert self.use(cache, new_message, 1.0).read == 2200

    def test_a_read_renews_the_five_minutes(self) -> None:
        cache = BlockCache()
        blocks = [block("system", 2000, 300.0)]
        self.use(cache, blocks, 0.0)
        assert self.use(cache, blocks, 290.0).read == 2000
        assert self.use(cache, blocks, 580.0).read == 2000
        assert self.use(cache, blocks, 881.0).read == 0

    def test_reading_through_an_unmarked_block_renews_it_too(self) -> None:
        cache = BlockCache()
        self.use(cache, [block("system", 2000, 300.0)], 0.0)
        later = [block("system", 2000), block("hello", 9, 300.0)]
        assert self.use(cache, later, 200.0).read == 2000
        assert self.use(cache, [block("system", 2000, 300.0)], 450.0).read == 2000

    def test_an_hour_is_kept_for_an_hour_and_accounted_apart(self) -> None:
        cache = BlockCache()
        blocks = [block("system", 2000, 3600.0), block("hello", 100, 300.0)]
        first = self.use(cache, blocks)
        assert (first.written, first.written_1h) == (2100, 2000)
        later = self.use(cache, blocks, 3000.0)
        assert (later.read, later.written, later.written_1h) == (2000, 100, 0)

    def test_parallel_cold_requests_all_write(self) -> None:
        cache = BlockCache()
        blocks = [block("system", 2000, 300.0)]
        first = cache.lookup("org", blocks, 0.0, 1024)
        second = cache.lookup("org", blocks, 0.1, 1024)
        first.commit(0.5)
        assert (first.written, second.written) == (2000, 2000)
        assert cache.lookup("org", blocks, 0.6, 1024).read == 2000
        assert cache.lookup("other", blocks, 0.6, 1024).read == 0
