"""Prompt caches whose entries end where a block ends; see :mod:`labkit.providers.prompt_cache`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.providers.prompt_cache import Lookup, Store


@dataclass(frozen=True)
class Block:
    """A piece of a prompt that a cache entry can end with.

    Attributes:
        content: What is compared, byte by byte.
        tokens: Its length.
        mark_ttl_s: How long an entry ending here shall live; ``None`` without a mark.
        boundary: Whether the service itself may end an entry here.
    """

    content: bytes
    tokens: int
    mark_ttl_s: float | None = None
    boundary: bool = False


def _chain(scope: str, blocks: Sequence[Block]) -> list[tuple[bytes, int]]:
    """Key and length of every prefix that ends with a block."""
    digest = hashlib.blake2b(scope.encode() + b"\0", digest_size=16)
    total, out = 0, []
    for block in blocks:
        digest.update(len(block.content).to_bytes(8, "big") + block.content)
        total += block.tokens
        out.append((digest.digest(), total))
    return out


@dataclass(frozen=True, kw_only=True)
class BreakpointRules:
    """Figures of :class:`BreakpointCache`.

    Attributes:
        min_tokens: Shorter prefixes are not cached.
        life_s: Lifetime after the last use, seconds.
        writes: Breakpoints one request can write, the implicit one included.
        considered: How many of the latest breakpoints are looked up.
    """

    min_tokens: int = 1024
    life_s: float = 1800.0
    writes: int = 4
    considered: int = 80


class BreakpointCache:
    """OpenAI's GPT-5.6 and later: entries end at breakpoints, and only there they match.

    The service places one breakpoint at the newest message that may carry one (not an
    assistant's). Looking up, it considers where earlier requests had theirs, so a growing
    conversation hits at the previous user message, while a changed last message alone misses.
    """

    def __init__(self, rules: BreakpointRules | None = None) -> None:
        self.rules = rules or BreakpointRules()
        self._store = Store()

    def reset(self) -> None:
        """Forgets everything."""
        self._store.clear()

    def lookup(
        self, scope: str, blocks: Sequence[Block], now_s: float, *, explicit_only: bool = False
    ) -> Lookup:
        """Admits a request.

        Args:
            scope: Organisation, model and ``prompt_cache_key``.
            blocks: The prompt in order; ``boundary`` on eligible message ends.
            now_s: Loop time, seconds.
            explicit_only: ``prompt_cache_options={"mode": "explicit"}``.
        """
        rules = self.rules
        chain = _chain(scope, blocks)
        marked = [i for i, b in enumerate(blocks) if b.mark_ttl_s is not None]
        natural = [] if explicit_only else [i for i, b in enumerate(blocks) if b.boundary]
        candidates = sorted({*marked, *natural})[-rules.considered :]
        long_enough = [i for i in candidates if chain[i][1] >= rules.min_tokens]
        hit = next((i for i in reversed(long_enough) if self._store.live(chain[i][0], now_s)), None)
        read = 0 if hit is None else chain[hit][1]
        if hit is not None:
            self._store.refresh(chain[hit][0], now_s)
        writes = set(marked[-(rules.writes - len(natural[-1:])) :]) | set(natural[-1:])
        writes = {i for i in writes if chain[i][1] >= rules.min_tokens}

        def commit(first_token_s: float) -> None:
            for i in writes:
                self._store.touch(chain[i][0], first_token_s, rules.life_s, float("inf"))

        end = max((chain[i][1] for i in writes), default=0)
        return Lookup(read=read, written=max(end - read, 0), commit=commit)


class BlockCache:
    """Anthropic: entries end at blocks that the caller marked.

    At each mark, from the last to the first, the service looks for an entry that ends there or up
    to ``look_back`` blocks earlier. A read renews an entry's lifetime. A prefix shorter than the
    model's minimum is silently not cached.
    """

    max_marks = 4
    look_back = 20

    def __init__(self) -> None:
        self._store = Store()

    def reset(self) -> None:
        """Forgets everything."""
        self._store.clear()

    def lookup(self, scope: str, blocks: Sequence[Block], now_s: float, min_tokens: int) -> Lookup:
        """Admits a request.

        Args:
            scope: Organisation and model.
            blocks: The prompt in the order tools, system, messages.
            now_s: Loop time, seconds.
            min_tokens: The model's minimum cacheable prefix.
        """
        chain = _chain(scope, blocks)
        marks = [
            i
            for i, block in enumerate(blocks)
            if block.mark_ttl_s is not None and chain[i][1] >= min_tokens
        ]
        hit = self._hit(chain, marks, now_s)
        read = 0 if hit is None else chain[hit][1]
        if hit is not None:
            self._store.refresh(chain[hit][0], now_s)

        def commit(first_token_s: float) -> None:
            for i in marks:
                ttl_s = blocks[i].mark_ttl_s or 0.0
                self._store.touch(chain[i][0], first_token_s, ttl_s, float("inf"))

        end = max((chain[i][1] for i in marks), default=0)
        hour = max((chain[i][1] for i in marks if (blocks[i].mark_ttl_s or 0) > 300), default=0)
        return Lookup(
            read=read,
            written=max(end - read, 0),
            written_1h=max(hour - read, 0),
            commit=commit,
        )

    def _hit(
        self, chain: Sequence[tuple[bytes, int]], marks: Sequence[int], now_s: float
    ) -> int | None:
        for mark in reversed(marks):
            for i in range(mark, max(mark - self.look_back, 0) - 1, -1):
                if self._store.live(chain[i][0], now_s):
                    return i
        return None
