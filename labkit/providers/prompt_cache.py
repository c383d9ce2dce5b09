"""When a provider finds the beginning of a prompt in its cache, and what it then bills.

Three rule sets, each as the provider documents it:

* :class:`PrefixCache`: OpenAI's models before GPT-5.6. Automatic, in steps of 128 tokens.
* :class:`BreakpointCache`: OpenAI's GPT-5.6 and later. Exact match at breakpoints only.
* :class:`BlockCache`: Anthropic. Blocks marked by the caller, with a look-back.

All of them answer :meth:`lookup` when a request is admitted and store what it wrote when its
``commit`` is called, which the emulators do at the first token: before that an identical request
finds nothing. Times are loop times in seconds. A *scope* is an organisation's key and a model;
nothing is ever shared between scopes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_TOKEN_BYTES = 4
_SWEEP_ABOVE = 20_000


def _nothing(now_s: float) -> None:
    return None


@dataclass
class Lookup:
    """What one request reads from the cache and will write to it, in tokens.

    Attributes:
        read: Tokens served from the cache.
        written: Tokens that this request adds to it (0 where writing is free of charge).
        written_1h: The part of ``written`` that is kept for an hour (Anthropic only).
        commit: Stores the writes; call it with the loop time of the first token.
    """

    read: int = 0
    written: int = 0
    written_1h: int = 0
    commit: Callable[[float], None] = field(default=_nothing, repr=False)


@dataclass
class _Entry:
    used_s: float
    born_s: float
    idle_s: float
    max_life_s: float

    def live(self, now_s: float) -> bool:
        return now_s - self.used_s <= self.idle_s and now_s - self.born_s <= self.max_life_s


class _Store:
    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}

    def live(self, key: bytes, now_s: float) -> bool:
        entry = self._entries.get(key)
        return entry is not None and entry.live(now_s)

    def touch(self, key: bytes, now_s: float, idle_s: float, max_life_s: float) -> None:
        entry = self._entries.get(key)
        if entry is None or not entry.live(now_s):
            self._entries[key] = _Entry(now_s, now_s, idle_s, max_life_s)
        else:
            entry.used_s = max(entry.used_s, now_s)
            entry.idle_s = max(entry.idle_s, idle_s)
        if len(self._entries) > _SWEEP_ABOVE:
            self._entries = {k: e for k, e in self._entries.items() if e.live(now_s)}

    def refresh(self, key: bytes, now_s: float) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            entry.used_s = max(entry.used_s, now_s)

    def clear(self) -> None:
        self._entries.clear()


@dataclass(frozen=True, kw_only=True)
class PrefixRules:
    """Figures of :class:`PrefixCache`; lifetimes in seconds.

    Attributes:
        min_tokens: Shorter prompts are not cached.
        step_tokens: A hit is ``min_tokens`` plus a multiple of this.
        idle_min_s: Shortest time an unused entry stays in memory.
        idle_max_s: Longest time; each entry lies somewhere between the two.
        max_life_s: No in-memory entry gets older than this.
        routed_tokens: Requests go to machines by a hash of this many first tokens.
        route_per_minute: Requests a minute that one machine takes before others take over.
    """

    min_tokens: int = 1024
    step_tokens: int = 128
    idle_min_s: float = 300.0
    idle_max_s: float = 600.0
    max_life_s: float = 3600.0
    routed_tokens: int = 256
    route_per_minute: int = 15


class PrefixCache:
    """OpenAI before GPT-5.6: the longest cached prefix, in steps, on the machine routed to."""

    def __init__(self, rules: PrefixRules | None = None) -> None:
        self.rules = rules or PrefixRules()
        self._store = _Store()
        self._arrivals: dict[bytes, deque[float]] = {}

    def reset(self) -> None:
        """Forgets everything."""
        self._store.clear()
        self._arrivals.clear()

    def lookup(
        self, scope: str, prompt: bytes, now_s: float, *, key: str = "", keep_s: float | None = None
    ) -> Lookup:
        """Admits a request.

        Args:
            scope: Organisation and model.
            prompt: The whole prompt as token numbers, four bytes each.
            now_s: Loop time.
            key: The request's ``prompt_cache_key``.
            keep_s: Longer lifetime asked for (``prompt_cache_retention="24h"``), if any.
        """
        rules = self.rules
        machine = self._machine(scope, key, prompt, now_s)
        if len(prompt) < rules.min_tokens * _TOKEN_BYTES:
            return Lookup()
        digest = hashlib.blake2b(machine, digest_size=16)
        steps: list[bytes] = []
        start, end = 0, rules.min_tokens * _TOKEN_BYTES
        while end <= len(prompt):
            digest.update(prompt[start:end])
            steps.append(digest.digest())
            start, end = end, end + rules.step_tokens * _TOKEN_BYTES
        hit = next(
            (n for n in range(len(steps), 0, -1) if self._store.live(steps[n - 1], now_s)), 0
        )

        def commit(first_token_s: float) -> None:
            for step in steps:
                spread = (rules.idle_max_s - rules.idle_min_s) * step[0] / 255
                idle_s = rules.idle_min_s + spread if keep_s is None else keep_s
                max_life_s = rules.max_life_s if keep_s is None else keep_s
                self._store.touch(step, first_token_s, idle_s, max_life_s)

        for step in steps[:hit]:
            self._store.refresh(step, now_s)
        read = rules.min_tokens + (hit - 1) * rules.step_tokens if hit else 0
        return Lookup(read=read, commit=commit)

    def _machine(self, scope: str, key: str, prompt: bytes, now_s: float) -> bytes:
        route = repr((scope, key)).encode() + prompt[: self.rules.routed_tokens * _TOKEN_BYTES]
        name = hashlib.blake2b(route, digest_size=12).digest()
        times = self._arrivals.setdefault(name, deque())
        while times and now_s - times[0] >= 60.0:
            times.popleft()
        times.append(now_s)
        return name + ((len(times) - 1) // self.rules.route_per_minute).to_bytes(4, "big")


@dataclass(frozen=True)
class Block:
    """A piece of a prompt that a cache entry can end with.

    Attributes:
        content: What is compared, byte by byte.
        tokens: Its length.
        mark_ttl_s: How long an entry ending here shall live; ``None`` if the caller did not mark it.
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
        self._store = _Store()

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
        self._store = _Store()

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
