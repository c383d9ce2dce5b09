"""When a provider finds the beginning of a prompt in its cache, and what it then bills.

Three rule sets, each as the provider documents it:

* :class:`PrefixCache`: OpenAI's models before GPT-5.6. Automatic, in steps of 128 tokens.
* :class:`~labkit.providers.block_cache.BreakpointCache`: OpenAI's GPT-5.6 and later. Exact match at
  breakpoints only.
* :class:`~labkit.providers.block_cache.BlockCache`: Anthropic. Blocks marked by the caller, with a
  look-back.

All of them answer :meth:`lookup` when a request is admitted and store what it wrote when its
``commit`` is called, which the emulators do at the first token: before that an identical request
finds nothing. Times are loop times in seconds. A *scope* is an organisation's key and a model;
nothing is ever shared between scopes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from labkit.providers.recent import Recent

_TOKEN_BYTES = 4
_MOST_ENTRIES = 50_000
_MOST_ROUTES = 5_000


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


class Store:
    """Cache entries by key; those used longest ago go when there are too many."""

    def __init__(self) -> None:
        self._entries: Recent[bytes, _Entry] = Recent(_MOST_ENTRIES)

    def live(self, key: bytes, now_s: float) -> bool:
        """Whether an entry can be read now."""
        entry = self._entries.get(key)
        return entry is not None and entry.live(now_s)

    def touch(self, key: bytes, now_s: float, idle_s: float, max_life_s: float) -> None:
        """Writes an entry, or uses it again."""
        entry = self._entries.get(key)
        if entry is None or not entry.live(now_s):
            self._entries.put(key, _Entry(now_s, now_s, idle_s, max_life_s))
        else:
            entry.used_s = max(entry.used_s, now_s)
            entry.idle_s = max(entry.idle_s, idle_s)

    def refresh(self, key: bytes, now_s: float) -> None:
        """Uses an entry again, if there is one."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.used_s = max(entry.used_s, now_s)

    def clear(self) -> None:
        """Forgets everything."""
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
        self._store = Store()
        self._arrivals: Recent[bytes, deque[float]] = Recent(_MOST_ROUTES)

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
        times = self._arrivals.made(name, deque)
        while times and now_s - times[0] >= 60.0:
            times.popleft()
        times.append(now_s)
        return name + ((len(times) - 1) // self.rules.route_per_minute).to_bytes(4, "big")
