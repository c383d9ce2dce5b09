"""A bounded mapping that drops the least recently used values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps values by key, up to a number of them or up to a total weight.

    A server for outside clients runs for days, and whatever it keeps per key, text or connection
    must stay bounded. A call in the tunnel never comes near the bounds.
    """

    def __init__(self, most: float, weight: Callable[[V], float] = lambda value: 1) -> None:
        """Makes an empty one.

        Args:
            most: The total weight that is kept; the last value is kept whatever it weighs.
            weight: Weighs a value; by default each counts as 1, so ``most`` is a number of values.
        """
        self._most, self._weight = most, weight
        self._values: OrderedDict[K, V] = OrderedDict()
        self._total = 0.0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value of ``key``, which counts as used; ``None`` if it is unknown."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        """Remembers a value, and forgets the oldest ones beyond the bound; gives the value."""
        if key in self._values:
            self._total -= self._weight(self._values.pop(key))
        self._values[key] = value
        self._total += self._weight(value)
        while self._total > self._most and len(self._values) > 1:
            self._total -= self._weight(self._values.popitem(last=False)[1])
        return value

    def made(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``, made first if it is unknown."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value

    def clear(self) -> None:
        """Forgets everything."""
        self._values.clear()
        self._total = 0.0
