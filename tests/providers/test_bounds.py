"""What a server keeps, takes and searches stays within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from labkit.providers.allowance import Bucket, admitted
from labkit.providers.clip_index import NEEDLE, SoundIndex
from labkit.providers.prompt_cache import PrefixCache
from labkit.providers.recent import Recent
from labkit.providers.server import Slots


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    known: Recent[str, int] = Recent(3)
    for name in "abc":
        known.put(name, ord(name))
    known.get("a")
    known.put("d", 4)
    assert [known.get(name) for name in "abcd"] == [97, None, 99, 4]


def test_values_are_forgotten_by_weight() -> None:
    known: Recent[int, bytes] = Recent(10, len)
    for i in range(5):
        assert known.made(i, lambda: bytes(4)) == bytes(4)
    assert len(known) == 2
    known.put(9, bytes(100))
    assert len(known) == 1 and known.get(9) == bytes(100)


@settings(deadline=None, derandomize=True, database=None)
@given(
    some.lists(some.tuples(some.floats(0, 1e12), some.floats(0, 1e12), some.floats(0, 100))),
    some.floats(1, 1e6),
    some.floats(1, 1e6),
)
def test_no_request_takes_more_than_there_is(
    asked: list[tuple[float, float, float]], first: float, second: float
) -> None:
    one, two = Bucket(first), Bucket(second)
    now_s = 0.0
    for a, b, later_s in asked:
        now_s += later_s
        before = (one.wait_s(0, now_s), one.remaining(), two.wait_s(0, now_s), two.remaining())
        short = admitted({"one": (one, a), "two": (two, b)}, now_s)
        after = (0.0, one.remaining(), 0.0, two.remaining())
        assert (before == after) or short is None, "a refused request takes nothing"
        assert 0 <= one.remaining() <= first and 0 <= two.remaining() <= second
        assert one.full_in_s() <= 60.000001 and two.full_in_s() <= 60.000001
        if short is not None:
            assert short[1] <= 60.000001 or {"one": a > first, "two": b > second}[short[0]]


def test_keys_that_hold_nothing_are_not_remembered() -> None:
    slots = Slots()
    for i in range(1000):
        release = slots.take(f"key {i}", 1)
        assert release is not None and slots.take(f"key {i}", 1) is None
        release()
        release()
    assert slots.held("key 1") == 0 and not slots._open


def test_a_prompt_cache_keeps_the_prompts_of_late() -> None:
    cache = PrefixCache()

    def asked(i: int) -> int:
        found = cache.lookup("scope", np.full(8000, i, np.uint32).tobytes(), float(i) / 1000)
        found.commit(float(i) / 1000)
        return found.read

    assert asked(0) == 0 and asked(0) > 7000
    for i in range(1, 1500):
        asked(i)
    assert asked(1499) > 7000
    assert asked(0) == 0, "60,000 newer entries have taken its place"


@pytest.mark.parametrize("offset", [0, 1, 31, 127, 128, 5000])
def test_a_piece_is_found_wherever_it_was_cut_out(offset: int) -> None:
    rng = np.random.default_rng(3)
    samples = rng.integers(-9000, 9000, 20_000).astype(np.int16)
    index = SoundIndex(samples.tobytes())
    piece = samples[offset : offset + NEEDLE].tobytes()
    assert list(index.find(piece)) == [2 * offset]
    assert list(index.find(piece[2:] + b"xx")) == []
    assert list(index.find(b"ab")) == []
